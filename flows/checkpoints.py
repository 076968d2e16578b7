"""One gate -> one verdict.

A gate is a checkpoint over the suites of `expectations/` that have its name: one judges the batches of the run by
their profiles, one the rows of the run; after silver one compares the batches with those before them, and at the
last gate one judges the accounting of the whole warehouse and one the sources that the files come from.
They look at the tables where the engine that built them lets itself be looked at, else in the working database.
A failed expectation is an outcome; an exception, a missing suite, an expectation that was not evaluated
or a table without the rows it has to have is a broken gate.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows import blame, engines, faults, limits
from flows.domain import ExpectationResult, Gate, Severity, Verdict
from flows.errors import BrokenGateError
from flows.gx_context import load_suites, results_dir
from flows.judging import judged
from flows.settings import Settings
from flows.warehouse import connect

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Expected:
    """What a gate has to find, counted without looking at what it looks at."""

    batches: int
    rows: int
    min_rows: int
    sources: int = 0


def validate(settings: Settings, gate: Gate, *, run_id: str) -> Verdict:
    """Run the gate's checkpoint over what this run built.

    Raises `BrokenGateError` when the gate could not judge.
    """
    with connect(settings) as connection:  # stays open: the file is not opened anew for each query
        expected = _expected(connection, gate)
        suites = _suites_to_run(gate, expected)
        if not suites:
            return Verdict(gate, ())
        judging = judged(settings, gate, suites, _parameters(settings, expected), run_id=run_id)
        with _in_words(gate), _keeping_no_error(settings, gate, run_id), judging as (found, query):
            outcome = [(suite, found[suite["name"]]) for suite in suites]
            return _verdict(query, gate, outcome, expected)


def _expected(connection: duckdb.DuckDBPyConnection, gate: Gate) -> Expected:
    """Batches to judge, rows to find exactly (first two gates) or at least (last two), and sources (last gate)."""
    judged = "is_judged" if gate is Gate.RAW else "is_accepted"
    batches, rows = _one_row(
        connection,
        f"""
        select count(*) filter (where is_judged), coalesce(sum(row_count) filter (where {judged}), 0)
        from ops.pending_batches
        """,
    )
    min_rows = 0
    if gate in (Gate.CLEANSED, Gate.GOLD):
        (min_rows,) = _one_row(
            connection,
            """
            select coalesce(max(validation_profiles.distinct_keys), 0)
            from ops.validation_profiles
            inner join ops.pending_batches on validation_profiles.batch_id = pending_batches.batch_id
            where pending_batches.is_accepted
            """,
        )
    sources = _sources(connection) if gate is Gate.GOLD else 0
    return Expected(int(batches), int(rows), int(min_rows), sources)


def _sources(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of sources: paths of files that differ in more than their digits."""
    different = "count(distinct regexp_replace(filename, '[0-9]+', '#', 'g'))"
    (count,) = _one_row(connection, f"select {different} from ops.batches where attempt = 1")
    return int(count)


def _one_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise BrokenGateError(f"A query that has to give one row gave none: {sql}")
    return row


def _suites_to_run(gate: Gate, expected: Expected) -> list[dict[str, Any]]:
    """Without a batch to judge or a row to find there is nothing that a suite on these could say."""
    counts = {
        "batches": expected.batches,
        "rows": expected.rows if gate in (Gate.RAW, Gate.VALIDATED) else expected.min_rows,
        "sources": expected.sources,
    }
    return [s for s in load_suites(gate) if counts.get(s["meta"]["judges"], 1)]


@contextmanager
def _in_words(gate: Gate) -> Iterator[None]:
    """Whatever is raised, the gate could not judge."""
    try:
        yield
    except BrokenGateError:
        raise
    except Exception as error:  # noqa: BLE001 - from whichever library it is
        origin = _origin(error)
        raise BrokenGateError(
            f"Gate {gate} could not judge: {type(origin).__name__}: {_without_values(str(origin))}. "
            "Nothing was published."
        ) from None  # what it came from may quote a value


@contextmanager
def _keeping_no_error(settings: Settings, gate: Gate, run_id: str) -> Iterator[None]:
    """Of a gate that could not judge the library keeps no results: it puts errors there, which may quote a value."""
    try:
        yield
    except Exception:
        for kept in results_dir(settings).glob(f"{gate}_*/{run_id}"):
            shutil.rmtree(kept)
        raise


def _origin(error: BaseException) -> BaseException:
    """That of the driver, where the libraries between have put their own words around one."""
    behind: BaseException | None = error
    while behind:
        if isinstance(origin := getattr(behind, "orig", None), BaseException):
            return origin
        behind = behind.__cause__
    return error


def _without_values(text: str) -> str:
    """What the engine says that was looked at, without what it may quote of a row."""
    shown = faults.without_values(text)
    return engines.without_values(text) if shown == text else shown


def _parameters(settings: Settings, expected: Expected) -> dict[str, float]:
    """What the suites call by `$PARAMETER`: the thresholds, and what has to be found."""
    return {
        **settings.thresholds(),
        "expected_batches": expected.batches,
        "expected_rows": expected.rows,
        "min_rows": expected.min_rows,
        "expected_sources": expected.sources,
        "one": 1,
    }


def _verdict(
    query: blame.Query,
    gate: Gate,
    outcome: list[tuple[dict[str, Any], list[dict[str, Any]]]],
    expected: Expected,
) -> Verdict:
    """The results in the order of the suites, and who is to blame for each that failed."""
    results: list[ExpectationResult] = []
    failing: dict[str, list[str]] = {}
    unblamed: list[str] = []
    for suite, found in outcome:
        for expectation in suite["expectations"]:
            result = _find_result(gate, expectation, found)
            whole = blame.with_names(query, suite, _result(suite, expectation, result), result)
            blamed = [] if whole.success else blame.by_batch(query, suite, expectation, whole, result)
            results += [whole, *blamed]
            if not whole.success and whole.severity is Severity.CRITICAL:
                for one in blamed:
                    reason = expectation.get("meta", {}).get("reason", "failed_expectation")
                    failing.setdefault(str(one.batch_id), []).append(reason)
                    failing[str(one.batch_id)].append(_finding(one))
                if not blamed:
                    unblamed.append(_finding(whole))
    return Verdict(
        gate=gate,
        results=tuple(results),
        failing={batch: _first_code_then_details(notes) for batch, notes in failing.items()},
        unblamed=tuple(unblamed),
        judged_batches=expected.batches,
        judged_rows=max(expected.rows, expected.min_rows),
    )


def _first_code_then_details(notes: list[str]) -> tuple[str, ...]:
    """(code of the first failed expectation, a sentence for each of them)."""
    return (notes[0], *notes[1::2])


def _finding(result: ExpectationResult) -> str:
    """What was expected, and what was found instead."""
    return f"{result.description} Found {result.observed}; allowed is {result.threshold}."


def _find_result(gate: Gate, expectation: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """The one result of an expectation; results do not come in the suite's order.

    Raises `BrokenGateError` when it was not evaluated or an exception was raised inside it.
    """
    matching = [
        r
        for r in results
        if r["expectation_config"]["type"] == expectation["type"]
        and r["expectation_config"].get("description") == expectation["description"]
    ]
    if len(matching) != 1:
        raise BrokenGateError(
            f"Gate {gate}: {expectation['type']} ({expectation['description']}) was evaluated "
            f"{len(matching)} times, not once. Nothing was published."
        )
    info = matching[0].get("exception_info") or {}
    # One record, or one for each metric that the expectation needs.
    records = [info] if "raised_exception" in info else list(info.values())
    raised = [r["exception_message"] for r in records if r.get("raised_exception")]
    if raised:
        raise BrokenGateError(
            f"Gate {gate}: {expectation['type']} ({expectation['description']}) could not be evaluated: "
            f"{_without_values(raised[0])} Nothing was published."
        )
    return matching[0]


def _result(suite: dict[str, Any], expectation: dict[str, Any], result: dict[str, Any]) -> ExpectationResult:
    kwargs = result["expectation_config"]["kwargs"]
    return ExpectationResult(
        expectation=_name(expectation),
        description=expectation["description"],
        severity=Severity(expectation["severity"]),
        success=bool(result["success"]),
        observed=_observed(suite, result.get("result") or {}),
        threshold=limits.in_words(kwargs),
    )


def _name(expectation: dict[str, Any]) -> str:
    """The expectation's type with its columns, as in `expect_column_values_to_not_be_null(batch_id)`."""
    return f"{expectation['type']}({', '.join(blame.columns(expectation['kwargs']))})"


def _observed(suite: dict[str, Any], result: dict[str, Any]) -> str:
    if "observed_value" in result:
        count = int(result["observed_value"])
        return f"{count} {'row' if count == 1 else 'rows'}"
    judges = suite["meta"]["judges"]
    what = judges if judges in ("batches", "sources") else "rows"
    failing, all_ = (int(result.get(name) or 0) for name in ("unexpected_count", "element_count"))
    return f"{failing} of {all_} {what} fail"
