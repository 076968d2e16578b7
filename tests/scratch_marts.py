"""The SQL of the marts of listening in a scratch database: compiled by dbt once, then run without it at will."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from flows import transform
from flows.settings import DBT_PROJECT, Settings

if TYPE_CHECKING:
    from marts_oracle import Version
    from oracle import DimEpisode, Episode, Fact

MARTS = ("fact_listens", "episode_daily", "listener_daily", "listener_episodes", "episode_listen_through")
"""Those that a run changes where its batches touched something."""
INPUTS = {
    "gold.fact_user_interactions": """
        user_id varchar, episode_id varchar, event_type varchar, "timestamp" timestamp, event_date date,
        duration integer, load_at timestamp
    """,
    "silver.episodes": """
        episode_id varchar, podcast_id varchar, title varchar, release_date date, duration_seconds integer
    """,
    "silver.episodes_history": "episode_id varchar, duration_seconds integer, dbt_valid_from timestamp",
    "ops.touched_keys": "user_id varchar, episode_id varchar, event_at timestamp",
    "ops.pending_reference_changes": "kind varchar, id varchar",
}
"""The columns that the SQL reads."""

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class World:
    """What the marts are made of."""

    facts: Sequence[Fact]
    episodes: Sequence[Episode]
    versions: Sequence[Version]

    def dim_episodes(self) -> list[DimEpisode]:
        known = {episode_id for episode_id, *_ in self.episodes}
        inferred = sorted({fact.episode_id for fact in self.facts} - known)
        return [
            *((*episode, False) for episode in self.episodes),
            *((episode_id, None, None, None, None, True) for episode_id in inferred),
        ]


@dataclass(frozen=True)
class Touched:
    """What a run worked on: keys of events that came or went, and episodes whose reference data changed."""

    events: Collection[Fact] = ()
    episodes: Collection[str] = ()


@dataclass(frozen=True)
class Compiled:
    """The SQL of dbt: of tables, of the marts from nothing, of what a run adds to them, and of how it does that."""

    tables: dict[str, str]
    full: dict[str, str]
    incremental: dict[str, str]
    replacements: dict[str, str]


def compile_marts(home: Path) -> Compiled:
    """Compile in a home of its own; a model is incremental there once its table exists."""
    settings = Settings(home=home)
    database = home / "podcast.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema gold")
        for mart in MARTS:
            connection.execute(f"create table gold.{mart} (is_there boolean)")
    models = ("dim_episodes", "touched_listening", *MARTS)
    chosen = ("--select", *(f"{model},resource_type:model" for model in models))
    full = {node.name: node for node in _compile(settings, database, *chosen, "--full-refresh")}
    incremental = {node.name: node.compiled_code for node in _compile(settings, database, *chosen)}
    return Compiled(
        tables={name: full[name].compiled_code for name in models if name not in MARTS},
        full={name: full[name].compiled_code for name in MARTS},
        incremental={name: incremental[name] for name in MARTS},
        replacements=_replacements(settings, database, [full[name] for name in MARTS]),
    )


def _replacements(settings: Settings, database: Path, nodes: Iterable[Any]) -> dict[str, str]:
    """The statements by which each mart takes up the rows of `new_rows`."""
    calls = [
        f"{{{{ get_incremental_{node.config.incremental_strategy}_sql({{"
        f"'target_relation': ref('{node.name}'), 'temp_relation': 'new_rows', 'unique_key': {node.config.unique_key}, "
        f"'dest_columns': {[{'quoted': column} for column in node.columns]}}}) }}}}"
        for node in nodes
    ]
    (compiled,) = _compile(settings, database, "--inline", "\n---\n".join(calls))
    return dict(zip(MARTS, compiled.compiled_code.split("\n---\n"), strict=True))


def _compile(settings: Settings, database: Path, *what: str) -> list[Any]:
    from dbt.cli.main import dbtRunner

    arguments = [
        "compile", *what, "--indirect-selection", "empty",
        "--vars", json.dumps(settings.dbt_vars(), sort_keys=True),
        "--project-dir", str(DBT_PROJECT),
        "--profiles-dir", str(DBT_PROJECT),
        "--target-path", str(settings.home / "target"),
        "--no-write-json", "--quiet", "--log-level", "none", "--log-level-file", "none",
    ]  # fmt: skip
    with transform._environment(settings, database=database):
        try:
            result = dbtRunner().invoke(arguments)
        finally:
            transform.close_connections()
    assert result.success, result.exception
    return [one.node for one in result.result.results]


@dataclass(frozen=True)
class ScratchMarts:
    """A database in memory with what the marts read, and the marts."""

    compiled: Compiled
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)

    def __post_init__(self) -> None:
        self.connection.execute("attach ':memory:' as podcast; use podcast; set threads = 1; set TimeZone = 'UTC'")
        for schema in ("silver", "gold", "ops"):
            self.connection.execute(f"create schema {schema}")

    def build(self, world: World) -> dict[str, Rows]:
        """Every mart from nothing."""
        self._put(world, Touched())
        for mart in MARTS:
            self.connection.execute(f"create or replace table gold.{mart} as {self.compiled.full[mart]}")
        return {mart: self.rows(mart) for mart in MARTS}

    def update(self, world: World, touched: Touched) -> dict[str, Rows]:
        """Every mart as a run leaves it, after which the world is this one."""
        self._put(world, touched)
        for mart in MARTS:
            self.connection.execute(f"create or replace temp table new_rows as {self.compiled.incremental[mart]}")
            self.connection.execute(self.compiled.replacements[mart])
        return {mart: self.rows(mart) for mart in MARTS}

    def rows(self, mart: str, columns: Sequence[str] = ("*",)) -> Rows:
        """In an order that depends on the rows alone."""
        return sorted(self.connection.execute(f"select {', '.join(columns)} from gold.{mart}").fetchall(), key=repr)

    def columns(self, mart: str) -> list[str]:
        return [name for name, *_ in self.connection.execute(f"select * from gold.{mart} limit 0").description or ()]

    def _put(self, world: World, touched: Touched) -> None:
        inputs: dict[str, Iterable[Sequence[Any]]] = {
            "gold.fact_user_interactions": [
                (f.user_id, f.episode_id, f.event_type, f.timestamp, f.event_date, f.duration, f.load_at)
                for f in world.facts
            ],
            "silver.episodes": world.episodes,
            "silver.episodes_history": [(v.episode_id, v.duration_seconds, v.valid_from) for v in world.versions],
            "ops.touched_keys": [(f.user_id, f.episode_id, f.timestamp) for f in touched.events],
            "ops.pending_reference_changes": [("episode", episode_id) for episode_id in touched.episodes],
        }
        for name, rows in inputs.items():
            self._insert(name, list(rows))
        for name, schema in (("dim_episodes", "gold"), ("touched_listening", "ops")):
            self.connection.execute(f"create or replace table {schema}.{name} as {self.compiled.tables[name]}")

    def _insert(self, table: str, rows: list[Sequence[Any]]) -> None:
        self.connection.execute(f"create or replace table {table} ({INPUTS[table]})")
        if rows:
            places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
            self.connection.execute(f"insert into {table} values {places}", [value for row in rows for value in row])
