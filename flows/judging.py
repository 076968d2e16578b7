"""The suites of a gate, run by Great Expectations over its tables, where they are looked at.

That is the working database, a database of the engine that built the tables, or that engine's own process. The first
two answer the library's SQL, so they are asked too which rows fail. The last is not: for what has failed there the
working database is asked, which sees the same files, and which has to find as many failing rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from flows import engines
from flows.errors import BrokenGateError
from flows.gx_context import open_context
from flows.handover import GateSource

if TYPE_CHECKING:
    from flows.blame import Query
    from flows.domain import Gate
    from flows.settings import Settings

Suite = dict[str, Any]
Results = dict[str, list[dict[str, Any]]]
"""By suite, the results of its expectations as the library gives them, in no order."""

RESULT_FORMAT = {
    "result_format": "BASIC",
    # Counts only: no value from the data may reach a result, a page or a log.
    "partial_unexpected_count": 0,
    "include_unexpected_rows": False,
    # With the query that selects the failing rows, which names the batches to blame in the engine.
    "unexpected_index_column_names": ["batch_id"],
    "return_unexpected_index_query": True,
}


@dataclass(frozen=True)
class _Judge:
    """The library over one data source."""

    context: Any
    source: Any
    found_at: GateSource

    def run(self, gate: Gate, suites: Sequence[Suite], parameters: Mapping[str, float], run_id: str) -> Results:
        """One checkpoint over all suites; where each has a frame of its own, which a run is given, one for each."""
        if not (frame := self.found_at.frame):
            return self._run_checkpoint(str(gate), [self._definition(suite) for suite in suites], parameters, run_id)
        found: Results = {}
        for suite in suites:
            with frame(suite["meta"]["table"]) as rows:
                found |= self._run_checkpoint(
                    suite["name"], [self._definition(suite)], parameters, run_id, dataframe=rows
                )
        return found

    def _definition(self, suite: Suite) -> Any:  # noqa: ANN401 - the library's own type
        import great_expectations as gx

        name, judges = suite["name"], suite["meta"]["judges"]
        if self.found_at.frame:
            data = self.source.add_dataframe_asset(name=name).add_batch_definition_whole_dataframe(judges)
        else:
            table = self.source.add_table_asset(name=name, table_name=suite["meta"]["table"], schema_name="ops")
            data = table.add_batch_definition_whole_table(judges)
        suite_there = self.context.suites.add(gx.ExpectationSuite(**suite))
        return self.context.validation_definitions.add(gx.ValidationDefinition(name=name, data=data, suite=suite_there))

    def _run_checkpoint(
        self,
        name: str,
        definitions: list[Any],
        parameters: Mapping[str, float],
        run_id: str,
        **batch_parameters: Any,  # noqa: ANN401 - the library's own types
    ) -> Results:
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        checkpoint = self.context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=definitions, result_format=RESULT_FORMAT)
        )
        outcome = checkpoint.run(
            batch_parameters=batch_parameters or None,
            expectation_parameters=dict(parameters),
            run_id=RunIdentifier(run_name=run_id),
        )
        return {found.suite_name: [r.to_json_dict() for r in found.results] for found in outcome.run_results.values()}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is given for a query, where SQL is answered."""
        with self.source.get_engine().connect() as connection:
            found = connection.execution_options(no_parameters=True).exec_driver_sql(sql).fetchall()
        return [tuple(plain(value) for value in row) for row in found]


@contextmanager
def judged(
    settings: Settings, gate: Gate, suites: Sequence[Suite], parameters: Mapping[str, float], *, run_id: str
) -> Iterator[tuple[Results, Query]]:
    """What is found, each failed result with the library's query for its rows, and whom to ask such a query.

    Raises `BrokenGateError` where who is to blame is asked elsewhere, and what is found there is something else.
    """
    found_at = engines.gate_source(settings, gate)
    run = partial(_Judge.run, gate=gate, suites=suites, parameters=parameters, run_id=run_id)
    with _looking(settings, found_at or _working_database(settings)) as judge:
        found = run(judge)
        if not judge.found_at.frame:
            yield found, judge.rows
            return
    failing = [suite for suite in suites if not all(result["success"] for result in found[suite["name"]])]
    with _looking(settings, _working_database(settings), is_kept=False) as judge:
        if failing:
            _take_queries(gate, found, run(judge, suites=failing))
        yield found, judge.rows


def _take_queries(gate: Gate, found: Results, here: Results) -> None:
    """The queries for the failing rows are those of the working database, where it finds as many."""
    for suite, results in here.items():
        others = {_asked(result): result.get("result") or {} for result in results}
        for result in found[suite]:
            if not (theirs := result.get("result")):
                continue  # it raised an error, of which more is said where results are read
            ours = others.get(_asked(result), {})
            if _count(theirs) != _count(ours):
                raise BrokenGateError(
                    f"Gate {gate} could not judge: for {_asked(result)!r} of suite {suite} the engine counts "
                    f"{_count(theirs)} and the working database {_count(ours)} rows of the same table. "
                    "Nothing was published; run podcast run --full-refresh."
                )
            if "unexpected_index_query" in theirs:
                theirs["unexpected_index_query"] = ours["unexpected_index_query"]


def _count(found: Mapping[str, Any]) -> int:
    """Of rows that fail, or of all rows where an expectation is about their number."""
    return int(found.get("unexpected_count", found.get("observed_value", -1)))


def _asked(result: Mapping[str, Any]) -> str:
    """The sentence by which a suite tells its expectations apart."""
    return str(result["expectation_config"].get("description"))


@contextmanager
def _looking(settings: Settings, found_at: GateSource, *, is_kept: bool = True) -> Iterator[_Judge]:
    """The library over a data source, which is closed afterwards; the site shows results that are kept."""
    context = open_context(settings, keeps_results=is_kept)
    add = getattr(context.data_sources, f"add_{found_at.kind}")
    source = add(name="warehouse", **found_at.options)
    try:
        yield _Judge(context, source, found_at)
    finally:
        if found_at.frame is None:
            source.get_engine().dispose()


def _working_database(settings: Settings) -> GateSource:
    from sqlalchemy import URL

    url = URL.create("duckdb+pipeline", database=str(settings.warehouse_path))
    return GateSource(
        "sql", {"connection_string": url.render_as_string(hide_password=False), "create_temp_table": False}
    )


def plain(value: Any) -> Any:  # noqa: ANN401 - a value of a profile, or a count
    """A number in the type that the working database gives: of some engines all but small ones are decimals."""
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    return value
