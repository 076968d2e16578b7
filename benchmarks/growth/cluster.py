"""A standalone cluster of Apache Spark on 127.0.0.1, for benchmarks and tests: a master and workers."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 180
STOP_SECONDS = 30

ADDRESS = re.compile(r"Starting Spark master at (spark://\S+)")
REGISTERED = re.compile(r"Registering worker \S+ with \d+ cores")


@dataclass(frozen=True)
class Cluster:
    """Its master's address, and the processes that were started for it, of which executors are children."""

    address: str
    pids: tuple[int, ...]


class ClusterError(RuntimeError):
    """The cluster did not start."""


@contextmanager
def start_cluster(folder: Path, *, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[Cluster]:
    """The cluster, once all workers are there; cores and memory are of each. Raises `ClusterError`."""
    with ExitStack() as stack:
        master = _Process("master.Master", ("--host", "127.0.0.1", "--port", "0"), folder / "master")
        pids = [stack.enter_context(master.running())]
        address = _wait(master.log, lambda text: found[1] if (found := ADDRESS.search(text)) else None)
        for number in range(workers):
            work = ("--work-dir", str(folder / f"work-{number}"))
            arguments = ("--host", "127.0.0.1", "--cores", str(cores), "--memory", memory, *work, address)
            worker = _Process("worker.Worker", arguments, folder / f"worker-{number}")
            pids.append(stack.enter_context(worker.running()))
        _wait(master.log, lambda text: "all" if len(REGISTERED.findall(text)) == workers else None)
        yield Cluster(address, tuple(pids))


@dataclass(frozen=True)
class _Process:
    """One of the cluster's processes, in a folder of its own, which also has what it spills."""

    name: str
    arguments: tuple[str, ...]
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @contextmanager
    def running(self) -> Iterator[int]:
        """Its id; the process ends afterwards."""
        import pyspark

        self.folder.mkdir(parents=True)
        home = Path(pyspark.__file__).parent
        environment = os.environ | {
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_DIRS": str(self.folder / "spilled"),
        }
        command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{self.name}", *self.arguments]
        with self.log.open("wb") as file:
            process = subprocess.Popen(
                [*map(str, command), "--webui-port", "0"], stdout=file, stderr=file, env=environment, cwd=self.folder
            )
            try:
                yield process.pid
            finally:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(log: Path, look: Callable[[str], str | None]) -> str:
    """What is found in the log, as soon as it is there."""
    end = time.monotonic() + START_SECONDS
    while (found := look(log.read_text(errors="replace"))) is None:
        if time.monotonic() > end:
            raise ClusterError(f"the cluster did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.2)
    return found
