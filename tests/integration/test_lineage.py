"""The lineage of real runs: events are valid, the graph is that of dbt, the verdicts those of the warehouse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comparison
import pytest
from conftest import Home
from openlineage_schema import problems
from receiver import Receiver, receiving

from flows import tables, transform
from flows.settings import load_settings

LINES = 30
KEY = "canary-key"


def lines(**changes: Any) -> bytes:
    """Valid ones with a further key, changed."""
    values = {"event_type": "play", "episode_id": "canary-episode", "duration": 60, "canary-key-of-data": "canary"}
    rows = [
        values | {"user_id": f"canary-{n}", "timestamp": f"2024-01-01T10:{n:02}:00Z"} | changes for n in range(LINES)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass(frozen=True)
class Told:
    """A home after two runs, of which the second held a file back, with what was told of each."""

    home: Home
    receiver: Receiver
    runs: tuple[str, str]

    def events(self, run: str) -> list[dict[str, Any]]:
        text = (self.home.path / "lineage" / f"{run}.ndjson").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Told]:  # noqa: ARG001
    with pytest.MonkeyPatch.context() as patch, receiving() as receiver:
        home = Home(tmp_path_factory.mktemp("lineage") / "home", patch)
        users = [(f"canary-{n}", "2023-01-01", "NO") for n in range(LINES)]
        episodes = [("canary-episode", "canary-podcast", "Canary title", "2023-01-01", 600)]
        home.set(seeds=comparison.write_reference_data(home.path / "seeds", users, episodes))
        home.set(lineage=True, lineage_url=receiver.url, lineage_key=KEY, mask_key="canary-mask")
        home.land({"a/good.json": lines()})
        first = home.run()
        home.land({"b/bad.json": lines(duration="canary-duration"), "b/good.json": lines(event_type="complete")})
        second = home.run()
        home.run()  # nothing new
        yield Told(home, receiver, (first.run_id, second.run_id))


def test_every_event_is_valid_and_has_its_run_as_parent(told: Told) -> None:
    for run in told.runs:
        events = told.events(run)
        assert [problem for event in events for problem in problems(event)] == []
        assert {event["job"]["namespace"] for event in events} == {"podcast"}
        flow, *steps = events[:-1]
        assert flow["run"]["runId"] == events[-1]["run"]["runId"] == run
        assert {step["run"]["facets"]["parent"]["run"]["runId"] for step in steps} == {run}


def test_every_step_begins_once_and_ends_once(told: Told) -> None:
    for run in told.runs:
        states = Counter((event["run"]["runId"], event["eventType"]) for event in told.events(run))
        assert set(states.values()) == {1}
        assert {state for _, state in states} == {"START", "COMPLETE"}
        assert len(states) == 2 * len({run_id for run_id, _ in states})


def test_a_run_without_work_tells_nothing(told: Told) -> None:
    assert {path.stem for path in (told.home.path / "lineage").iterdir()} == set(told.runs)


def test_the_endpoint_got_the_same_with_the_key(told: Told) -> None:
    assert told.receiver.bodies == [event for run in told.runs for event in told.events(run)]
    assert {headers["Authorization"] for headers in told.receiver.headers} == {f"Bearer {KEY}"}


def test_the_load_says_where_from_and_how_many_lines(told: Told) -> None:
    (end,) = (e for e in told.events(told.runs[1]) if (e["job"]["name"], e["eventType"]) == ("load", "COMPLETE"))
    assert {d["name"]: d["inputFacets"]["inputStatistics"]["fileCount"] for d in end["inputs"]} == {"landing/b": 2}
    (written,) = end["outputs"]
    assert written["name"] == "podcast.bronze.raw_events"
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2 * LINES
    assert "line_number" in {field["name"] for field in written["facets"]["schema"]["fields"]}


def test_the_graph_is_that_of_dbt(told: Told) -> None:
    """Nothing is left out of what a first run builds, and whoever reads the manifest again finds the same.

    Seeds are for dbt alone: where its graph has one, the engine has read the files.
    """
    documented = tables.read(transform.manifest(load_settings()))
    built = {t.name: t for t in documented.values() if t.kind not in ("source", "seed")}
    seeds = {t.name for t in documented.values() if t.kind == "seed"}
    assert seeds == {"bronze.users", "bronze.episodes"}
    ends = {
        event["job"]["name"].removeprefix("dbt."): event
        for event in told.events(told.runs[0])
        if event["job"]["name"].startswith("dbt.") and event["eventType"] == "COMPLETE"
    }
    assert ends.keys() == built.keys()
    for name, end in ends.items():
        assert [d["name"] for d in end["outputs"]] == [f"podcast.{name}"]
        assert {d["namespace"] for d in end["outputs"]} == {"duckdb://podcast"}
        read = [
            ("file", f"reference/{n.split('.')[1]}") if n in seeds else ("duckdb://podcast", f"podcast.{n}")
            for n in built[name].upstream
        ]
        assert [(d["namespace"], d["name"]) for d in end["inputs"]] == read
        assert ("sql" in end["job"]["facets"]) == ("file" not in {namespace for namespace, _ in read})
        described = {f["name"]: f.get("description") for f in end["outputs"][0]["facets"]["schema"]["fields"]}
        assert described == {column.name: column.description for column in built[name].columns}


def test_outcomes_and_verdicts_are_those_of_the_warehouse(told: Told) -> None:
    run = told.runs[1]
    ends = [e for e in told.events(run) if e["job"]["name"].startswith("gate.") and e["eventType"] == "COMPLETE"]
    for gate in ("raw", "validated", "cleansed", "gold"):
        assertions = Counter(
            (a["description"], a["success"])
            for end in ends
            if end["job"]["name"] == f"gate.{gate}"
            for dataset in end["inputs"]
            for a in dataset["inputFacets"].get("dataQualityAssertions", {"assertions": []})["assertions"]
        )
        kept = told.home.query(
            f"""
            select substr(expectation, strpos(expectation, ': ') + 2), success, count(*) from ops.validation_results
            where run_id = '{run}' and checkpoint = '{gate}' and batch_id is null group by all
            """
        )
        assert assertions == {(description, success): count for description, success, count in kept}
    verdicts = [
        (end["job"]["name"], tag["value"])
        for end in ends
        for tag in end["run"]["facets"]["tags"]["tags"]
        if tag["key"] == "verdict"
    ]
    assert ("gate.validated", "held_back") in verdicts
    assert verdicts[-1] == ("gate.gold", "passed")


def test_no_user_no_secret_no_line_and_no_folder_of_the_machine_is_told(told: Told) -> None:
    for run in told.runs:
        text = (told.home.path / "lineage" / f"{run}.ndjson").read_text(encoding="utf-8").lower()
        assert "canary" not in text
        assert str(told.home.path) not in text
