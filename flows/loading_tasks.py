"""Loading by Prefect's task runners: a task for each group of files, in processes of this machine or Dask's workers."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import parsing
from flows.errors import SettingsError
from flows.filling import Filled
from flows.parsing import Job, Workers

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

    from flows.settings import Settings

THREADS, DASK = "threads", "dask"


@task(name="parse files", cache_policy=NO_CACHE, persist_result=False)
def parse_files(job: Job) -> Filled | None:
    """One group of files into Parquet, which the run that waits for it commits."""
    return parsing.parse(job)


@contextmanager
def workers(settings: Settings) -> Iterator[Workers | None]:
    """Those that the settings name, with an empty folder; none where threads of this process load."""
    if settings.loading == THREADS:
        yield None
        return
    place = _place(settings)
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
    folder = place / uuid.uuid4().hex  # where no worker writes that a former run has left at work
    folder.mkdir(parents=True)
    count = settings.loading_workers or os.cpu_count() or 1
    try:
        with _runner(settings, count) as runner:
            limit = settings.memory_limit if settings.loading == DASK else _shared(settings.memory_limit, count)
            yield Workers(lambda job: runner.submit(parse_files, {"job": job}), count, folder, limit)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _place(settings: Settings) -> Path:
    """Of this home alone: a folder that others load in too can have several."""
    home = hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()
    return (settings.loading_folder or settings.warehouse_path.parent) / f"podcast-loading-{home[:12]}"


def refuse_missing(settings: Settings) -> None:
    """Raise `SettingsError` where Dask is to load, and is not installed or has no address."""
    if settings.loading != DASK:
        return
    if not find_spec("prefect_dask"):
        raise SettingsError("PODCAST_LOADING=dask needs the extra [dask]: make setup-dask, or pip install '.[dask]'")
    if not settings.dask_scheduler:
        raise SettingsError("PODCAST_LOADING=dask needs PODCAST_DASK_SCHEDULER, as in tcp://host:8786.")


def _runner(settings: Settings, count: int) -> TaskRunner[Any]:
    if settings.loading == DASK:
        from prefect_dask import DaskTaskRunner

        of_dask: TaskRunner[Any] = DaskTaskRunner(address=settings.dask_scheduler)
        return of_dask
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(max_workers=count, initializer=_end_with_the_run)


def _end_with_the_run() -> None:
    """Have a process end where the run is killed that it works for; else it would wait for work for ever."""

    def follow() -> None:
        if run := multiprocessing.parent_process():
            run.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True, name="end with the run").start()


def _shared(memory_limit: str, count: int) -> str:
    """What each of so many on one machine may use, that they use no more together than one would."""
    number, unit = re.findall(r"[0-9.]+|[A-Za-z]+", memory_limit)
    of_unit = 1 if unit.startswith("M") else 1000 if unit == "GB" else 1024
    return f"{max(float(number) * of_unit / count, 1):.0f}M{unit[1:]}"
