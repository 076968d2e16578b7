"""Run a command as a process of its own, and say how long it took, and what memory and CPU it and its children took.

Called with the environment of the benchmark, which has psutil: `watched.py RESULT COMMAND...`. With
`--beside PID,PID` it says the same of processes that work for the command and are not its children.
"""

import argparse
import contextlib
import json
import time
from pathlib import Path

import psutil

EVERY = 0.05
"""Seconds between two looks: what a process takes after the last one is not seen."""
TOO_LONG = 124
"""The exit code of a command that was ended because it took too long, as that of `timeout`."""


class Trees:
    """Processes and all below them: the most memory that they held together, and their CPU seconds."""

    def __init__(self, roots: list[psutil.Process]) -> None:
        """What they have used already does not count."""
        self.roots, self.peak = roots, 0
        self.used: dict[tuple[int, float], float] = {}
        self.look()
        self.peak, self.before = 0, sum(self.used.values())

    @property
    def cpu_seconds(self) -> float:
        """As last seen of each process, also of those that have ended."""
        return sum(self.used.values()) - self.before

    def look(self) -> None:
        """Ask every process."""
        held = 0
        for root in self.roots:
            with contextlib.suppress(psutil.Error):
                held += sum(map(self._ask, [root, *root.children(recursive=True)]))
        self.peak = max(self.peak, held)

    def _ask(self, process: psutil.Process) -> int:
        with contextlib.suppress(psutil.Error), process.oneshot():
            times = process.cpu_times()
            self.used[process.pid, process.create_time()] = times.user + times.system
            return int(process.memory_info().rss)
        return 0


def main() -> None:
    """The command; writes seconds, bytes and exit code to RESULT."""
    options = arguments()
    others = Trees([psutil.Process(int(pid)) for pid in options.beside.split(",") if pid])
    began = time.perf_counter()
    process = psutil.Popen(options.command)
    own, is_late = Trees([process]), False
    own.before = 0.0
    while process.poll() is None:
        own.look()
        others.look()
        if options.most_seconds and time.perf_counter() - began > options.most_seconds:
            is_late = True
            end(process)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(EVERY)
    found = {
        "seconds": time.perf_counter() - began,
        "peak_bytes": own.peak,
        "cpu_seconds": own.cpu_seconds,
        "beside_bytes": others.peak,
        "beside_cpu_seconds": others.cpu_seconds,
        "exit_code": TOO_LONG if is_late else process.returncode,
    }
    options.result.write_text(json.dumps(found))


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--beside", default="")
    parser.add_argument("--most-seconds", type=float)
    parser.add_argument("result", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def end(process: psutil.Process) -> None:
    """It and all below it."""
    with contextlib.suppress(psutil.Error):
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                each.kill()


if __name__ == "__main__":
    main()
