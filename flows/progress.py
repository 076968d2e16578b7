"""What a run says of itself while it runs: to the logs, and to whoever listens (the terminal)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from flows import logs

Listener = Callable[[str, str], None]


@dataclass
class Clock:
    """How long the steps of a run took: seconds by step, each from the report before to its own last one."""

    steps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def stop(self, step: str) -> float:
        """The step has come to its end, or to a part of it, and took so many seconds."""
        now = time.monotonic()
        seconds = now - self._last
        self.steps[step] = self.steps.get(step, 0.0) + seconds
        self._last = now
        return seconds


_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)
_follower: ContextVar[Listener | None] = ContextVar("progress_follower", default=None)
_clock: ContextVar[Clock | None] = ContextVar("progress_clock", default=None)


def report(step: str, message: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON
    """Say what a step is doing or has found; steps are named as in the flow, fields are for the log."""
    clock = _clock.get()
    seconds = round(clock.stop(step), 3) if clock else None
    logs.event(message, step=step, seconds=seconds, **fields)
    if follower := _follower.get():
        follower(step, message)
    listener = _listener.get()
    if listener is not None:
        listener(step, message)
        return
    from prefect.logging import get_run_logger

    get_run_logger().info("%s: %s", step, message, extra={logs.TOLD_ALREADY: True})


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand all reports to `listener` inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def followed_by(follower: Listener) -> Iterator[None]:
    """Tell all reports to `follower` too, inside the block."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


@contextmanager
def timing() -> Iterator[Clock]:
    """Measure the steps that are reported inside the block."""
    clock = Clock()
    token = _clock.set(clock)
    try:
        yield clock
    finally:
        _clock.reset(token)


def steps() -> dict[str, float]:
    """Seconds by step, as measured so far; none outside of `timing`."""
    clock = _clock.get()
    return dict(clock.steps) if clock else {}
