"""Commands besides `podcast run` with Spark: they decide, copy, put back and make anew as on DuckDB."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from engine_decisions import DISCARDED, HELD_BACK, facts, land_sample, state
from engine_place import assert_same, on_spark
from spark_installed import skip_unless_installed

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]


def test_what_is_decided_put_back_and_made_anew_is_what_it_is_on_duckdb(tmp_path: Path) -> None:
    skip_unless_installed()
    place = on_spark(tmp_path / "home", "local[2]")
    land_sample(place)
    alone = replace(place, home=tmp_path / "alone" / "home", engine="duckdb")
    shutil.copytree(place.landing, alone.landing)
    homes = (place, alone)
    for home in homes:
        assert home.run()["status"] == "passed"

    for command in (("quarantine", "release", HELD_BACK, "--reason", "a test"), ("revalidate",)):
        would = [home.podcast(*command, "--dry-run").splitlines()[0] for home in homes]
        assert would[0] == would[1], command
        for home in homes:
            home.podcast(*command)
        assert state(place) == state(alone), command
    assert facts(place) > 4000

    found, before, backup = place.published(), state(place), tmp_path / "backup"
    place.podcast("backup", "--out", str(backup))
    place.podcast("quarantine", "discard", DISCARDED, "--reason", "a test of what a restore takes back")
    assert facts(place) < len(found["gold.fact_user_interactions"])
    place.podcast("restore", str(backup), "--force")
    assert state(place) == before
    assert place.run()["status"] == "passed", "its tables are of another build than what was put back"
    assert_same(place.published(), found)
    assert place.run()["status"] == "nothing_new"

    (place.home / "warehouse").rename(tmp_path / "lost")
    place.podcast("rebuild", "--ledger", str(backup / "ledger.jsonl"))
    assert state(place) == before
    assert_same(place.published(), found)
    assert place.run()["status"] == "nothing_new"

    place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(place.published(), found)
