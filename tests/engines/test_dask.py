"""Whole runs whose files are taken apart by workers of Dask: rows and ledger of a run that does it by itself."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from growth.dask_cluster import start_cluster
from loading_world import Place

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    if importlib.util.find_spec("prefect_dask") is None:
        pytest.skip("needs the extra [dask]: make test-engines installs it")
    with start_cluster(tmp_path_factory.mktemp("dask"), workers=2) as cluster:
        yield cluster.address


@pytest.mark.short
def test_workers_of_dask_load_what_the_run_would(tmp_path: Path, scheduler: str) -> None:
    assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", scheduler)
    place, by_itself = Place(tmp_path / "home"), Place(tmp_path / "itself")
    for each in (place, by_itself):
        each.land()
    by_itself.passed()
    folder = tmp_path / "shared"
    summary = place.passed(loading="dask", dask_scheduler=scheduler, loading_workers=2, loading_folder=folder)
    assert summary["published_batches"] > 5
    assert place.held() == by_itself.held()
    assert len(place.held()["facts"]) > 1000
    assert list(folder.iterdir()) == []


def test_a_scheduler_that_is_not_there_ends_the_run_and_loads_nothing(tmp_path: Path, scheduler: str) -> None:
    assert scheduler
    place = Place(tmp_path / "home")
    place.land()
    done = place.run(loading="dask", dask_scheduler="tcp://127.0.0.1:9")
    assert done.returncode != 0
    assert place.ledger() == []
