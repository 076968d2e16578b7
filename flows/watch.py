"""The watcher: a process that asks the Prefect server for a run when files have landed.

It asks for the run itself, rather than send an event for an automation to act on: so it knows of every run that
waits or works and adds no second one, and while the server is away nothing is lost that nobody would send again.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING

from flows import watch_arrivals
from flows.errors import LandingError, WatchError
from flows.logs import OURS
from flows.watch_decisions import Asked, Memory, Settling, after_run, doubling, left_over, new_files, noticed
from flows.watch_server import Server, connected

if TYPE_CHECKING:
    from flows.settings import Settings

BUSY_SECONDS = 1.0
"""How often the server is asked whether a run is still on its way, while there is something to look at after it."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
LOST_SECONDS = 60.0
"""How often it is looked for runs that lost their process while the server was away."""
"""Between two attempts to reach a server or a landing directory that is not there."""
NAMED = 5
"""Files that a message names."""

log = logging.getLogger(f"{OURS}.watch")


def watch(settings: Settings) -> None:
    """Watch until Ctrl-C, SIGTERM or a closed terminal.

    Raises `LandingError` when the landing directory cannot be read at the start, and `WatchError` when another
    watcher runs for this home or no server is named.
    """
    if settings.log_format == "text":
        _log_to_output()
    log.setLevel(logging.INFO)
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    with suppress(KeyboardInterrupt), _the_only_one(settings), connected(settings) as server:
        landed = len(watch_arrivals.landed(settings))
        log.info("Watching %s (%s files) for the Prefect server %s", settings.landing_dir, f"{landed:,}", server.api)
        watcher = Watcher(settings, server)
        for arriving in watch_arrivals.arriving(settings.landing_dir, log.warning):
            watcher.tick(arriving=arriving)
    log.info("Stopped")


@dataclass
class Watcher:
    """The memory of the process, and what it does at each tick; all times are seconds of the clock."""

    settings: Settings
    server: Server
    clock: Callable[[], float] = time.monotonic
    memory: Memory = field(default_factory=Memory)
    settling: Settling | None = None
    look_at: float = 0.0
    """When to compare the landing directory with the ledger; in the past: as soon as possible."""
    not_before: float = 0.0
    """When that will be possible again."""
    problem: str = ""
    """What keeps it from being done; said once."""
    attempts: int = 0
    look_for_lost: float = 0.0
    """When to look for lost runs again."""
    told: frozenset[tuple[str, str]] = frozenset()
    """The files of which it was said that a run did not take them."""

    def tick(self, *, arriving: bool) -> None:
        """Note what is written, and act when it is time to."""
        now = self.clock()
        if arriving:
            if self.settling is None:
                log.info("Event files are being written")
            self.settling = noticed(self.settling, now)
        due = self.settling.due(self.settings.settle_seconds) if self.settling else self.look_at
        if now >= max(due, self.not_before):
            self.settling, self.look_at = None, now
            self._act(now)

    def _act(self, now: float) -> None:
        """Look, if no run is on its way, and ask for one, if there is a reason."""
        try:
            self._enter_lost_runs(now)
            if self._is_busy(now):
                self.not_before = max(now + BUSY_SECONDS, self.memory.not_before)
            else:
                self._compare(now)
        except (WatchError, LandingError) as error:
            self._wait_for(str(error), now)
        else:
            self._go_on()

    def _enter_lost_runs(self, now: float) -> None:
        """A run that lives for the server only would be waited for, for ever."""
        if now >= self.look_for_lost:
            for name in self.server.enter_lost_runs(self.settings):
                log.warning("The run %r had lost its process, and is entered as crashed", name)
            self.look_for_lost = now + LOST_SECONDS

    def _is_busy(self, now: float) -> bool:
        """Whether a run is on its way, or the last one that failed is not long enough ago.

        What arrives while a run works is looked at when it is over: the run may still have taken it.
        """
        if self.server.runs_on_their_way():
            return True
        if self.memory.asked is not None:
            ended = self.server.ended(self.memory.asked.run_id)
            if ended is None:
                return True
            self.memory = after_run(self.memory, completed=ended.completed, now=now)
            pause = self.memory.not_before - now
            tail = "" if ended.completed else f"; its files are a reason again in {pause:.0f} seconds"
            log.info("The run ended: %s%s", ended.words, tail)
        return self.memory.not_before > now

    def _compare(self, now: float) -> None:
        """The landing directory with the ledger: in this order, and after the look at the runs.

        What a run publishes meanwhile is then known rather than a reason for another.
        """
        landed = watch_arrivals.landed(self.settings)
        known = watch_arrivals.known(self.settings)
        new = new_files(landed, known, self.memory)
        self._forget(left_over(landed, known, self.memory))
        if not new:
            self.memory = replace(self.memory, failures=0)
            self.look_at = now + self.settings.watch_poll_seconds
            return
        run_id, name = self.server.ask(len(new))
        self.memory = replace(self.memory, asked=Asked(run_id, new))
        self.not_before = now + BUSY_SECONDS
        log.info("Asked for the run %r because of %s", name, _named(new))

    def _forget(self, left: frozenset[tuple[str, str]]) -> None:
        """Of what was tried, all that is over; say once what a run has left out."""
        if fresh := left - self.told:
            log.info(
                "The run did not take %s; its report says why. They are a reason again when they change", _named(fresh)
            )
        self.told = left
        self.memory = replace(self.memory, tried=left)

    def _wait_for(self, problem: str, now: float) -> None:
        self.attempts += 1
        if problem != self.problem:
            log.warning("%s Trying again", problem)
            self.problem = problem
        pause = doubling(self.attempts, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        self.not_before = now + pause

    def _go_on(self) -> None:
        if self.problem:
            log.info("Going on: what was in the way is over")
        self.problem, self.attempts = "", 0


def _named(files: frozenset[tuple[str, str]]) -> str:
    names = sorted(name for name, _ in files)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,} {'file' if len(names) == 1 else 'files'}: {', '.join(names[:NAMED])}{more}"


@contextmanager
def _the_only_one(settings: Settings) -> Iterator[None]:
    """Hold the right to watch for this home; the operating system lets go of it when the process ends."""
    from filelock import FileLock, Timeout

    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "watcher.lock"
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise WatchError(
            f"Another watcher runs for {settings.home} already (it holds {path}); `podcast ui` starts one too. "
            "One is enough; stop that one first to start another."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _log_to_output() -> None:
    """Each message with its time, on standard output, besides wherever the log of the settings goes."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d UTC  %(message)s", "%Y-%m-%d %H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End at once, out of whatever is waited for."""
    raise KeyboardInterrupt
