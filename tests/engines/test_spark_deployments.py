"""Deployments and the watcher with Spark, all of it as `podcast ui` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from deployed import RUN_SECONDS, Ui, logs, start_ui, wait_for
from engine_decisions import HELD_BACK
from engine_place import SAMPLE, Place, counted, land, on_spark
from spark_installed import skip_unless_installed
from spark_readers import counted_by_readers

from flows import QUIET

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

PIPELINE = "podcast-pipeline/pipeline"
FILES = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
ENDED = ("Completed", "Quarantined", "Nothing new", "Failed", "Crashed")


def test_runs_of_deployments_and_of_the_watcher_are_public_on_both_sides(tmp_path: Path) -> None:
    skip_unless_installed()
    place = on_spark(tmp_path / "home", "local[2]")
    for name in FILES[:-1]:
        land(place, name, (SAMPLE / name).read_bytes())
    with start_ui(place.home, Path(sys.executable).parent, {**place.environment(), **QUIET}) as ui:
        ui.ask("POST", f"/deployments/{ui.deployment(PIPELINE)['id']}/pause_deployment")  # by hand, or by files
        asked(ui, PIPELINE)
        sample = assert_public(place)

        land(place, FILES[-1], (SAMPLE / FILES[-1]).read_bytes())
        wait_for("the run of the watcher", lambda: of_file(ui), 3 * RUN_SECONDS)
        with_file = assert_public(place)
        assert with_file > sample

        asked(ui, "podcast-release/release", "--param", f'batches=["{HELD_BACK}"]', "--param", "reason=a test")
        assert assert_public(place) > with_file
        assert ui.runs(PIPELINE, "Failed", "Crashed") == []


def asked(ui: Ui, *command: str) -> None:
    """A run of a deployment that completes, as a person asks for it."""
    watched = ui.run(*command, "--watch")
    assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)


def of_file(ui: Ui) -> list[dict[str, Any]]:
    """Runs that have ended of those that the watcher asked for when the last file had landed."""
    asked_for = [run for run in ui.runs(PIPELINE, *ENDED) if "files-landed" in run["tags"]]
    return [run for run in asked_for if run["name"].startswith("1 new file")]


def assert_public(place: Place) -> int:
    """Readers of either side have the same numbers of rows; the facts among them."""
    found = counted(place)
    assert counted_by_readers(place) == found
    return found["gold.fact_user_interactions"]
