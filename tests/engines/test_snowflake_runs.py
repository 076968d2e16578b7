"""Whole runs on an emulated Snowflake: whichever engine builds the layers, and whatever cut it off, the same tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from comparison import assert_nearly_same
from engine_place import SAMPLE, Place, assert_same, counted, land, two_landings
from snowflake_server import SECRET, counted_there, on_snowflake, skip_unless_installed, start_emulator

from flows import publish

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    skip_unless_installed()
    with start_emulator(tmp_path) as variables:
        yield on_snowflake(tmp_path / "home", variables)


def test_either_engine_makes_the_same_tables_of_any_history(place: Place) -> None:
    found = two_landings(place)
    assert place.run()["status"] == "nothing_new"

    assert on_their_side(place) == counted(place)

    assert place.run(engine="duckdb")["status"] == "passed"
    assert_same(found, place.published())
    assert place.run(engine="duckdb")["status"] == "nothing_new"

    assert place.run()["status"] == "passed"
    assert_same(place.published(), found)
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in place.home.rglob("*") if p.is_file())


def test_moving_over_and_back_copies_every_row_and_rebuilds_none(place: Place) -> None:
    files = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
    for name in files[:4]:
        land(place, name, (SAMPLE / name).read_bytes())
    assert place.run(engine="duckdb")["status"] == "passed"

    assert migrated(place, "snowflake")["gold.fact_user_interactions"] > 1000
    assert place.run()["status"] == "nothing_new"
    for name in files[4:]:
        land(place, name, (SAMPLE / name).read_bytes())
    run = place.run()["run"]
    assert run["lines"] == sum(lines_of(place, name) for name in files[4:]), "no more than the new files"
    found = place.published()

    assert migrated(place, "duckdb")["gold.fact_user_interactions"] == len(found["gold.fact_user_interactions"])
    assert place.run(engine="duckdb")["status"] == "nothing_new"
    place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(place.published(), found)


def test_what_is_gone_there_is_told_and_then_built_anew(tmp_path: Path) -> None:
    """The emulator keeps nothing when it ends, as if somebody had dropped the database."""
    skip_unless_installed()
    with start_emulator(tmp_path) as variables:
        place = on_snowflake(tmp_path / "home", variables)
        for path in sorted(path for path in SAMPLE.rglob("*") if path.is_file())[:4]:
            land(place, Path(path.name), path.read_bytes())
        assert place.run()["status"] == "passed"
    found = place.published()

    ended = place.start("run")
    assert ended.returncode == 1
    assert "Snowflake cannot be reached at 127.0.0.1; nothing was published" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert place.published() == found

    with start_emulator(tmp_path) as variables:
        place = on_snowflake(tmp_path / "home", variables)
        assert place.run()["status"] == "passed"
        assert place.published().keys() == found.keys()
        for table, rows in found.items():
            assert_nearly_same(place.published()[table], rows, table)
        assert on_their_side(place) == counted(place)


def migrated(place: Place, engine: str) -> dict[str, int]:
    """Rows by table that were proved equal."""
    found = json.loads(place.podcast("migrate", "--to", engine, "--json"))
    assert (found["engine"], found["is_moved"]) == (engine, True)
    return {table["relation"]: table["rows"] for table in found["tables"]}


def lines_of(place: Place, name: Path) -> int:
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb"), read_only=True) as connection:
        counted = "select max(row_count) from ops.batches where filename = ?"
        return connection.execute(counted, [str(name)]).fetchall()[0][0]


def on_their_side(place: Place) -> dict[str, int]:
    """The same of the database that readers have on Snowflake."""
    there = counted_there(place, *(f"podcast_published.{name}" for name in publish.TABLES))
    return {relation.partition(".")[2]: rows for relation, rows in there.items()}
