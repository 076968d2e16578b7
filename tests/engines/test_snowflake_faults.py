"""Faults on an emulated Snowflake: what is not granted, does not arrive, or is not what was judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine_place import SAMPLE, Place, assert_same, counted, land
from snowflake_server import asked_there, counted_there, on_snowflake, skip_unless_installed, start_emulator

from flows import publish

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

FILES = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
EARLY, LATE = FILES[:4], FILES[4:]

NO_SCHEMAS = {"create schema": "database 'PODCAST'"}
NO_DATABASES = {"create (transient )?database": "account 'EMULATED'"}
NO_TABLES = {"create or replace .*cleansed_events": "schema 'SILVER'"}


@dataclass
class Faulty:
    """A home over a part of the sample, and what the role of its user may not do on the emulator."""

    place: Place
    folder: Path

    def revoke(self, rights: Mapping[str, str]) -> None:
        (self.folder / "revoked.json").write_text(json.dumps(rights))

    def land(self, names: list[Path]) -> None:
        for name in names:
            land(self.place, name, (SAMPLE / name).read_bytes())

    def ends(self, said: str, *, within: str | None = None) -> None:
        """A run that fails, and says so."""
        ended = self.place.start("run", within=within)
        told = " ".join(ended.stderr.split())
        assert ended.returncode == 1, told
        assert said in told
        assert "Traceback" not in told

    def public(self) -> tuple[Any, ...]:
        """What readers have: the tables of the home, and there how many rows each has, and the last run."""
        there = counted_there(self.place, *(f"podcast_published.{name}" for name in publish.TABLES))
        last = asked_there(self.place, "select max(run_id) from podcast_published.ops.runs")
        return self.place.published(), there, last


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """One home for all tests of the module, which build on each other in their order."""
    skip_unless_installed()
    folder = tmp_path_factory.mktemp("faults")
    with start_emulator(folder) as variables:
        found = Faulty(on_snowflake(folder / "home", variables), folder)
        found.land(EARLY)
        yield found


@pytest.mark.parametrize(
    ("rights", "thing"),
    [
        pytest.param(NO_SCHEMAS, "database 'PODCAST'", id="schemas"),
        pytest.param(NO_TABLES, "schema 'SILVER'", id="tables"),
        pytest.param(NO_DATABASES, "account 'EMULATED'", id="databases"),
    ],
)
def test_a_right_that_the_role_has_not_is_named_and_nothing_is_published(
    faulty: Faulty, rights: dict[str, str], thing: str
) -> None:
    faulty.revoke(rights)
    faulty.ends(f"Insufficient privileges to operate on {thing}")
    assert not (faulty.place.home / "warehouse" / "published.duckdb").exists()
    databases = asked_there(faulty.place, "select database_name from podcast.information_schema.databases")
    assert [name for (name,) in databases if "PUBLISHED" in name] == []


def test_what_is_granted_for_the_first_run_is_not_needed_by_the_next(faulty: Faulty) -> None:
    """From here on no schema and no database may be made there, as all of them are."""
    faulty.revoke({})
    assert faulty.place.run()["status"] == "passed"
    faulty.revoke(NO_SCHEMAS | NO_DATABASES)
    assert faulty.place.run()["status"] == "nothing_new"
    _, there, _ = faulty.public()
    assert there["podcast_published.gold.fact_user_interactions"] > 1000
    faulty.land(LATE)


LOST = """
import shutil
from flows import snowflake_tables
write = snowflake_tables.write_files
def lossy(connection, into, columns, rows, file_bytes):
    sent = write(connection, into, columns, rows, file_bytes)
    if into.name.startswith({relation!r}):
        shutil.rmtree(into)
        write(connection, into, columns, f"select * from ({{rows}}) limit 1", file_bytes)
    return sent
snowflake_tables.write_files = lossy
"""
"""COPY loads one row of a relation."""
CHANGED = """
from flows import snowflake
refuse = snowflake._refuse_others
def changed(connection, settings, tables, catalog, standby):
    snowflake.execute(settings, f"delete from {standby}.gold.fact_listens where user_id > 'u000050'")
    refuse(connection, settings, tables, catalog, standby)
snowflake._refuse_others = changed
"""
"""A table that was cloned has fewer rows than was judged."""


@pytest.mark.parametrize(
    ("within", "said"),
    [
        pytest.param(LOST.format(relation="bronze.raw_events"), "rows of bronze.raw_events 1 have arrived", id="lines"),
        pytest.param(
            LOST.format(relation="podcast_published_standby.ops.batches"),
            "rows of podcast_published_standby.ops.batches 1 have arrived on Snowflake; nothing was published. Run",
            id="ledger",
        ),
        pytest.param(CHANGED, "On Snowflake gold.fact_listens has ", id="clone"),
    ],
)
def test_what_did_not_arrive_as_it_was_is_not_published(faulty: Faulty, within: str, said: str) -> None:
    before = faulty.public()
    faulty.ends(said, within=within)
    assert faulty.public() == before


def test_the_run_after_all_that_publishes_as_if_nothing_had_been(faulty: Faulty) -> None:
    assert faulty.place.run()["status"] == "passed"
    found, there, _ = faulty.public()
    assert {name.partition(".")[2]: rows for name, rows in there.items()} == counted(faulty.place)
    faulty.place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(faulty.place.published(), found)
