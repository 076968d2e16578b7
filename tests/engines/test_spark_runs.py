"""Whole runs on a Spark cluster: whichever engine builds the layers, and whatever cut it off, the same tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from comparison import assert_nearly_same, snapshot
from spark_cluster import skip_unless_installed, start_cluster

from flows.settings import PROJECT_ROOT

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

SAMPLE = PROJECT_ROOT / "data" / "landing"
PODCAST = Path(sys.executable).with_name("podcast")
SESSION = (
    "--driver-memory 1g --conf spark.executor.memory=640m --conf spark.driver.host=127.0.0.1 "
    "--conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 pyspark-shell"
)
FEWEST = {
    "silver.cleansed_events": 4000, "silver.users": 100, "silver.episodes": 10,
    "gold.fact_user_interactions": 4000, "gold.dim_users": 100, "gold.dim_episodes": 10, "gold.dim_podcasts": 1,
    "gold.dim_dates": 300, "gold.fact_listens": 1000, "gold.episode_daily": 100, "gold.episode_listen_through": 10,
    "gold.episode_release_curve": 10, "gold.episode_transitions": 10, "gold.country_listen_through": 5,
    "gold.listener_daily": 500, "gold.listener_episodes": 500, "gold.listener_cohort_retention": 1,
    "gold.top_completed_episodes": 10, "gold.listen_through_by_country": 5, "gold.multi_episode_listeners_daily": 3,
    "gold.quality_daily": 1,
}  # fmt: skip
"""Rows that each table has at least: two empty tables are equal too."""


@dataclass
class Place:
    """A home whose runs are processes of their own, as those of users are."""

    home: Path
    master: str

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def podcast(self, *arguments: str, engine: str = "spark") -> Any:
        """What a command that has to succeed prints as JSON."""
        environment = os.environ | {
            "PODCAST_HOME": str(self.home),
            "PODCAST_ENGINE": engine,
            "PODCAST_SPARK_MASTER": self.master,
            "PODCAST_SETTLE_SECONDS": "0",
            "PREFECT_HOME": str(self.home.parent / "prefect"),
            "PYSPARK_SUBMIT_ARGS": SESSION,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        done = subprocess.run(
            [PODCAST, *arguments], env=environment, capture_output=True, text=True, timeout=1200, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def run(self, engine: str = "spark") -> Any:
        return json.loads(self.podcast("run", "--json", engine=engine))

    def published(self) -> dict[str, list[tuple[Any, ...]]]:
        return snapshot(self.home / "warehouse" / "published.duckdb")


def assert_same(found: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> None:
    assert set(found) == set(expected) == set(FEWEST)
    for table, rows in expected.items():
        assert len(rows) >= FEWEST[table], table
        assert_nearly_same(found[table], rows, table)


@pytest.fixture(scope="module")
def spark_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a standalone cluster."""
    skip_unless_installed()
    with start_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


def test_either_engine_makes_the_same_tables_of_any_history(tmp_path: Path, spark_master: str) -> None:
    place = Place(tmp_path / "home", spark_master)
    files = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())
    early, late = files[:4], files[4:]
    for name in early:
        land(place, name, (SAMPLE / name).read_bytes())
    assert place.run()["status"] == "passed"

    for name in late:
        land(place, name, (SAMPLE / name).read_bytes())
    land(place, Path("corrections.ndjson"), corrections(place))
    assert place.run()["published_batches"] >= 1
    place.podcast("quarantine", "discard", str(early[1]), "--reason", "a test of what leaves")
    on_spark = place.published()
    assert [row for row in on_spark["gold.fact_user_interactions"] if 77 in row]
    assert not [row for row in on_spark["silver.cleansed_events"] if str(early[1]) in row]

    assert place.run(engine="duckdb")["status"] == "passed"
    assert_same(on_spark, place.published())
    assert place.run(engine="duckdb")["status"] == "nothing_new"

    assert place.run()["status"] == "passed"
    assert_same(place.published(), on_spark)
    assert place.run()["status"] == "nothing_new"

    # a build that was cut off, and took a part of a table with it
    (place.home / "warehouse" / "spark" / "build").unlink()
    facts = place.home / "warehouse" / "spark" / "tables" / "gold.db" / "fact_user_interactions"
    shutil.rmtree(min(facts.glob("event_date=*")))
    assert place.run()["status"] == "passed"
    assert_same(place.published(), on_spark)


def land(place: Place, name: Path, content: bytes) -> None:
    path = place.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def corrections(place: Place) -> bytes:
    """Events that are published, with another duration, which wins as it comes later."""
    wanted = """
        select event_type, user_id, episode_id, strftime("timestamp", '%Y-%m-%dT%H:%M:%S.%fZ') as "timestamp"
        from gold.fact_user_interactions where event_type in ('play', 'complete') order by interaction_id limit 50
    """
    with duckdb.connect(str(place.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        names = ("event_type", "user_id", "episode_id", "timestamp")
        events = [dict(zip(names, row, strict=True)) for row in connection.execute(wanted).fetchall()]
    assert len(events) == 50
    return b"".join(json.dumps(event | {"duration": 77}).encode() + b"\n" for event in events)
