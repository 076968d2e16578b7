"""Whom a failed result lets be asked, where the engine that has judged answers no SQL."""

from __future__ import annotations

from typing import Any

import pytest

from flows import judging
from flows.domain import Gate
from flows.errors import BrokenGateError

THERE, HERE = "df.filter(F.expr('NOT (u IS NOT NULL)'))", "select batch_id, u from ops.rows where u is null"


def result(description: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"expectation_config": {"description": description}, "result": found}


def test_queries_are_those_of_the_working_database_where_it_counts_the_same() -> None:
    found = {"rows": [
        result("a", {"unexpected_count": 2, "unexpected_index_query": THERE}),
        result("b", {"observed_value": 9}),
        result("c", {}),  # an error was raised within it
    ]}  # fmt: skip
    here = {"rows": [
        result("c", {"unexpected_count": 0, "unexpected_index_query": HERE}),
        result("b", {"observed_value": 9}),
        result("a", {"unexpected_count": 2, "unexpected_index_query": HERE}),
    ]}  # fmt: skip
    judging._take_queries(Gate.CLEANSED, found, here)
    queries = [one["result"].get("unexpected_index_query") for one in found["rows"]]
    assert queries == [HERE, None, None]


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"unexpected_count": 2}, {"unexpected_count": 1}),
        ({"unexpected_count": 2}, {}),
        ({"observed_value": 9}, {"observed_value": 8}),
    ],
)
def test_another_number_of_rows_is_a_broken_gate(there: dict[str, int], here: dict[str, int]) -> None:
    with pytest.raises(BrokenGateError, match="Gate gold could not judge: for 'a' of suite rows the engine counts"):
        judging._take_queries(Gate.GOLD, {"rows": [result("a", there)]}, {"rows": [result("a", here)]})
