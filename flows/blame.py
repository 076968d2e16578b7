"""What to say of a failed expectation: which batches are to blame and what they measure, or the names of what fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.masking import names_of_keys, visible

if TYPE_CHECKING:
    from flows.domain import ExpectationResult

Query = Callable[[str], list[tuple[Any, ...]]]
"""The rows of a query, of the engine that has judged."""

NAMES_OF_KEYS = "new_key_names"
"""What a profile says that came from the data: names, quoted and joined."""
SHOWN_CHARACTERS = 300
"""Of what a result shows; names of files and of keys can be of any length."""


def columns(kwargs: dict[str, Any]) -> list[str]:
    """The columns that an expectation is about."""
    named = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return named + list(kwargs.get("column_list", []))


def with_names(
    query: Query, suite: dict[str, Any], whole: ExpectationResult, result: dict[str, Any]
) -> ExpectationResult:
    """A failed result that no batch can be blamed for, with the names of what fails, where the suite has some."""
    failing = _failing_rows(result)
    if whole.success or not failing or "names" not in suite["meta"]:
        return whole
    (column,) = columns(result["expectation_config"]["kwargs"])
    # The library's query gives values, not names; rows with the same value fail alike.
    rows = query(
        f"""
        select {suite["meta"]["names"]}, {column} from ops.{suite["meta"]["table"]}
        where {column} in (select {column} from ({failing})) order by {column} desc, 1
        """
    )
    return replace(whole, observed=_shown(f"{whole.observed}: " + ", ".join(f"{name} ({v:.4g})" for name, v in rows)))


def _failing_rows(result: dict[str, Any]) -> str:
    """The library's query for the failing rows; empty where it has none."""
    query = (result.get("result") or {}).get("unexpected_index_query") or ""
    return str(query).rstrip().rstrip(";")


def by_batch(
    query: Query,
    suite: dict[str, Any],
    expectation: dict[str, Any],
    whole: ExpectationResult,
    result: dict[str, Any],
) -> list[ExpectationResult]:
    """One result for each batch that has failing rows, found by the query that the library gives for them.

    What a profile says of its batch is shown; rows hold what listeners did, and are counted only.
    """
    failing = _failing_rows(result)
    if not failing:
        return []
    rows = query(
        f"select batch_id, count(*) from ({failing}) where batch_id is not null group by batch_id order by batch_id"
    )
    observed = {batch_id: f"{count} rows fail" for batch_id, count in rows}
    if suite["meta"]["judges"] == "batches" and rows:
        shown = columns(result["expectation_config"]["kwargs"]) + expectation.get("meta", {}).get("shows", [])
        observed = _measures(query, suite["meta"]["table"], shown, failing)
    return [replace(whole, batch_id=batch_id, observed=found) for batch_id, found in observed.items()]


def _measures(query: Query, table: str, columns: list[str], failing: str) -> dict[str, str]:
    """What a table of one row a batch says of each batch that has a failing row, in words."""
    rows = query(
        f"""
        select batch_id, {", ".join(columns)} from ops.{table}
        where batch_id in (select batch_id from ({failing})) order by batch_id
        """
    )
    return {batch_id: _values(columns, values) for batch_id, *values in rows}


def _values(columns: list[str], values: list[Any]) -> str:
    return _shown(", ".join(f"{column} {_value(column, v)}" for column, v in zip(columns, values, strict=True)))


def _value(column: str, value: Any) -> str:  # noqa: ANN401 - a value of a profile
    if column == NAMES_OF_KEYS and isinstance(value, str):
        return names_of_keys(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown(text: str) -> str:
    """Text that can hold names from the data: what cannot be printed is made visible, and what is long is cut."""
    shown = visible(text)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}..."
