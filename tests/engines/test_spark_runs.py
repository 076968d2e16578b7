"""Whole runs on a Spark cluster: whichever engine builds the layers, and whatever cut it off, the same tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_place import assert_same, counted, on_spark, two_landings
from growth.cluster import start_cluster
from spark_installed import skip_unless_installed
from spark_readers import counted_by_readers

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def spark_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a standalone cluster."""
    skip_unless_installed()
    with start_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.address


def test_either_engine_makes_the_same_tables_of_any_history(tmp_path: Path, spark_master: str) -> None:
    place = on_spark(tmp_path / "home", spark_master)
    first = two_landings(place)
    assert counted_by_readers(place) == counted(place)

    assert place.run(engine="duckdb")["status"] == "passed"
    assert_same(first, place.published())
    assert place.run(engine="duckdb")["status"] == "nothing_new"

    assert place.run()["status"] == "passed"
    assert_same(place.published(), first)
    assert place.run()["status"] == "nothing_new"

    # a build that was cut off, and took a part of a table with it
    (place.home / "warehouse" / "spark" / "build").unlink()
    facts = place.home / "warehouse" / "spark" / "tables" / "gold.db" / "fact_user_interactions"
    shutil.rmtree(min(facts.glob("event_date=*")))
    assert counted_by_readers(place) == counted(place), "what is published is not what builds work on"
    assert place.run()["status"] == "passed"
    assert_same(place.published(), first)
    assert counted_by_readers(place) == counted(place)
