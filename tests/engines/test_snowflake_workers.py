"""Homes on several machines that are workers of one Snowflake database: one at a time, each going on from the other."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from comparison import assert_nearly_same
from engine_place import SAMPLE, Place, assert_same, corrections
from snowflake_server import on_snowflake, skip_unless_installed, start_emulator

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

LOCKED = 4
SHORT = "import flows.snowflake_lock as lock; lock.LEASE_SECONDS = 4; lock.RENEW_SECONDS = 1\n"
"""A lease that a test can wait for the end of."""

HOLD = f"""{SHORT}
import sys
from flows.engines import writer_lock
from flows.settings import load_settings
with writer_lock(load_settings(), purpose="a long look"):
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass
class Workers:
    """Two homes on Snowflake with one landing directory, and one on DuckDB to compare with."""

    one: Place
    other: Place
    alone: Place
    landing: Path

    def land(self, name: Path, content: bytes) -> None:
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    skip_unless_installed()
    landing = tmp_path / "landing"
    landing.mkdir()
    with start_emulator(tmp_path) as variables:

        def on(name: str) -> Place:
            place = on_snowflake(tmp_path / name / "home", variables)
            return replace(place, variables={**place.variables, "PODCAST_LANDING": str(landing)})

        for name in ("one", "other", "alone"):
            (tmp_path / name).mkdir()
        yield Workers(on("one"), on("other"), replace(on("alone"), engine="duckdb"), landing)


FILES = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
EARLY, LATE = FILES[:4], FILES[4:]


def test_workers_that_take_turns_make_the_tables_of_one(workers: Workers) -> None:
    one, other, alone = workers.one, workers.other, workers.alone
    for name in EARLY:
        workers.land(name, (SAMPLE / name).read_bytes())
    for place in (one, alone):
        assert place.run()["status"] == "passed"

    for name in LATE:
        workers.land(name, (SAMPLE / name).read_bytes())
    workers.land(Path("corrections.ndjson"), corrections(one))
    runs = [place.run()["run"] for place in (other, alone)]
    assert runs[0] == runs[1], "a home without anything works on what is new only"
    assert one.run()["status"] == "nothing_new"
    assert_same(one.published(), other.published())

    for place in (one, alone):
        place.podcast("quarantine", "discard", str(EARLY[1]), "--reason", "a test of what leaves")
    assert other.run()["status"] == "nothing_new"
    found = other.published()
    assert_same(found, one.published())
    assert not [row for row in found["silver.cleansed_events"] if str(EARLY[1]) in row]
    assert accounts(other) == accounts(alone)
    assert batches(other) == batches(one) == batches(alone)
    assert_whole(other)


def test_one_of_them_writes_and_the_others_are_told_who_does(workers: Workers) -> None:
    with holding(workers.one) as holder:
        refused = workers.other.start("run")
        assert refused.returncode == LOCKED, refused.stderr[-3000:]
        said = " ".join(refused.stderr.split())
        assert f"The database podcast on Snowflake is being written by process {holder.pid} on" in said
        assert "(a long look, since" in said

        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    workers.one.run()  # of the home that it was of, at once

    with holding(workers.one) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    ended = [workers.other.start("run") for _ in range(3)]
    assert ended[-1].returncode == 0, [end.stderr[-500:] for end in ended]  # no longer than its lease


@pytest.mark.parametrize("before", ["_carry", "_refuse_others"])
def test_one_that_has_lost_the_right_publishes_nothing(workers: Workers, before: str) -> None:
    """Lost before a layer is built, and when all that is left is to publish."""
    for name in EARLY:
        workers.land(name, (SAMPLE / name).read_bytes())
    lost = f"""
import flows.snowflake as module
after = module.{before}
def lose(connection, settings, *given):
    module.execute(settings, "update ops.writer set token = 'of another', home = 'another', holder = 'another'")
    after(connection, settings, *given)
module.{before} = lose
"""
    ended = workers.one.start("run", within=lost)
    assert ended.returncode == 1
    assert "another worker has taken the right to write there; nothing was published" in " ".join(ended.stderr.split())
    assert not (workers.one.home / "warehouse" / "published.duckdb").exists()
    refused = workers.other.start("run")
    assert refused.returncode == LOCKED
    assert "is being written by another" in " ".join(refused.stderr.split())


@pytest.mark.parametrize("where", ["snowflake.carry_out", "engines.publish", "snowflake_ledger.keep"])
def test_what_one_that_was_killed_has_left_undone_another_does(workers: Workers, where: str) -> None:
    one, other, alone = workers.one, workers.other, workers.alone
    for name in EARLY:
        workers.land(name, (SAMPLE / name).read_bytes())
    assert one.run()["status"] == "passed"
    for name in LATE:
        workers.land(name, (SAMPLE / name).read_bytes())
    module, function = where.split(".")
    dying = f"{SHORT}import os, flows.{module} as module\nmodule.{function} = lambda *given, **named: os._exit(9)\n"
    assert one.start("run", within=dying).returncode == 9

    ended = [other.start("run", "--json") for _ in range(3)]  # by then the lease of the dead has ended
    assert ended[-1].returncode == 0, ended[-1].stderr[-3000:]
    assert alone.run()["status"] == "passed"
    assert accounts(other) == accounts(alone)
    assert one.run()["status"] == "nothing_new"
    assert_same(one.published(), other.published())
    assert_whole(one)


def test_a_ledger_that_was_put_back_counts_and_a_home_with_its_own_is_refused(workers: Workers) -> None:
    one, other, alone = workers.one, workers.other, workers.alone
    for name in EARLY:
        workers.land(name, (SAMPLE / name).read_bytes())
    for place in (one, alone):
        assert place.run()["status"] == "passed"
    found = one.published()
    one.podcast("backup", "--out", str(one.home.parent / "backup"))
    for name in LATE:
        workers.land(name, (SAMPLE / name).read_bytes())
    assert other.run()["status"] == "passed"
    for name in LATE:
        (workers.landing / name).unlink()

    one.podcast("restore", "--force", str(one.home.parent / "backup"))
    refused = other.start("run")
    assert refused.returncode == 1
    assert "no run has followed there yet" in " ".join(refused.stderr.split())
    assert one.run()["status"] in ("passed", "nothing_new")
    assert_rows(one.published(), found)
    other.run()
    assert_rows(other.published(), found)

    stranger, before = replace(alone, engine="snowflake"), alone.published()
    refused = stranger.start("run")
    assert refused.returncode == 1
    assert "has the ledger of another home" in " ".join(refused.stderr.split())
    assert alone.published() == before


def assert_rows(found: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> None:
    """The same rows in every table, of a part of the sample."""
    assert len(expected["gold.fact_user_interactions"]) > 1000
    for table, rows in expected.items():
        assert_nearly_same(found[table], rows, table)


def assert_whole(place: Place) -> None:
    """DuckDB makes the same tables of the lines and the ledger that the home has come to."""
    found = place.published()
    place.podcast("run", "--full-refresh", engine="duckdb")
    assert_same(place.published(), found)


@contextmanager
def holding(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A process of a home that has the right to write."""
    process = subprocess.Popen(
        [place.python, "-c", HOLD], env=place.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.communicate()


def accounts(place: Place) -> Any:
    """What has become of all lines, by the last run that published."""
    with duckdb.connect(str(place.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        totals = "total_lines, total_malformed, total_invalid, total_duplicates, total_facts, total_held_back"
        return connection.execute(f"select {totals} from ops.runs order by finished_at desc limit 1").fetchall()


def batches(place: Place) -> list[tuple[Any, ...]]:
    """What the ledger says of each file."""
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb"), read_only=True) as connection:
        told = (
            "select filename, attempt, status, reason, row_count, invalid_count, pending from ops.batches order by all"
        )
        return connection.execute(told).fetchall()
