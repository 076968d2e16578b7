"""A home whose runs are commands of their own, on DuckDB or another engine, and what is compared of their results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from comparison import assert_nearly_same, snapshot

from flows import publish
from flows.settings import PROJECT_ROOT

SAMPLE = PROJECT_ROOT / "data" / "landing"
SESSION = (
    "--driver-memory 1g --conf spark.executor.memory=640m --conf spark.driver.host=127.0.0.1 "
    "--conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 pyspark-shell"
)
NOISE = re.compile(r"^.*\bWARN\b.*$|^.*\[Stage \d.*$", re.MULTILINE)
"""What Spark says of itself and of how far it has come."""

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
    engine: str
    """The one that is not DuckDB."""
    variables: Mapping[str, str]
    """With which it is found."""
    python: Path = Path(sys.executable)

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def podcast(self, *arguments: str, engine: str | None = None) -> Any:
        """What a command prints that has to succeed; no engine says anything of itself or leaves anything there."""
        done = self.start(*arguments, engine=engine)
        assert done.returncode == 0, done.stderr[-4000:]
        assert NOISE.findall(done.stderr) == []
        assert list(self.ran_in.iterdir()) == []
        return done.stdout

    def start(self, *arguments: str, engine: str | None = None, within: str | None = None) -> Any:
        """A command that has ended, however it did; `within` is Python that runs first in its process."""
        program = (
            [self.python.with_name("podcast")]
            if within is None
            else [self.python, "-c", f"{within}\nfrom flows.cli import main; main()"]
        )
        return subprocess.run(
            [*program, *arguments], env=self.environment(engine), cwd=self.ran_in,
            capture_output=True, text=True, timeout=1200, check=False,
        )  # fmt: skip

    def environment(self, engine: str | None = None) -> dict[str, str]:
        return os.environ | {
            "PODCAST_HOME": str(self.home),
            "PODCAST_ENGINE": engine or self.engine,
            "PODCAST_SETTLE_SECONDS": "0",
            "PREFECT_HOME": str(self.home.parent / "prefect"),
            **self.variables,
        }

    @property
    def ran_in(self) -> Path:
        """Where commands are called, which is nowhere near the home."""
        folder = self.home.parent / "elsewhere"
        folder.mkdir(exist_ok=True)
        return folder

    def run(self, engine: str | None = None) -> Any:
        return json.loads(self.podcast("run", "--json", engine=engine))

    def published(self) -> dict[str, list[tuple[Any, ...]]]:
        return snapshot(self.home / "warehouse" / "published.duckdb")


def on_spark(home: Path, master: str) -> Place:
    session = {"PYSPARK_SUBMIT_ARGS": SESSION, "SPARK_LOCAL_IP": "127.0.0.1"}
    return Place(home, "spark", {"PODCAST_SPARK_MASTER": master} | session)


def two_landings(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """What is published after two runs, with corrections in the second, and a batch that leaves."""
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
    found = place.published()
    assert [row for row in found["gold.fact_user_interactions"] if 77 in row]
    assert not [row for row in found["silver.cleansed_events"] if str(early[1]) in row]
    return found


def assert_same(found: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> None:
    assert set(found) == set(expected) == set(FEWEST)
    for table, rows in expected.items():
        assert len(rows) >= FEWEST[table], table
        assert_nearly_same(found[table], rows, table)


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


def counted(place: Place) -> dict[str, int]:
    """Rows of each table of the published copy."""
    with duckdb.connect(str(place.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        return {name: connection.execute(f"select count(*) from {name}").fetchall()[0][0] for name in publish.TABLES}
