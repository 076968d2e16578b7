"""Deployments and the watcher on an emulated Snowflake, all of it as `podcast ui` starts it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from deployed import RUN_SECONDS, Ui, logs, start_ui, wait_for
from engine_place import SAMPLE, Place, counted
from snowflake_server import (
    CLIENT,
    SECRET,
    asked_there,
    counted_there,
    on_snowflake,
    skip_unless_installed,
    start_emulator,
)

from flows import QUIET, publish

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

PIPELINE = "podcast-pipeline/pipeline"
HELD_BACK = "2024-01-11/events-0004.json"
FILES = sorted(str(path.relative_to(SAMPLE)) for path in SAMPLE.rglob("*") if path.is_file())
LATE = FILES[-1]
ENDED = ("Completed", "Quarantined", "Nothing new", "Failed", "Crashed")
GATES = ("raw", "validated", "cleansed", "gold")
LONG_RUN_SECONDS = 2 * RUN_SECONDS


@dataclass
class Deployed:
    """What `podcast ui` runs in the environment of Snowflake, and what readers have there."""

    ui: Ui
    place: Place

    def run(self, *command: str) -> None:
        """A run of a deployment that completes, as a person asks for it."""
        watched = self.ui.run(*command, "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr + logs(self.ui.home)

    def statuses(self) -> dict[str, str]:
        """By file, what the ledger says that readers have there."""
        return dict(asked_there(self.place, "select filename, status from podcast_published.ops.batches"))

    def facts(self) -> dict[str, int]:
        """By file, the facts that readers have there."""
        by_file = """
            select filename, count(*) from podcast_published.gold.fact_user_interactions
            join podcast_published.ops.batches using (batch_id) group by filename
        """
        return dict(asked_there(self.place, by_file))

    def assert_published(self) -> None:
        """Readers there have as many rows of every table as the published copy of the home."""
        there = counted_there(self.place, *(f"podcast_published.{name}" for name in publish.TABLES))
        assert {name.partition(".")[2]: rows for name, rows in there.items()} == counted(self.place)

    def of_files(self, *states: str) -> list[dict[str, Any]]:
        """Runs that the watcher asked for."""
        return [run for run in self.ui.runs(PIPELINE, *states) if "files-landed" in run["tags"]]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One server and worker for all tests of the module, which build on each other in their order."""
    skip_unless_installed()
    folder = tmp_path_factory.mktemp("deployed")
    with start_emulator(folder) as variables:
        place = on_snowflake(folder / "home", variables)
        for name in FILES[:-1]:
            land(place, name)
        with start_ui(place.home, CLIENT.parent, {**place.environment(), **QUIET}) as ui:
            ui.ask("POST", f"/deployments/{ui.deployment(PIPELINE)['id']}/pause_deployment")  # by hand, or by files
            yield Deployed(ui, place)
        assert asked_there(place, "select holder from podcast.ops.writer") == [[None]]
        kept = b"".join(path.read_bytes() for path in place.home.rglob("*") if path.is_file())
        assert SECRET.encode() not in kept, "neither in a log nor in what the server keeps"


def land(place: Place, name: str) -> None:
    """Under another name first, as it should be done."""
    path = place.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    shutil.copyfile(SAMPLE / name, beside)
    beside.rename(path)


def test_a_run_of_the_deployment_publishes_the_sample_there(deployed: Deployed) -> None:
    """Whichever begins first, the run that is asked for here or that of the watcher, which found the files too."""
    deployed.run(PIPELINE)
    deployed.assert_published()
    assert deployed.statuses() == dict.fromkeys(FILES[:-1], "published") | {HELD_BACK: "quarantined"}
    assert set(deployed.facts()) == {*FILES[:-1]} - {HELD_BACK}
    assert len(deployed.ui.runs(PIPELINE, "Quarantined")) == 1
    artifacts = deployed.ui.artifacts()
    assert {key for key in artifacts if key.startswith("gate-")} == {f"gate-{gate}" for gate in GATES}
    assert HELD_BACK in artifacts["gate-validated"]["data"]


def test_a_file_that_lands_starts_a_run_that_is_published_there(deployed: Deployed) -> None:
    earlier = {run["id"] for run in deployed.of_files(*ENDED)}
    land(deployed.place, LATE)
    ended = wait_for(
        "the run", lambda: [r for r in deployed.of_files(*ENDED) if r["id"] not in earlier], LONG_RUN_SECONDS
    )
    assert [(run["name"].split(",")[0], run["state"]["name"]) for run in ended] == [("1 new file", "Completed")]
    assert deployed.statuses()[LATE] == "published"
    assert deployed.facts()[LATE] > 0
    deployed.assert_published()


def test_a_decision_that_is_deployed_is_published_there(deployed: Deployed) -> None:
    before = deployed.facts()
    deployed.run("podcast-release/release", "--param", f'batches=["{HELD_BACK}"]', "--param", "reason=a test")
    assert deployed.statuses()[HELD_BACK] == "released"
    found = deployed.facts()
    assert found[HELD_BACK] > 0
    assert sum(found.values()) > sum(before.values())
    deployed.assert_published()
