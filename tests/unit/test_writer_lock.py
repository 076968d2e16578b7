"""Who is told to have the right to write, at every moment of taking it and giving it back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import BaseFileLock, FileLock

from flows import warehouse
from flows.errors import WarehouseLockedError
from flows.settings import Settings, load_settings

HOST = socket.gethostname()
BEFORE_LONG = 0.15  # seconds


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path))
    (tmp_path / "warehouse").mkdir()
    return load_settings()


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@contextmanager
def held(settings: Settings) -> Iterator[BaseFileLock]:
    """The lock in the hands of one that has not given its name."""
    with FileLock(settings.home / "warehouse" / "writer.lock", thread_local=False) as lock:
        yield lock


@contextmanager
def before_long(act: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(BEFORE_LONG, act)
    timer.start()
    yield
    timer.join()


def name(settings: Settings, pid: int, purpose: str) -> None:
    note = {"host": HOST, "pid": pid, "purpose": purpose, "run": None, "since": "2026-01-05T00:00:00"}
    (settings.home / "warehouse" / "writer.json").write_text(json.dumps(note))


def refused(settings: Settings) -> str:
    with pytest.raises(WarehouseLockedError) as error, warehouse.writer_lock(settings, purpose="ours"):
        pass
    return str(error.value)


def test_one_that_has_the_lock_and_not_yet_a_name_is_given_the_time_to_write_it(settings: Settings) -> None:
    with held(settings), before_long(lambda: name(settings, os.getpid(), "the other")):
        assert f"process {os.getpid()} on {HOST} (the other, since" in refused(settings)


def test_the_name_of_one_that_is_dead_is_not_told_for_that_of_the_next(settings: Settings, dead_pid: int) -> None:
    name(settings, dead_pid, "the one before")
    with held(settings), before_long(lambda: name(settings, os.getpid(), "the other")):
        assert "(the other, since" in refused(settings)


def test_one_that_gives_the_lock_back_without_a_name_is_followed(settings: Settings) -> None:
    with held(settings) as lock, before_long(lock.release), warehouse.writer_lock(settings, purpose="ours"):
        assert "(ours, since" in warehouse.lock_holder(settings)


def test_one_that_never_gives_a_name_is_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "SECONDS_TO_GIVE_A_NAME", BEFORE_LONG)
    with held(settings):
        assert "is being written by another process. Nothing was changed" in refused(settings)


def test_a_name_is_never_read_while_it_is_half_written(settings: Settings) -> None:
    """Many a reader beside one that takes the lock and gives it back, over and over."""
    note, end, torn = settings.home / "warehouse" / "writer.json", threading.Event(), []

    def read() -> None:
        while not end.is_set():
            if (text := _text(note)) is not None and not text.endswith("}"):
                torn.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        with warehouse.writer_lock(settings, purpose="ours"):
            pass
    end.set()
    reader.join()
    assert torn == []


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
