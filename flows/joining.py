"""A home that goes on from the ledger which another worker has kept, where the engine keeps it (flows/engines.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows import engines, files, handover, logs, publish, spare, transform
from flows.errors import PipelineError, TransformError
from flows.warehouse import Holding, connect, home_id, open_file

if TYPE_CHECKING:
    import duckdb

    from flows.engines import Shared
    from flows.settings import Settings


@contextmanager
def writer(settings: Settings, *, purpose: str, run_id: str | None = None) -> Iterator[Holding]:
    """Hold the right to write (`engines.writer_lock`), with the home as the worker before it has left the ledger."""
    with engines.writer_lock(settings, purpose=purpose, run_id=run_id) as holding:
        join(settings)
        yield holding


def join(settings: Settings) -> None:
    """Bring the home to what is kept, where that is not what it has kept itself, or has come from.

    What this home has done since then is replaced: another worker has gone on without it. Raises `PipelineError`
    where the home has batches of its own and never was a worker of that ledger, and where another home's was restored.
    """
    shared = engines.shared(settings)
    kept = shared.kept(settings) if shared else None
    if shared is None or kept is None:
        return
    token, home, kept_at = kept
    with connect(settings) as connection:
        found = handover.kept(connection)
        if found == (shared.address(settings), token) or (not token and home == home_id(settings)):
            return
        is_worker = found is not None and found[0] == shared.address(settings)
        has_others = not is_worker and _has_batches(connection)
    of_whom = f"{home} at {kept_at} UTC"
    if has_others:
        raise PipelineError(
            f"{shared.address(settings)} has the ledger of another home, kept by {of_whom}, and this one has batches "
            f"of its own in {settings.warehouse_path}. Nothing was changed. Name another database, or move "
            f"{settings.warehouse_path.parent} away to go on from the ledger that is there."
        )
    if not token:
        raise PipelineError(
            f"The ledger of {shared.address(settings)} was put back by {of_whom}, and no run has followed there yet. "
            "Nothing was changed. Have podcast run come to its end in that home, and then run again."
        )
    logs.event("joining", home=home, kept_at=kept_at)
    _bring(settings, shared, token)
    logs.event("joined", home=home, kept_at=kept_at)


def keep(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Have the next worker go on from here, where the engine keeps the ledger."""
    if shared := engines.shared(settings):
        shared.keep(connection, settings, _built(settings))


def _has_batches(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(connection.execute("select 1 from ops.batches limit 1").fetchone())


def _bring(settings: Settings, shared: Shared, token: str) -> None:
    """Put the ledger in the place of ours, and then the lines, tables and views that belong to it.

    Where that ends early the ledger says so, and the next one begins anew. The rows of a build that was cut off are
    left there: the run builds all tables anew.
    """
    fetched = shared.fetch_file(settings, token)
    with open_file(fetched) as connection:
        handover.set_kept(connection, shared.address(settings), handover.BEING_BROUGHT)
    settings.warehouse_path.with_name(f"{settings.warehouse_path.name}.wal").unlink(missing_ok=True)
    files.rename(fetched, settings.warehouse_path)
    with connect(settings) as connection:
        for relation in handover.RAW_LINES:
            shared.fetch(connection, settings, relation, into=relation)
            connection.execute(f"delete from {relation} where {handover.NOT_KEPT}")
        if engines.is_at_one(connection, settings):
            for relation in _built(settings):
                shared.fetch(connection, settings, relation, into=relation)
        try:
            _copy_published(settings, connection, shared)
        except TransformError as error:  # of an earlier version, with other columns: the next publication makes it anew
            logs.event("published copy not brought", level=logging.WARNING, cause=str(error))
        handover.set_kept(connection, shared.address(settings), token)


def _built(settings: Settings) -> list[str]:
    return [model.relation for model in transform.models(settings)]


def _copy_published(settings: Settings, connection: duckdb.DuckDBPyConnection, shared: Shared) -> None:
    """The published copy of this home as readers have it there."""
    database = shared.published_database(settings)
    if database is None:
        return
    copy = settings.published_path.with_name("published.duckdb.new")
    publish.remove(copy)
    quoted = str(copy).replace("'", "''")
    connection.execute(f"attach '{quoted}' as published")
    try:
        for table in publish.TABLES:
            connection.execute(f"create schema if not exists published.{table.partition('.')[0]}")
            connection.execute(f"create table published.{table} as from {table} limit 0")
            shared.fetch(connection, settings, f"{database}.{table}", into=f"published.{table}")
        connection.execute("checkpoint published")
    finally:
        connection.execute("detach published")
    spare.remove(settings.published_path)
    files.sync(copy)
    files.rename(copy, settings.published_path)
