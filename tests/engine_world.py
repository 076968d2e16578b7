"""A landing and what becomes of it later, as DuckDB's warehouse has it and as another engine makes it of the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from engine_bridge import carry_out, compare, relations

from flows.decisions import discard_batches, release_batches, reprocess_batches
from flows.generating import GeneratorOptions, generate

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Home

COMPARED_OPS = ("batch_profiles", "event_keys", "failing_lines", "warehouse_accounting")
EVENTS = 4000
ALONE, MOVED = "2023-12-01T10:00:00Z", "2024-01-10T10:00:00Z"
"""A day with one event, before the others, and the day that a correction says it was on."""


def event(user: str, episode: str, kind: str, at: str, duration: object = 60, **further: object) -> bytes:
    names = {"event_type": kind, "user_id": user, "episode_id": episode, "timestamp": at, "duration": duration}
    return json.dumps(names | further).encode() + b"\n"


FURTHER_KEYS = {"\u00e9 \u2028": 1, "a'b": [1], 'c"\\d': {"n": None}, "": 2}

ODD = b"".join((
    event("\u2003u1\u00a0", "e1", "\u3000PLAY ", "2024-01-09 08:00", "060.00"),
    event("\u200bu2", "\x0be2\x85", "play", "2024-01-09T23:59:59,9999999+00:30", "+61"),
    event("u3\u180e", "e3", "seek", "2024-02-30T10:00:00Z", None),
    event("u3\n", "e3\r\n", "pause", "2024-01-09T10:00:00Z\n", None),
    event("u4", "e4", "complete", "0000-01-01T00:00:00Z", 5),
    event("u4", "e4", "complete", "0001-01-01T00:00:00+23:59", 5),
    event("u4", "e4", "complete", "9999-12-31T23:59:59.999999-23:59", 5),
    event("u5", "e5", "play", "2024-01-09T10:00:00-0130", "9223372036854775808"),
    event("u5", "e5", "play", "2024-01-09T10:00:00.1+01", "-99999999999999999999.0"),
    event("u5", "e5", "play", "2024-01-09T10:00:00z", "\u0661\u0662"),
    event("u6", "e6", "play", "2024-01-09T24:00:00Z", "1e3"),
    event("u6", "e6", "play", "\u0662024-01-09T10:00:00Z", "true"),
    event("u6", "e6", "play", "2024-01-09T10:00:03Z", 63, **FURTHER_KEYS),
    event("'; drop", '"$\\1', "play", "2024-01-09T10:00:01Z", 61),
    event("\U0001f3a7", "\U0001d11e", "play", "2024-01-09T10:00:02.123456789Z", 62),
    b"{\n", b"[]\n", b"\xff\xfe\n", b'{"user_id": "u", "user_id": "v"}\n',
))  # fmt: skip
"""What engines read differently, if they do: white space, times, numbers, keys, text that is none."""


@dataclass(frozen=True)
class Stage:
    """DuckDB's warehouse after a run, and what another engine made of the same."""

    warehouse: Path
    there: Path

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def differing(self, names: list[str]) -> list[Any]:
        assert names
        return [found for found in compare(self.warehouse, self.there, names) if not found.is_same]


@dataclass(frozen=True)
class World:
    """A home for DuckDB, and a folder for what goes to the other engine and comes from it."""

    home: Home
    folder: Path
    build: Callable[[Path, Path], None]
    """Builds all models of the relations in one folder, and writes the tables into another."""
    hashes: str
    """The type that the hashes of keys have there."""

    def stage(self, name: str, *, after: str = "0001-01-01") -> Stage:
        """Build there what DuckDB has worked on since a time."""
        copy, inputs, outputs = (self.folder / f"{name}{suffix}" for suffix in (".duckdb", "-in", "-out"))
        copy.write_bytes((self.home.path / "warehouse" / "podcast.duckdb").read_bytes())
        carry_out(copy, inputs, after=after, hashes=self.hashes)
        outputs.mkdir()
        self.build(inputs, outputs)
        return Stage(copy, outputs)

    def first(self) -> Stage:
        """A generated landing with files that are held back, a day with one event, and odd lines."""
        generate(GeneratorOptions(events=EVENTS, files=10, dirty=0.05), self.home.path)
        self.home.set(seeds=self.home.path / "seeds")
        self.home.land({"alone.ndjson": event(*known(self.home), "play", ALONE), "odd.ndjson": ODD})
        assert self.home.run().published_batches > 5
        return self.stage("first")

    def later(self, first: Stage) -> Stage:
        """An event moves to another day, one batch leaves, another comes, data are late, the reference data change."""
        ((after,),) = first.query("select cast(max(changed_at) as varchar) from ops.batch_transitions")
        change_lengths(self.home.path / "seeds" / "episodes.csv")
        moved = event(*known(self.home), "play", MOVED)
        self.home.land({"alone.ndjson": moved, "late.ndjson": late_events(first)})
        reprocess_batches(["alone.ndjson"])
        self.home.run()
        discard_batches("sent by mistake", [largest_batch(first)])
        release_batches("odd, and right", ["odd.ndjson"])
        later = self.stage("later", after=after)
        in_force = "select filename, attempt from ops.batches where status in ('published', 'released')"
        assert {("alone.ndjson", 2), ("late.ndjson", 1), ("odd.ndjson", 1)} <= set(later.query(in_force))
        return later


def known(home: Home) -> tuple[str, str]:
    """A user and an episode of the reference data."""
    users, episodes = ((home.path / "seeds" / name).read_text().splitlines() for name in ("users.csv", "episodes.csv"))
    return users[1].split(",")[0], episodes[1].split(",")[0]


def change_lengths(episodes: Path) -> None:
    """Every tenth episode is ten minutes long."""
    header, *rows = episodes.read_text().splitlines()
    changed = [re.sub(r"[^,]*$", "600", row, count=1) if at % 10 == 0 else row for at, row in enumerate(rows)]
    episodes.write_text("\n".join((header, *changed)) + "\n")


def late_events(stage: Stage) -> bytes:
    """Of listeners and episodes that are known: on their days, and on a day long before."""
    rows = stage.query(
        "select user_id, episode_id, cast(event_date as varchar) from gold.fact_listens order by listen_id limit 40"
    )
    days = ("2023-06-01", "2023-06-02")
    return b"".join(
        event(user, episode, kind, f"{day}T{hour:02}:{at % 60:02}:00Z", 100 + at)
        for at, (user, episode, own) in enumerate(rows)
        for day in (own, days[at % 2])
        for hour, kind in ((3, "play"), (4, "complete"))
    )


def largest_batch(stage: Stage) -> str:
    ((batch_id,),) = stage.query(
        "select batch_id from ops.batches where status = 'published' order by row_count desc, batch_id limit 1"
    )
    return str(batch_id)


def compared(stage: Stage) -> list[str]:
    """Everything in bronze, silver and gold that models make, the answers among it."""
    made = [f"ops.{name}" for name in COMPARED_OPS]
    marts = [*relations(stage.warehouse, "silver"), *relations(stage.warehouse, "gold")]
    return ["bronze.classified_events", "bronze.validated_events", *marts, *made]


FLOORS = {
    "silver.cleansed_events": EVENTS // 2,
    "gold.fact_user_interactions": EVENTS // 2,
    "gold.fact_listens": EVENTS // 20,
    "gold.episode_daily": EVENTS // 40,
    "gold.listener_daily": EVENTS // 40,
    "gold.listener_episodes": EVENTS // 40,
    "gold.top_completed_episodes": 10,
}
"""Rows that are there at the least, were both engines to lose the same ones; elsewhere one."""


def assert_floors(stage: Stage) -> None:
    names = [*relations(stage.warehouse, "silver"), *relations(stage.warehouse, "gold")]
    rows = {found.name: found.rows for found in compare(stage.warehouse, stage.there, names)}
    assert {name for name in names if rows[name] < FLOORS.get(name, 1)} == set()


OF_EACH_RUN = ("ops.batch_profiles", "ops.event_keys")
"""What says what was before a batch: the other engine has built at once what DuckDB has in three runs."""
