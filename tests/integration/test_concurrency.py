"""Many at once: runs over one home, readers of the published copy, and a lock whose holder is dead."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from comparison import assert_tables_equal, expected_world
from kills.processes import podcast_command, prefect_server
from kills.traffic import HELD_BACK, KNOWN_EPISODES, KNOWN_USERS, Traffic

RUNS = 8
LOCKED = 4
SECONDS = 300
HOLDER = r"process (\d+) on \S+ \((?:looking for new files|flow run [\w-]+, run [0-9a-f-]+), since [\d:T-]+ UTC\)"
# Opens the published copy, says what is in it, and says it again when it is asked to.
READER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(connection.execute("select count(*), max(load_at) from gold.fact_user_interactions").fetchone(), flush=True)
"""


@dataclass(frozen=True)
class Place:
    """A home with its landing directory, and the server that its runs report to."""

    traffic: Traffic
    server: dict[str, str]

    @property
    def warehouse(self) -> Path:
        return self.traffic.home / "warehouse"

    def land_everything(self) -> None:
        for files in self.traffic.next_leg():
            self.traffic.land(files)

    def start(self) -> subprocess.Popen[str]:
        """The command that people type."""
        return subprocess.Popen(
            [podcast_command(), "run"], env={**os.environ, **self.server, **self.traffic.settings, "COLUMNS": "1000"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self) -> subprocess.Popen[str]:
        """One run to its end, which has to be a good one."""
        process = self.start()
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output + errors
        return process

    def check(self) -> None:
        """Everything that landed is where the oracle says."""
        warehouse = self.warehouse / "podcast.duckdb"
        world = expected_world(warehouse, self.traffic.landed, KNOWN_USERS, KNOWN_EPISODES)
        assert world.statuses.keys() == self.traffic.landed.keys()
        assert_tables_equal(self.traffic.home, world)

    def files(self) -> dict[str, tuple[int, int]]:
        """Everything that a run could have changed; the lock itself is opened by everybody."""
        paths = [p for p in self.traffic.home.rglob("*") if p.is_file() and p.name != "writer.lock"]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with prefect_server(tmp_path_factory.mktemp("server")) as environment:
        yield environment


@pytest.fixture
def place(tmp_path: Path, server: dict[str, str]) -> Place:
    return Place(Traffic(tmp_path / "home", random.Random(1)), server)


def test_of_eight_runs_at_once_some_do_the_work_and_the_others_say_who_does(place: Place) -> None:
    place.land_everything()
    place.land_everything()

    processes = [place.start() for _ in range(RUNS)]
    outputs = [process.communicate(timeout=SECONDS) for process in processes]

    codes = [process.returncode for process in processes]
    assert set(codes) <= {0, LOCKED}, (codes, outputs)
    with duckdb.connect(str(place.warehouse / "podcast.duckdb"), read_only=True) as connection:
        assert connection.execute("select status, count(*) from ops.runs group by all").fetchall() == [("passed", 1)]
    pids = {process.pid for process in processes}
    for code, (_, errors) in zip(codes, outputs, strict=True):
        if code == LOCKED:
            found = re.search(HOLDER, " ".join(errors.split()))
            assert found, errors
            assert int(found[1]) in pids
            assert "Nothing was changed" in errors
    place.check()
    place.run()
    place.check()


@dataclass
class Reader:
    """Somebody who opens the published copy again and again, and what they have seen."""

    path: Path
    bad: set[str]
    seen: set[str] = field(default_factory=set)
    looks: int = 0

    def look(self) -> None:
        """Raises what opening raises, once there was something to open."""
        if not self.seen and not self.path.exists():
            return
        with duckdb.connect(str(self.path), read_only=True) as connection:
            entered = dict(connection.execute("select batch_id, filename from ops.batches").fetchall())
            accepted = connection.execute(
                "select batch_id from ops.batches where status in ('published', 'released')"
            ).fetchall()
            shown = connection.execute(
                "select batch_id from silver.cleansed_events union select batch_id from gold.fact_user_interactions"
            ).fetchall()
        assert set(shown) <= set(accepted)
        assert not {entered[batch_id] for (batch_id,) in shown} & self.bad
        assert self.seen <= set(entered.values())
        self.seen |= set(entered.values())
        self.looks += 1


def test_readers_see_only_what_passed_at_any_moment_of_a_run_and_keep_what_they_opened(place: Place) -> None:
    reader = Reader(place.warehouse / "published.duckdb", set())
    _watch_a_run(place, reader)
    patient = _open_and_keep(reader.path)
    try:
        kept = _ask(patient)
        for _ in range(2):
            _watch_a_run(place, reader)
        assert _ask(patient) == kept
    finally:
        patient.communicate()
    with duckdb.connect(str(reader.path), read_only=True) as connection:
        newest = connection.execute("select max(load_at) from gold.fact_user_interactions").fetchone()
    assert str(newest)[1:-2] not in kept, "the copy was replaced while somebody had it open"


def _watch_a_run(place: Place, reader: Reader) -> None:
    """Look all the time while a run has files of all kinds, one that fails at each gate a file can fail at."""
    looks = reader.looks
    place.land_everything()
    reader.bad = set(place.traffic.held_back())
    assert {f"{place.traffic.legs:03}-{name}" for name in HELD_BACK} <= reader.bad
    is_first = not reader.seen
    run = place.start()
    while run.poll() is None:
        reader.look()
        time.sleep(0.03)
    output, errors = run.communicate()
    assert run.returncode == 0, output + errors
    reader.look()
    assert is_first or reader.looks > looks + 1
    assert reader.seen == set(place.traffic.landed)
    place.check()


def _open_and_keep(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", READER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _ask(reader: subprocess.Popen[str]) -> str:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("?\n")
    reader.stdin.flush()
    answer = reader.stdout.readline()
    assert answer
    return answer


def test_a_lock_is_respected_while_its_holder_lives_and_taken_over_when_it_is_dead(place: Place) -> None:
    place.land_everything()
    holder = place.start()
    try:
        _wait_for_flow(place, holder)
        holder.send_signal(signal.SIGSTOP)  # alive, in the middle of a run, and for as long as it takes
        before = place.files()
        second = place.start()
        _, errors = second.communicate(timeout=SECONDS)
        assert second.returncode == LOCKED
        found = re.search(HOLDER, " ".join(errors.split()))
        assert found, errors
        assert int(found[1]) == holder.pid
        assert place.files() == before
    finally:
        holder.kill()
        holder.communicate()
    assert _lock(place)["pid"] == holder.pid, "the dead holder's note is still there"
    place.run()
    place.check()


def _wait_for_flow(place: Place, run: subprocess.Popen[str]) -> None:
    """Until the run holds the lock for its flow, and not only to look for new files."""
    while "flow run" not in _lock(place).get("purpose", ""):
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)


def _lock(place: Place) -> dict[str, str]:
    try:
        return dict(json.loads((place.warehouse / "writer.json").read_text()))
    except (OSError, ValueError):
        return {}
