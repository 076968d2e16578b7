"""Whole runs whose files are taken apart by processes: the rows and the ledger of the run that does it by itself."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from loading_world import Place

DIES = """
import os, signal
from flows import ledger

record, calls = ledger.record, []

def deadly(*arguments):
    record(*arguments)
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

ledger.record = deadly
"""
"""Two groups of files are committed, and the third is not."""


@pytest.fixture(scope="module")
def by_itself(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("itself") / "home")
    place.land()
    place.passed()
    return place


def test_processes_load_what_the_run_would(tmp_path: Path, by_itself: Place) -> None:
    place = Place(tmp_path / "home")
    place.land()
    summary = place.passed(loading="processes", loading_workers=2)
    assert summary["published_batches"] > 5
    assert place.held() == by_itself.held()
    assert len(place.held()["facts"]) > 1000
    assert not list((place.home / "warehouse").glob("podcast-loading-*"))


def test_a_run_that_is_killed_between_two_groups_keeps_the_first_ones(tmp_path: Path, by_itself: Place) -> None:
    place = Place(tmp_path / "home")
    place.land()
    done = place.run(before=DIES, loading="processes", loading_workers=2)
    assert done.returncode == -signal.SIGKILL, done.stderr[-4000:]
    every = by_itself.ledger()
    assert place.ledger() == every[:8]
    assert list((place.home / "warehouse").glob("podcast-loading-*"))
    wait_for_the_end_of_all_that_know(place.home)
    place.passed(loading="processes", loading_workers=2)
    assert place.held() == by_itself.held()
    assert not list((place.home / "warehouse").glob("podcast-loading-*"))


def wait_for_the_end_of_all_that_know(home: Path) -> None:
    """No process is left that was started with this home."""
    end = time.monotonic() + 60
    while left := [pid for pid in Path("/proc").glob("[0-9]*") if knows(pid, home)]:
        assert time.monotonic() < end, left
        time.sleep(0.2)


def knows(process: Path, home: Path) -> bool:
    try:
        return os.fsencode(f"PODCAST_HOME={home}") in (process / "environ").read_bytes()
    except OSError:
        return False
