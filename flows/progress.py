"""What a run says of itself while it runs: to the log, or to whoever listens (the terminal)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, str], None]

_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)


def report(step: str, message: str) -> None:
    """Say what a step is doing or has found; steps are named as in the flow."""
    listener = _listener.get()
    if listener is not None:
        listener(step, message)
        return
    from prefect.logging import get_run_logger

    get_run_logger().info("%s: %s", step, message)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand all reports to `listener` inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
