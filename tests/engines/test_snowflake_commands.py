"""Commands besides `podcast run` on an emulated Snowflake: they decide, forget and make anew as on DuckDB."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_decisions import DISCARDED, HELD_BACK, facts, land_sample, raw_lines, state
from engine_place import Place, assert_same
from snowflake_server import counted_there, on_snowflake, skip_unless_installed, start_emulator

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

PUBLISHED, RAW = "podcast_published.gold.fact_user_interactions", "podcast.bronze.raw_events"
DECISIONS = (
    ("quarantine", "reprocess", HELD_BACK),
    ("quarantine", "release", HELD_BACK, "--reason", "a test"),
    ("quarantine", "discard", DISCARDED, "--reason", "a test"),
    ("revalidate",),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A home over the whole sample."""
    skip_unless_installed()
    with start_emulator(tmp_path) as variables:
        place = on_snowflake(tmp_path / "home", variables)
        land_sample(place)
        yield replace(place, variables={**place.variables, "PODCAST_KEEP_RAW_DAYS": "0"})


def test_decisions_and_pruning_come_to_what_they_come_to_on_duckdb(place: Place, tmp_path: Path) -> None:
    alone = replace(place, home=tmp_path / "alone" / "home", engine="duckdb")
    shutil.copytree(place.landing, alone.landing)
    for home in (place, alone):
        assert home.run()["status"] == "passed"
    assert state(place) == state(alone)

    for command in DECISIONS:
        would = [home.podcast(*command, "--dry-run").splitlines()[0] for home in (place, alone)]
        assert would[0] == would[1], command
        for home in (place, alone):
            home.podcast(*command)
        assert state(place) == state(alone), command
        assert counted_there(place, PUBLISHED) == {PUBLISHED: facts(alone)}, command
    assert facts(alone) > 4000

    would, pruned = place.podcast("prune", "--dry-run"), place.podcast("prune")
    assert pruned == alone.podcast("prune") == would.replace("Would be deleted", "Deleted")
    assert not pruned.startswith("Deleted: 0 raw lines")
    for home in (place, alone):
        assert home.run()["status"] == "nothing_new"
        home.podcast("run", "--full-refresh")
    assert state(place) == state(alone)
    assert counted_there(place, RAW) == {RAW: raw_lines(alone)}

    found = place.published()
    place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(place.published(), found)


def test_a_warehouse_that_is_made_anew_has_the_tables_that_it_had(place: Place) -> None:
    place.podcast("run")
    place.podcast("quarantine", "release", HELD_BACK, "--reason", "a test")
    found, before = place.published(), state(place)
    place.podcast("backup", "--out", str(place.home.parent / "backup"))
    (place.home / "warehouse").rename(place.home.parent / "lost")

    ledger = str(place.home.parent / "backup" / "ledger.jsonl")
    place.podcast("rebuild", "--ledger", ledger)
    assert state(place) == before
    assert_same(place.published(), found)
    assert counted_there(place, PUBLISHED) == {PUBLISHED: facts(place)}
    assert place.run()["status"] == "nothing_new"
    refused = place.start("rebuild", "--ledger", ledger)
    assert refused.returncode == 1
    assert "There is a warehouse already" in refused.stderr
