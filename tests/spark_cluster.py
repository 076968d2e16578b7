"""A standalone cluster of Apache Spark on 127.0.0.1: a master and two workers, which end with the test."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

WORKERS = 2
WORKER = ("--cores", "1", "--memory", "1g")
START_SECONDS = 180
STOP_SECONDS = 30

ADDRESS = re.compile(r"Starting Spark master at (spark://\S+)")
REGISTERED = re.compile(r"Registering worker \S+ with 1 cores")


def skip_unless_installed() -> None:
    """Skip what needs Spark where it, or its Java, is not there."""
    if shutil.which("java") is None:
        pytest.skip("needs Java 17: apt-get install openjdk-17-jre-headless")
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("dbt.adapters.spark") is None:
        pytest.skip("needs the extra [spark]: make test-engines installs it")


@contextmanager
def start_cluster(folder: Path) -> Iterator[str]:
    """The address of its master, once both workers are there."""
    with ExitStack() as stack:
        log = stack.enter_context(_running(folder / "master", "master.Master", "--host", "127.0.0.1", "--port", "0"))
        address = _wait(log, lambda text: found[1] if (found := ADDRESS.search(text)) else None)
        for number in range(WORKERS):
            arguments = ("--host", "127.0.0.1", *WORKER, "--work-dir", str(folder / f"work-{number}"), address)
            stack.enter_context(_running(folder / f"worker-{number}", "worker.Worker", *arguments))
        _wait(log, lambda text: "all" if len(REGISTERED.findall(text)) == WORKERS else None)
        yield address


@contextmanager
def _running(folder: Path, name: str, *arguments: str) -> Iterator[Path]:
    """The log of one of the cluster's processes, which ends afterwards."""
    import pyspark

    folder.mkdir(parents=True)
    home = Path(pyspark.__file__).parent
    environment = os.environ | {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments, "--webui-port", "0"]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=folder)
        try:
            yield log
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
        assert time.monotonic() < end, f"the cluster did not start:\n{log.read_text(errors='replace')}"
        time.sleep(0.2)
    return found
