"""Run a command as a process of its own, and say how long it took and how much memory it and its children held at most.

Called with the environment of the benchmark, which has psutil: `watched.py RESULT COMMAND...`.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import psutil

EVERY = 0.05
"""Seconds between two looks."""


def main() -> None:
    """The command; writes seconds, bytes and exit code to RESULT."""
    result, *command = sys.argv[1:]
    began, peak = time.perf_counter(), 0
    process = psutil.Popen(command)
    while process.poll() is None:
        peak = max(peak, held(process))
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(EVERY)
    seconds = time.perf_counter() - began
    Path(result).write_text(json.dumps({"seconds": seconds, "peak_bytes": peak, "exit_code": process.returncode}))


def held(process: psutil.Process) -> int:
    """Bytes of the process and all below it."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total


if __name__ == "__main__":
    main()
