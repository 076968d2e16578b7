"""The engines that take part, each as the variables of a run and the processes that work for it beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from growth.cluster import start_cluster
from growth.measured import BASE

WORKERS = 2
EVENTS_A_PARTITION = 250_000
"""Of a shuffle; adaptive execution puts small ones together, and never takes apart what is too large for a core."""
CLUSTER, LOCAL = "Spark, two workers", "Spark, local[*]"


@dataclass(frozen=True)
class Ready:
    """What a run on an engine is started with, and the processes beside it."""

    environment: Mapping[str, str]
    beside: tuple[int, ...] = ()


@dataclass(frozen=True)
class Memory:
    """Of the JVMs, as Spark writes it."""

    driver: str = "3g"
    executor: str = "4g"


Start = Callable[[Path, int, Memory], AbstractContextManager[Ready]]


@contextmanager
def _duckdb(folder: Path, events: int, memory: Memory) -> Iterator[Ready]:  # noqa: ARG001 - as all are called
    yield Ready({"PODCAST_ENGINE": "duckdb"})


@contextmanager
def _cluster(folder: Path, events: int, memory: Memory) -> Iterator[Ready]:
    """A cluster of this run's own: none of its processes is there while another engine is measured."""
    cores = max((os.cpu_count() or 1) // WORKERS, 1)
    with start_cluster(folder, workers=WORKERS, cores=cores, memory=memory.executor) as cluster:
        options = f"--driver-memory {memory.driver} --conf spark.executor.memory={memory.executor}"
        yield Ready(_spark(cluster.address, options, events, folder), cluster.pids)


@contextmanager
def _local(folder: Path, events: int, memory: Memory) -> Iterator[Ready]:
    """All in the run's own JVM, with the memory that the two executors of the cluster have together."""
    size, unit = int(memory.executor[:-1]) * WORKERS, memory.executor[-1]
    yield Ready(_spark("local[*]", f"--driver-memory {size}{unit}", events, folder))


ENGINES: dict[str, Start] = {BASE: _duckdb, CLUSTER: _cluster, LOCAL: _local}
"""By name, in the order in which they take turns."""
OPTIONS = {"duckdb": BASE, "cluster": CLUSTER, "local": LOCAL}
"""Their names, as a person types them."""


def _spark(master: str, options: str, events: int, folder: Path) -> dict[str, str]:
    return {
        "PODCAST_ENGINE": "spark",
        "PODCAST_SPARK_MASTER": master,
        "PYSPARK_SUBMIT_ARGS": f"{options} {conf(events)} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "spilled"),
    }


def conf(events: int) -> str:
    """The options of Spark that depend on the size of a history, or on this machine."""
    options = {
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": str(shuffle_partitions(events)),
    }
    return " ".join(f"--conf {name}={value}" for name, value in options.items())


def shuffle_partitions(events: int) -> int:
    """One for each so many events, and at least two for each core."""
    return max(2 * (os.cpu_count() or 1), -(-events // EVENTS_A_PARTITION))


def versions() -> dict[str, str]:
    """Of what the benchmark of the whole pipeline does without."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    return {"pyspark": version("pyspark"), "dbt-spark": version("dbt-spark"), "java": said.splitlines()[0]}
