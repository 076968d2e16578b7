"""The time limit of a run: it ends the process, since neither dbt nor the engine can be stopped from a thread."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_SECONDS = 10
"""How long a process has to end in order before it is ended at once."""
EXIT_CODE = 124
"""Of a process that did not; as of the command `timeout`."""


@contextmanager
def time_limit(minutes: float | None) -> Iterator[None]:
    """End this process when the block takes longer.

    First as the end of a cancelled run is asked for (SIGTERM), and when it has not ended after `GRACE_SECONDS`,
    at once. What it had committed stays, and the next run goes on from it.
    """
    if minutes is None:
        yield
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(minutes, done), daemon=True, name="time-limit").start()
    try:
        yield
    finally:
        done.set()


def _watch(minutes: float, done: threading.Event) -> None:
    if done.wait(minutes * 60):
        return
    sys.stderr.write(
        f"error: The run took longer than {minutes:g} minutes (PODCAST_RUN_TIMEOUT_MINUTES) and is ended; the last "
        "published state stays, the next run goes on from what is committed.\n"
    )
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)
    # Whatever the block came to: what else runs in the process must not keep it alive.
    time.sleep(GRACE_SECONDS)
    os._exit(EXIT_CODE)
