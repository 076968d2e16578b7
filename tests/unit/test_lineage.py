"""Lineage: what events say and do not say, and that telling them neither fails nor holds up a step."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from openlineage_schema import problems
from receiver import receiving

from flows import lineage
from flows.domain import (
    Arrival,
    BuiltModel,
    ExpectationResult,
    Gate,
    LandedFile,
    Loaded,
    Plan,
    Severity,
    Verdict,
)
from flows.errors import BrokenGateError, TransformError
from flows.lineage import datasets, sending, steps
from flows.settings import DBT_PROJECT, Settings
from flows.tables import Column, Table

RUN = "0da4e9a3-4f55-48f1-b457-bcaeaab09da6"


WARNINGS: list[str] = []
recording = partial(lineage.recording, warn=WARNINGS.append)


def table(name: str, **values: Any) -> Table:
    known: dict[str, Any] = {
        "kind": "table", "materialized": "table", "description": "What it is.", "columns": (Column("a", "", "First."),),
        "upstream": (), "downstream": (), "questions": (), "group": "", "owner": "Data engineering", "tags": (),
        "has_contract": True, "tests": (), "unit_tests": (),
    }  # fmt: skip
    return Table(id=f"model.podcast.{name.split('.')[1]}", name=name, **(known | values))


TABLES = {
    "source.podcast.bronze.raw_events": table("bronze.raw_events", kind="source"),
    "model.podcast.cleansed_events": table("silver.cleansed_events", upstream=("bronze.validated_events",)),
    "model.podcast.silver_users": table("silver.users", upstream=("bronze.users",)),
    "seed.podcast.users": table("bronze.users", kind="seed"),
}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own graph is looked at by the tests that run dbt."""
    monkeypatch.setattr(steps.Recorder, "tables", lambda _self: TABLES)
    WARNINGS.clear()


def settings(home: Path, **values: Any) -> Settings:
    return Settings(home=home, **values)


def plan(*names: str) -> Plan:
    return Plan(tuple(Arrival(LandedFile(name, Path(name), 10, "f"), 1) for name in names))


def told(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "lineage").glob("*.ndjson"))
    events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [problem for event in events for problem in problems(event)] == []
    return events


def states(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def result(description: str, **values: Any) -> ExpectationResult:
    known = {
        "severity": Severity.CRITICAL,
        "success": True,
        "observed": "0 of 7 batches fail",
        "threshold": "at most 0",
    }
    return ExpectationResult("expect_x(lines, ledger_lines)", description, **(known | values))


# --- What is told -------------------------------------------------------------------------------


def test_a_load_is_told_before_and_after_with_the_run_as_its_parent(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    with recording(here, RUN, "podcast-pipeline"):
        loaded = lineage.of_load(here, plan("a/x.json", "a/y.json", "z.json"), lambda: Loaded(3, 70))
    assert loaded == Loaded(3, 70)
    events = told(tmp_path)
    assert states(events) == [
        ("podcast-pipeline", "START"), ("load", "START"), ("load", "COMPLETE"), ("podcast-pipeline", "COMPLETE"),
    ]  # fmt: skip
    assert {event["run"]["runId"] for event in events if event["job"]["name"] == "podcast-pipeline"} == {RUN}
    end = events[2]
    assert end["run"]["runId"] == events[1]["run"]["runId"] != RUN
    assert end["run"]["facets"]["parent"]["run"]["runId"] == RUN
    folders = {d["name"]: d["inputFacets"]["inputStatistics"] for d in end["inputs"]}
    assert {name: (facet["fileCount"], facet["size"]) for name, facet in folders.items()} == {
        "landing/a": (2, 20),
        "landing": (1, 10),
    }
    (written,) = end["outputs"]
    assert (written["namespace"], written["name"]) == ("duckdb://podcast", "podcast.bronze.raw_events")
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 70


def test_a_retry_of_a_step_has_the_same_id_and_a_further_pass_another(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    with recording(here, RUN, "podcast-pipeline"):
        for _ in range(2):
            lineage.of_load(here, plan("x.json"), Loaded)
            lineage.of_gate(here, Gate.RAW, lambda: Verdict(Gate.RAW, ()))
    again = settings(tmp_path / "again", lineage=True)
    with recording(again, RUN, "podcast-pipeline"):
        lineage.of_gate(again, Gate.RAW, lambda: Verdict(Gate.RAW, ()))
    ids = {
        name: {e["run"]["runId"] for e in told(tmp_path) if e["job"]["name"] == name} for name in ("load", "gate.raw")
    }
    assert [len(ids[name]) for name in ("load", "gate.raw")] == [1, 2]
    assert told(tmp_path / "again")[1]["run"]["runId"] in ids["gate.raw"]


def test_thousands_of_folders_are_named_up_to_a_number_and_counted_all() -> None:
    found = datasets.landed(plan(*(f"{n}/x.json" for n in range(1000))).arrivals)
    assert len(found) == datasets.FOLDERS_NAMED + 1
    counts = [dataset.inputFacets["inputStatistics"].fileCount for dataset in found if dataset.inputFacets]
    assert sum(counts) == 1000
    assert found[-1].name == "landing"


def test_models_are_told_with_their_own_times_what_they_read_and_columns(tmp_path: Path) -> None:
    here, (began, ended) = settings(tmp_path, lineage=True), (datetime(2026, 1, 2, 3, 4, n, tzinfo=UTC) for n in (5, 9))
    model = BuiltModel(
        "cleansed_events", 4.0, "model.podcast.cleansed_events", started_at=began, finished_at=ended, sql="select 1"
    )
    users = BuiltModel("silver_users", 1.0, "model.podcast.silver_users")
    with recording(here, RUN, "podcast-pipeline"):
        assert lineage.of_models(here, lambda: [model, users]) == [model, users]
    start, end, _, of_users = told(tmp_path)[1:5]
    assert (start["eventTime"], end["eventTime"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:04:09Z")
    assert [d["name"] for d in end["inputs"]] == ["podcast.bronze.validated_events"]
    assert [d["name"] for d in of_users["inputs"]] == ["reference/users"]
    facets = end["outputs"][0]["facets"]
    assert [f["name"] for f in facets["schema"]["fields"]] == ["a"]
    assert facets["ownership"]["owners"][0]["name"] == "team:Data engineering"
    assert end["job"]["facets"]["sql"]["query"] == "select 1"


def test_sql_that_names_a_folder_of_the_machine_is_left_out(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    for folder in (tmp_path, DBT_PROJECT):
        model = BuiltModel("e", 1.0, "model.podcast.cleansed_events", sql=f"select * from '{folder}/seeds/x.parquet'")
        with recording(here, str(uuid4()), "podcast-pipeline"):
            lineage.of_models(here, lambda model=model: [model])  # type: ignore[misc]
    assert "sql" not in {facet for event in told(tmp_path) for facet in event["job"]["facets"]}
    assert str(tmp_path) not in json.dumps(told(tmp_path))


def test_a_gate_is_told_with_each_outcome_and_its_verdict(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    verdict = Verdict(
        Gate.RAW,
        (
            result("Every line is stored once.", success=False, observed="1 of 7 batches fail: canary-name (3)"),
            result("Every line is stored once.", success=False, observed="canary 5", batch_id="b1"),
            result("A file brings content of its own: no earlier file of another name has the same.",
                   severity=Severity.WARNING),
        ),
        failing={"b1": ("lines_repeated", "canary")},
        judged_batches=7,
    )  # fmt: skip
    with recording(here, RUN, "podcast-pipeline"):
        lineage.of_gate(here, Gate.RAW, lambda: verdict)
    end = told(tmp_path)[2]
    by_table = {d["name"]: d["inputFacets"].get("dataQualityAssertions", {}) for d in end["inputs"]}
    assert set(by_table) == {"podcast.ops.raw_batches", "podcast.ops.raw_rows"}
    first, second = by_table["podcast.ops.raw_batches"]["assertions"]
    assert (first["success"], first["severity"], first["column"], first["actual"]) == (
        False, "error", "lines", "1 of 7 batches fail",
    )  # fmt: skip
    assert (second["success"], second["severity"]) == (True, "warn")
    tags = {tag["key"]: tag["value"] for tag in end["run"]["facets"]["tags"]["tags"]}
    assert tags == {"verdict": "held_back", "judged_batches": "7", "held_back_batches": "1"}
    assert "canary" not in json.dumps(told(tmp_path))


def test_what_fails_is_told_as_failed_by_its_kind_only(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    models = (BuiltModel("cleansed_events", 1.0, "model.podcast.cleansed_events", is_built=False),)

    def break_(error: Exception) -> Callable[[], Any]:
        def work() -> Any:
            raise error

        return work

    def run() -> None:
        with recording(here, RUN, "podcast-pipeline"):
            with pytest.raises(TransformError):
                lineage.of_models(here, break_(TransformError("could not convert 'canary'", models)))
            lineage.of_gate(here, Gate.GOLD, break_(BrokenGateError("canary")))

    with pytest.raises(BrokenGateError, match="canary"):
        run()
    events = told(tmp_path)
    assert states(events)[1:] == [
        ("dbt.silver.cleansed_events", "START"), ("dbt.silver.cleansed_events", "FAIL"),
        ("gate.gold", "START"), ("gate.gold", "FAIL"), ("podcast-pipeline", "FAIL"),
    ]  # fmt: skip
    assert events[-1]["run"]["facets"]["errorMessage"]["message"].startswith("BrokenGateError")
    assert "canary" not in json.dumps(events)


# --- What is not --------------------------------------------------------------------------------


def test_nothing_is_told_unless_a_setting_says_so_or_a_step_is_done(tmp_path: Path) -> None:
    with recording(settings(tmp_path), RUN, "podcast-pipeline"):
        lineage.of_load(settings(tmp_path), plan("x.json"), Loaded)
    with recording(settings(tmp_path, lineage=True), RUN, "podcast-pipeline"):
        pass  # a run with nothing new
    assert not (tmp_path / "lineage").exists()


def test_a_dry_run_on_a_copy_is_not_told(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    with recording(here, RUN, "podcast-revalidate"):
        lineage.of_gate(settings(tmp_path / "rehearsal", lineage=True), Gate.RAW, lambda: Verdict(Gate.RAW, ()))
    assert not (tmp_path / "lineage").exists()


def test_files_of_older_runs_go(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True, docs_kept=2)
    runs = [str(uuid4()) for _ in range(4)]
    for age, run in zip((40, 30, 20, 10), runs, strict=True):
        with recording(here, run, "podcast-pipeline"):
            lineage.of_load(here, plan("x.json"), Loaded)
        os.utime(tmp_path / "lineage" / f"{run}.ndjson", (time.time() - age,) * 2)
    assert {path.stem for path in (tmp_path / "lineage").iterdir()} == set(runs[2:])


# --- That it does no harm -----------------------------------------------------------------------


def test_lineage_that_cannot_be_written_fails_nothing_and_is_warned_of_once(tmp_path: Path) -> None:
    here = settings(tmp_path, lineage=True)
    (tmp_path / "lineage").write_text("a file where a folder has to be")
    with recording(here, RUN, "podcast-pipeline"):
        for _ in range(3):
            assert lineage.of_load(here, plan("x.json"), lambda: Loaded(1, 2)) == Loaded(1, 2)
    assert len(WARNINGS) == 1
    assert "The data is not affected" in WARNINGS[0]


def run_three_loads(here: Settings) -> float:
    """The seconds that telling three loads, and the end of the run, took."""
    since = time.monotonic()
    with recording(here, RUN, "podcast-pipeline"):
        for _ in range(3):
            lineage.of_load(here, plan("x.json"), Loaded)
    return time.monotonic() - since


def test_the_endpoint_gets_what_the_file_gets_in_order_with_the_key(tmp_path: Path) -> None:
    with receiving() as receiver:
        run_three_loads(settings(tmp_path, lineage=True, lineage_url=receiver.url, lineage_key="canary-key"))
    assert receiver.bodies == told(tmp_path)
    assert set(receiver.paths) == {"/api/v1/lineage"}
    assert {headers["Authorization"] for headers in receiver.headers} == {"Bearer canary-key"}
    assert "canary-key" not in json.dumps(receiver.bodies)


@pytest.mark.parametrize("status", [500, 401, 307])
def test_an_endpoint_that_refuses_is_left_alone_after_three_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with receiving(status=status) as receiver, caplog.at_level(logging.DEBUG):
        run_three_loads(settings(tmp_path, lineage=True, lineage_url=receiver.url, lineage_key="canary-key"))
    assert len(receiver.bodies) == sending.GIVE_UP_AFTER
    assert len(told(tmp_path)) == 8
    (warning,) = WARNINGS
    assert "took 0 of 8 lineage events" in warning
    assert str(status) in warning or status == 307
    assert "canary-key" not in warning + caplog.text


def test_an_endpoint_that_is_down_costs_a_run_no_time(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/v1/lineage"
        assert run_three_loads(settings(tmp_path, lineage_url=url)) < 2
    assert "cannot be reached" in WARNINGS[0]


def test_an_endpoint_that_is_slow_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LAST_WAIT_SECONDS", 0.5)
    with receiving(seconds=5) as receiver:
        here = settings(tmp_path, lineage=True, lineage_url=receiver.url, lineage_timeout_seconds=0.2)
        assert run_three_loads(here) < 0.5 + 1.5
    assert len(told(tmp_path)) == 8
    assert "took 0 of 8" in WARNINGS[0]


def test_nothing_around_the_process_decides_where_events_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the library's own variables and files, nor proxies and passwords of other programs."""
    with receiving() as receiver, receiving() as other:
        elsewhere = other.url.removesuffix("/api/v1/lineage")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "openlineage.yml").write_text(f"transport: {{type: http, url: '{elsewhere}'}}")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary-password")
        for name, value in {
            "HOME": tmp_path, "NETRC": tmp_path / ".netrc", "HTTP_PROXY": elsewhere, "http_proxy": elsewhere,
            "OPENLINEAGE_URL": elsewhere, "OPENLINEAGE_API_KEY": "canary", "OPENLINEAGE_DISABLED": "true",
            "OPENLINEAGE_CONFIG": tmp_path / "openlineage.yml",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, str(value))
        run_three_loads(settings(tmp_path, lineage=True, lineage_url=receiver.url))
    assert len(receiver.bodies) == 8
    assert other.bodies == []
    assert "Authorization" not in {name for headers in receiver.headers for name in headers}


@pytest.mark.parametrize("url", ["ftp://host/", "host", "http://me:secret@host/", "http://"])
def test_an_address_that_cannot_be_posted_to_or_holds_a_password_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="lineage_url"):
        settings(tmp_path, lineage_url=url)
