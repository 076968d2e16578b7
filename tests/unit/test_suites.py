"""The expectation suites: complete, unambiguous, and in step with the settings."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import checkpoints, gx_context
from flows.domain import Gate, Severity
from flows.settings import DBT_PROJECT, Settings

Suite = dict[str, Any]
PATHS = sorted(gx_context.SUITES.glob("*.json"))
SUITES: list[Suite] = [json.loads(path.read_text()) for path in PATHS]
EXPECTATIONS = [(suite, expectation) for suite in SUITES for expectation in suite["expectations"]]
IDS = [f"{suite['name']}-{expectation['description']}" for suite, expectation in EXPECTATIONS]
each_suite = pytest.mark.parametrize(
    ("path", "suite"), list(zip(PATHS, SUITES, strict=True)), ids=[path.stem for path in PATHS]
)
each_expectation = pytest.mark.parametrize(("suite", "expectation"), EXPECTATIONS, ids=IDS)


def parameters(value: Any) -> Iterator[str]:
    """The names of all `$PARAMETER`s in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$PARAMETER":
                yield inner
            else:
                yield from parameters(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parameters(inner)


@pytest.fixture(scope="module")
def provided() -> dict[str, float]:
    return checkpoints._parameters(Settings(), checkpoints.Expected(batches=1, rows=2, min_rows=3, sources=4))


def test_every_gate_has_suites_and_every_suite_a_gate() -> None:
    by_gate = {gate: gx_context.load_suites(gate) for gate in Gate}
    assert all(by_gate.values())
    assert sorted(suite["name"] for suites in by_gate.values() for suite in suites) == [path.stem for path in PATHS]


@pytest.mark.parametrize("gate", Gate)
def test_every_gate_judges_batches_and_rows(gate: Gate) -> None:
    judged = {suite["meta"]["judges"] for suite in gx_context.load_suites(gate)}
    assert judged == ({"batches", "rows", "warehouse", "sources"} if gate is Gate.GOLD else {"batches", "rows"})


@each_suite
def test_a_suite_is_named_as_its_file_and_looks_at_a_model(path: Path, suite: Suite) -> None:
    assert suite["name"] == path.stem
    assert list(DBT_PROJECT.glob(f"models/ops/**/{suite['meta']['table']}.sql"))
    assert suite["expectations"]


@each_suite
def test_a_suite_counts_what_it_looks_at(path: Path, suite: Suite) -> None:
    """On an empty table every other expectation would hold."""
    first = suite["expectations"][0]
    assert first["type"].startswith("expect_table_row_count_to_"), path
    assert first["severity"] == Severity.CRITICAL
    assert list(parameters(first["kwargs"]))


@each_suite
def test_type_and_description_name_one_expectation(path: Path, suite: Suite) -> None:
    """Results are found by them."""
    names = Counter((e["type"], e["description"]) for e in suite["expectations"])
    assert [name for name, count in names.items() if count > 1] == [], path
    assert len({e["description"] for e in suite["expectations"]}) == len(suite["expectations"])


@each_expectation
def test_an_expectation_says_what_it_means_and_does(suite: Suite, expectation: Suite) -> None:
    assert re.fullmatch(r"[A-Z][^.]+\.", expectation["description"]), suite["name"]
    assert expectation["severity"] in set(Severity)
    assert set(expectation) <= {"type", "kwargs", "severity", "description", "meta"}


@each_expectation
def test_an_expectation_evaluates_every_row_or_says_how_many(suite: Suite, expectation: Suite) -> None:
    assert "mostly" not in expectation["kwargs"], suite["name"]
    # Its failing rows show their values unless told not to.
    assert "result_format" not in expectation["kwargs"]


@each_expectation
def test_every_parameter_is_provided(suite: Suite, expectation: Suite, provided: dict[str, float]) -> None:
    assert set(parameters(expectation)) <= set(provided), suite["name"]


def test_every_threshold_is_used(provided: dict[str, float]) -> None:
    assert set(parameters(SUITES)) == set(provided)


@each_expectation
def test_shares_are_compared_with_settings_and_not_with_numbers(suite: Suite, expectation: Suite) -> None:
    """A threshold that a person may set stands in the settings only."""
    if any(str(column).endswith("_share") for column in expectation["kwargs"].values()):
        bounds = [expectation["kwargs"].get(name) for name in ("min_value", "max_value")]
        assert all(isinstance(bound, dict) for bound in bounds if bound is not None), suite["name"]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (Gate.RAW, "mutated_file"),
        (Gate.RAW, "malformed_share"),
        (Gate.VALIDATED, "invalid_share"),
        (Gate.CLEANSED, "unknown_share"),
    ],
)
def test_the_reasons_of_the_contract_are_critical(gate: Gate, reason: str) -> None:
    found = [
        expectation
        for suite in gx_context.load_suites(gate)
        for expectation in suite["expectations"]
        if expectation.get("meta", {}).get("reason") == reason
    ]
    assert [expectation["severity"] for expectation in found] == [Severity.CRITICAL]


@each_expectation
def test_a_critical_expectation_of_batches_has_a_reason(suite: Suite, expectation: Suite) -> None:
    """The ledger keeps it; a row count blames nobody, and a share is never missing."""
    blames = expectation["type"] not in {
        "expect_table_row_count_to_equal",
        "expect_column_values_to_not_be_null",
    }
    if suite["meta"]["judges"] == "batches" and expectation["severity"] == Severity.CRITICAL and blames:
        assert re.fullmatch(r"[a-z_]+", expectation["meta"]["reason"])


def test_what_compares_a_batch_with_others_only_warns() -> None:
    """Being unlike the others is no fault; the first expectation is about the gate itself."""
    names = {"cleansed_drift", "gold_sources"}
    compared = [e for suite in SUITES if suite["name"] in names for e in suite["expectations"][1:]]
    assert len(compared) == 7
    assert {e["severity"] for e in compared} == {Severity.WARNING}


@each_suite
def test_names_are_shown_where_no_batch_can_be_blamed(path: Path, suite: Suite) -> None:
    assert ("names" in suite["meta"]) == (suite["meta"]["judges"] == "sources"), path


@each_expectation
def test_further_columns_are_shown_of_batches_only(suite: Suite, expectation: Suite) -> None:
    shown = expectation.get("meta", {}).get("shows", [])
    assert not shown or suite["meta"]["judges"] == "batches"
    assert [column for column in shown if not re.fullmatch(r"[a-z_]+", column)] == []
