"""A cluster of Dask on 127.0.0.1, for benchmarks and tests: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import sys

from distributed import LocalCluster

if __name__ == "__main__":
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=int(sys.argv[1]), **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
"""It ends when standard input does."""


@dataclass(frozen=True)
class Cluster:
    """Its scheduler's address, and the process that was started for it, of which the others are children."""

    address: str
    pid: int


@contextmanager
def start_cluster(folder: Path, *, workers: int) -> Iterator[Cluster]:
    """The cluster, which works in the folder."""
    script = folder / "cluster.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        if process.stdin and process.stdout:
            yield Cluster(process.stdout.readline().strip(), process.pid)
            process.stdin.close()
