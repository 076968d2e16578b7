"""When the watcher asks for a run: never two on their way, never again in vain, and in the end for everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows import watch_arrivals
from flows.errors import LandingError, WatchError
from flows.settings import Settings
from flows.watch import Watcher, _the_only_one
from flows.watch_decisions import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    QUIET_SECONDS,
    Asked,
    Memory,
    after_run,
    doubling,
    left_over,
    new_files,
    noticed,
    retry_seconds,
)
from flows.watch_server import Ended, connected

SETTLE = 2.0
POLL = 60.0
A, B = ("a.json", "1"), ("b.json", "1")


# --- What is a reason ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("landed", "known", "tried", "new"),
    [
        ({}, {}, [], []),
        ({"a.json": "1"}, {}, [], [A]),
        ({"a.json": "1"}, {"a.json": "1"}, [], []),
        ({"a.json": "2"}, {"a.json": "1"}, [], [("a.json", "2")]),
        ({}, {"a.json": "1"}, [], []),
        ({"a.json": "1"}, {}, [A], []),
        ({"a.json": "2"}, {}, [A], [("a.json", "2")]),
        ({"a.json": "1", "b.json": "1"}, {}, [A], [B]),
    ],
    ids=["nothing", "new", "known", "changed", "gone", "in-vain", "corrected", "another"],
)
def test_new_is_what_neither_the_ledger_knows_nor_was_tried(
    landed: dict[str, str], known: dict[str, str], tried: list[tuple[str, str]], new: list[tuple[str, str]]
) -> None:
    assert new_files(landed, known, Memory(tried=frozenset(tried))) == set(new)


def test_after_a_run_that_completed_its_files_are_tried_and_failures_forgotten() -> None:
    memory = Memory(asked=Asked("run", frozenset([A])), tried=frozenset([B]), failures=3, not_before=50)
    assert after_run(memory, completed=True, now=60) == Memory(tried=frozenset([A, B]))


def test_after_a_run_that_failed_its_files_stay_a_reason_later() -> None:
    memory = Memory(asked=Asked("run", frozenset([A])))
    for failures, pause in ((1, 60), (2, 120), (3, 240), (4, 480), (5, 900), (6, 900)):
        memory = after_run(memory, completed=False, now=1000)
        assert memory == Memory(failures=failures, not_before=1000 + pause)
        assert new_files(dict([A]), {}, memory) == {A}


def test_pauses_have_an_end() -> None:
    assert [retry_seconds(n) for n in (1, 10_000)] == [FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS]
    assert [doubling(n, first=1, longest=30) for n in (1, 2, 3, 6, 5000)] == [1, 2, 4, 30, 30]


def test_what_was_tried_is_forgotten_when_it_is_known_gone_or_other() -> None:
    memory = Memory(tried=frozenset([A, B, ("c.json", "1"), ("d.json", "1")]))
    landed = {"a.json": "1", "b.json": "1", "c.json": "2"}
    assert left_over(landed, {"b.json": "1"}, memory) == {A}


# --- Settling -----------------------------------------------------------------------------------


@given(gaps=st.lists(st.floats(0.01, 10), min_size=1, max_size=50), settle=st.floats(0, 10))
def test_files_settle_a_settle_time_after_the_last_write_and_a_stream_is_not_waited_for(
    gaps: list[float], settle: float
) -> None:
    now, settling = 100.0, noticed(None, 100.0)
    for gap in gaps:
        now += gap
        settling = noticed(settling, now)
    least = max(settle, QUIET_SECONDS)
    assert settling.due(settle) == min(now + least, 100.0 + 10 * least)


# --- The watcher in a world of its own ----------------------------------------------------------


@dataclass
class World:
    """A landing directory, a ledger and a server with runs, as far as the watcher can tell; and its clock."""

    landed: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    running: str | None = None
    taken: dict[str, str] = field(default_factory=dict)
    endings: dict[str, bool] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    now: float = 1000.0
    server_is_up: bool = True
    landing_is_there: bool = True

    # what the watcher asks

    def runs_on_their_way(self) -> int:
        self._answer()
        return len(self.waiting) + (self.running is not None)

    def enter_lost_runs(self, _: object) -> list[str]:
        self._answer()
        return []

    def ended(self, run_id: str) -> Ended | None:
        self._answer()
        return Ended(self.endings[run_id], "as it was") if run_id in self.endings else None

    def ask(self, files: int) -> tuple[str, str]:
        self._answer()
        assert self.runs_on_their_way() == 0, "a run is on its way already"
        run_id = f"asked-{len(self.asked)}"
        self.asked.append((run_id, files))
        self.waiting.append(run_id)
        return run_id, run_id

    def _answer(self) -> None:
        if not self.server_is_up:
            raise WatchError("The server does not answer.")

    def look(self) -> dict[str, str]:
        if not self.landing_is_there:
            raise LandingError("The landing directory is not there.")
        return dict(self.landed)

    # what happens

    def land(self, name: str, *, readable: bool = True) -> None:
        self.landed[name] = str(int(self.landed.get(name, "0")) + 1)
        (self.unreadable.discard if readable else self.unreadable.add)(name)

    def schedule(self) -> None:
        if not self.waiting:
            self.waiting.append(f"cron-{self.now}")

    def begin(self) -> None:
        if self.waiting and self.running is None:
            self.running = self.waiting.pop(0)
            self.taken = {name: mark for name, mark in self.landed.items() if name not in self.unreadable}

    def end(self, *, completed: bool) -> None:
        if self.running is not None:
            self.endings[self.running], self.running = completed, None
            if completed:
                self.ledger |= self.taken


@contextmanager
def watching(world: World, **settings: object) -> Iterator[Watcher]:
    given = {"settle_seconds": SETTLE, "watch_poll_seconds": POLL} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_arrivals, "landed", lambda _settings: world.look())
        patch.setattr(watch_arrivals, "known", lambda _settings: dict(world.ledger))
        yield Watcher(Settings(**given), world, clock=lambda: world.now)  # type: ignore[arg-type]


def pass_time(world: World, watcher: Watcher, seconds: float, *, arriving: bool = False) -> None:
    """Ticks of half a second; the notice comes with the first."""
    for tick in range(int(seconds * 2)):
        world.now += 0.5
        watcher.tick(arriving=arriving and tick == 0)


def test_what_lies_there_at_the_start_is_a_reason_at_once() -> None:
    world = World({"a.json": "1", "b.json": "1"}, {"b.json": "1"})
    with watching(world) as watcher:
        pass_time(world, watcher, 0.5)
    assert world.asked == [("asked-0", 1)]


def test_a_burst_is_one_run_and_it_waits_until_the_burst_is_over() -> None:
    world = World()
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        for n in range(10):
            world.land(f"{n}.json")
            pass_time(world, watcher, 1, arriving=True)
            assert world.asked == []
        pass_time(world, watcher, SETTLE)
        assert world.asked == [("asked-0", 10)]
        pass_time(world, watcher, 300)
    assert world.asked == [("asked-0", 10)], "one that waits is not added to"


def test_a_stream_without_a_pause_does_not_postpone_the_run_for_ever() -> None:
    world = World()
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        for n in range(60):
            world.land(f"{n}.json")
            pass_time(world, watcher, 0.5, arriving=True)
    assert [run_id for run_id, _ in world.asked] == ["asked-0"]
    assert world.asked[0][1] == pytest.approx(10 * SETTLE * 2, abs=2)


def test_files_during_a_run_are_one_further_run_however_many() -> None:
    world = World({"a.json": "1"})
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        world.begin()
        for n in range(5):
            world.land(f"{n}.json")
            pass_time(world, watcher, 10, arriving=True)
        assert len(world.asked) == 1
        world.end(completed=True)
        pass_time(world, watcher, 2)
        assert world.asked[1:] == [("asked-1", 5)]
        world.begin()
        world.end(completed=True)
        pass_time(world, watcher, 600)
    assert len(world.asked) == 2


def test_files_that_the_running_run_still_took_are_no_reason() -> None:
    world = World({"a.json": "1"})
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        world.land("b.json")
        pass_time(world, watcher, 3, arriving=True)
        world.begin()
        world.end(completed=True)
        pass_time(world, watcher, 600)
    assert world.asked == [("asked-0", 1)]


def test_a_run_of_the_schedule_that_is_due_does_for_the_files_too() -> None:
    world = World()
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        world.schedule()
        world.land("a.json")
        pass_time(world, watcher, 10, arriving=True)
        world.begin()
        world.end(completed=True)
        pass_time(world, watcher, 600)
    assert world.asked == []


def test_a_file_that_cannot_be_loaded_is_a_reason_once_until_it_changes() -> None:
    world = World()
    world.land("a.json", readable=False)
    with watching(world) as watcher:
        pass_time(world, watcher, 1)
        for _ in range(20):
            world.begin()
            world.end(completed=True)
            pass_time(world, watcher, 120)
        assert len(world.asked) == 1
        world.land("a.json")
        pass_time(world, watcher, 5, arriving=True)
        assert len(world.asked) == 2


def test_a_run_that_fails_is_asked_for_again_after_pauses_that_grow() -> None:
    world = World({"a.json": "1"})
    times = []
    with watching(world) as watcher:
        while len(times) < 6:
            before = len(world.asked)
            pass_time(world, watcher, 0.5)
            if len(world.asked) > before:
                times.append(world.now)
                world.begin()
                world.end(completed=False)
        world.now += 0.5
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == pytest.approx([60, 120, 240, 480, 900], abs=2)


def test_a_server_that_is_down_is_said_once_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    world = World(server_is_up=False)
    with watching(world) as watcher, caplog.at_level("INFO", "podcast.watch"):
        pass_time(world, watcher, 10)
        world.land("a.json")
        pass_time(world, watcher, 300, arriving=True)
        assert [record.message for record in caplog.records if "does not answer" in record.message] == [
            "The server does not answer. Trying again"
        ]
        world.server_is_up = True
        pass_time(world, watcher, 31)
    assert world.asked == [("asked-0", 1)]
    assert "Going on" in caplog.text


def test_a_landing_directory_that_goes_away_is_said_once_and_looked_for(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with watching(world) as watcher, caplog.at_level("INFO", "podcast.watch"):
        pass_time(world, watcher, 1)
        world.landing_is_there = False
        pass_time(world, watcher, 600)
        world.land("a.json")
        world.landing_is_there = True
        pass_time(world, watcher, 31)
    assert caplog.text.count("is not there") == 1
    assert world.asked == [("asked-0", 1)]


EVENTS = st.one_of(
    st.tuples(st.just("land"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("pass"), st.floats(0.5, 90), st.booleans()),
    st.tuples(st.sampled_from(["begin", "complete", "fail", "schedule", "server", "landing", "restart"])),
)


def happen(world: World, watcher: Watcher, event: tuple[Any, ...]) -> Watcher:
    """Carry out one event; the watcher, another one after a restart."""
    kind, *given = event
    happenings: dict[str, Callable[..., object]] = {
        "land": lambda number, readable: world.land(f"{number}.json", readable=readable),
        "pass": lambda seconds, arriving: pass_time(world, watcher, seconds, arriving=arriving),
        "begin": world.begin,
        "complete": lambda: world.end(completed=True),
        "fail": lambda: world.end(completed=False),
        "schedule": world.schedule,
        "server": lambda: setattr(world, "server_is_up", not world.server_is_up),
        "landing": lambda: setattr(world, "landing_is_there", not world.landing_is_there),
        "restart": lambda: None,
    }
    happenings[kind](*given)
    return Watcher(watcher.settings, watcher.server, watcher.clock) if kind == "restart" else watcher


@hypothesis_settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, max_size=40))
def test_whatever_happens_every_file_is_loaded_in_the_end_and_then_it_is_quiet(events: list[tuple[Any, ...]]) -> None:
    """`World.ask` checks at each request that no run is on its way."""
    world = World()
    with watching(world) as first:
        watcher = first
        for event in events:
            watcher = happen(world, watcher, event)
        world.server_is_up = world.landing_is_there = True
        for _ in range(4):
            pass_time(world, watcher, LONGEST_RETRY_SECONDS + POLL)
            world.begin()
            world.end(completed=True)
        readable = {name: mark for name, mark in world.landed.items() if name not in world.unreadable}
        assert {name: world.ledger.get(name) for name in readable} == readable
        asked = len(world.asked)
        pass_time(world, watcher, 3 * POLL)
        assert len(world.asked) == asked, "nothing is new, nothing is asked for"


# --- The edges ----------------------------------------------------------------------------------


def is_noticed(ticks: Iterator[bool]) -> bool:
    """Within some ticks: the notice comes in its own time."""
    return any(next(ticks) for _ in range(10))


def test_notices_are_of_event_files_and_of_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_arrivals, "TICK_SECONDS", 0.1)
    root = tmp_path / "landing"
    root.mkdir()
    ticks = watch_arrivals.arriving(root, pytest.fail)
    assert not is_noticed(ticks)
    (root / "notes.txt").write_text("x")
    assert not is_noticed(ticks)
    (root / "a.json").write_text("{}")
    assert is_noticed(ticks)
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "b.json").write_text("{}")
    (tmp_path / "day").rename(root / "day")
    assert is_noticed(ticks), "a folder that came whole"
    (root / "a.json").unlink()
    assert not is_noticed(ticks)


def test_a_directory_that_went_away_is_watched_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_arrivals, "TICK_SECONDS", 0.1)
    root, aside = tmp_path / "landing", tmp_path / "aside"
    root.mkdir()
    ticks = watch_arrivals.arriving(root, pytest.fail)
    assert not next(ticks)
    root.rename(aside)
    assert not is_noticed(ticks)
    (aside / "a.json").write_text("{}")
    assert not is_noticed(ticks), "it is not the landing directory any more"
    root.mkdir()
    assert is_noticed(ticks), "its being back is a notice"
    (root / "b.json").write_text("{}")
    assert is_noticed(ticks)


def test_without_notices_it_comes_back_all_the_same() -> None:
    ticks = watch_arrivals.arriving("s3://bucket/landing", pytest.fail)
    began = time.monotonic()
    assert not any(next(ticks) for _ in range(3))
    assert 1 < time.monotonic() - began < 5


def test_without_a_published_copy_nothing_is_known(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert watch_arrivals.known(settings) == {}
    settings.published_path.parent.mkdir()
    settings.published_path.write_bytes(b"no database")
    assert watch_arrivals.known(settings) == {}


def test_a_second_watcher_for_a_home_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with _the_only_one(settings), pytest.raises(WatchError, match="Another watcher runs"), _the_only_one(settings):
        pass
    with _the_only_one(settings):
        pass


def test_without_a_server_it_does_not_start_one_of_its_own(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(WatchError, match="PREFECT_API_URL"),
        connected(Settings(home=tmp_path)),
    ):
        pass


def test_a_server_that_is_not_there_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    began = time.monotonic()
    from prefect.context import use_profile

    with (
        use_profile("ephemeral", include_current_context=False),
        connected(Settings(home=tmp_path)) as server,
        pytest.raises(WatchError, match=r"127.0.0.1:9/api does not answer"),
    ):
        server.runs_on_their_way()
    assert time.monotonic() - began < 10, "the watcher waits, not the client"
