"""Which engine builds the layers: that of the working database, or another with tables of its own.

Bronze, silver and gold are built by the engine that the settings name. Ledger, raw lines, reference data and verdicts
stay in the working database; an engine that several workers share keeps them beside the tables. What the models of a
layer read of these is handed to the other engine before they are built, and afterwards the working database sees the
tables as if it had built them. So evidence, reports and publishing read one catalog, whichever engine has built what is
in it. Gates look at the tables there where that engine says how, and else in that catalog too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flows import handover, snowflake, snowflake_ledger, spark, warehouse
from flows.domain import Gate, Layer
from flows.settings import EMBEDDED
from flows.warehouse import Holding, transaction

if TYPE_CHECKING:
    import duckdb

    from flows.handover import Build, GateSource
    from flows.settings import Settings


class Engine(Protocol):
    """What a run asks of an engine other than that of the working database; each is a module."""

    def refuse_missing(self, settings: Settings, *, asked_by: str = ...) -> None:
        """Raise `SettingsError` where it is to be used, and what it needs is not there."""

    def mark(self, settings: Settings) -> str | None:
        """That of the build which its tables are of; none where a build was cut off, or there was none."""

    def set_mark(self, settings: Settings, token: str | None) -> None:
        """The build that its tables are of from now on."""

    def carry_in(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, layer: Layer, *, without_rows: bool = False
    ) -> None:
        """Give it what the models of a layer read from the working database, or only of what columns that is."""

    def carry_out(self, connection: duckdb.DuckDBPyConnection, settings: Settings, build: Build) -> None:
        """Have the working database see the tables as this build has left them, and what models noted of it."""

    def publish(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[str], catalog: str
    ) -> None:
        """Make these tables public there too, if it has readers of its own; `catalog` has them as they are published.

        All of them at once. Raises `PublishError` where one of them has not as many rows there.
        """

    def gate_source(self, settings: Settings, gate: Gate) -> GateSource | None:
        """Where the tables of a gate are there; none where a gate looks at them in the working database."""

    def environment(self, settings: Settings, tag: str = ...) -> dict[str, str]:
        """The variables that dbt's profile of it reads; by `tag` its history of queries tells runs from each other."""

    def without_values(self, text: str) -> str:
        """Of one of its errors what it is and where, since nothing of a row may come into a log; others as they are."""


ENGINES: dict[str, Engine] = {"spark": spark, "snowflake": snowflake}


class Shared(Protocol):
    """What an engine has to do that keeps the ledger too, so that homes on several machines can be workers of it."""

    def held(self, settings: Settings, holder: str, home: str) -> AbstractContextManager[None]:
        """Have the right to write there. Raises `WarehouseLockedError` where another home has it."""

    def address(self, settings: Settings) -> str:
        """What tells one such ledger from another."""

    def kept(self, settings: Settings) -> tuple[str, str, str] | None:
        """Token of what is kept, the home that has kept it, and when (UTC); an empty token after `forget`."""

    def keep(self, connection: duckdb.DuckDBPyConnection, settings: Settings, built: Collection[str]) -> None:
        """Keep the ledger, which is all of the working database but the relations that are built there."""

    def fetch_file(self, settings: Settings, token: str) -> Path:
        """The ledger that is kept, as a database in the folder of the working one."""

    def fetch(self, connection: duckdb.DuckDBPyConnection, settings: Settings, relation: str, *, into: str) -> None:
        """Add all rows of a table there to one here of the same columns."""

    def published_database(self, settings: Settings) -> str | None:
        """The one that readers have there; none before something is published."""

    def forget(self, settings: Settings) -> None:
        """Keep nothing, but that this home has a ledger to go on from, which none of the others knows."""


SHARED: dict[str, Shared] = {"snowflake": snowflake_ledger}


def shared(settings: Settings) -> Shared | None:
    """The engine that the settings name, where it keeps the ledger."""
    return SHARED.get(settings.engine)


def forget_kept(settings: Settings) -> None:
    """The ledger of this home, which is put back from elsewhere, counts from now on: no other may be gone on from."""
    if engine := shared(settings):
        engine.forget(settings)


@contextmanager
def writer_lock(settings: Settings, *, purpose: str, run_id: str | None = None) -> Iterator[Holding]:
    """Hold the right to write the home, and with it that to write where its engine keeps the ledger.

    Raises `WarehouseLockedError`, naming the holder, where another process has the one or another home the other.
    """
    engine = shared(settings)
    with warehouse.writer_lock(settings, purpose=purpose, run_id=run_id) as holding, ExitStack() as stack:
        if engine:
            stack.enter_context(engine.held(settings, warehouse.lock_holder(settings), warehouse.home_id(settings)))
        yield holding


def chosen(settings: Settings) -> Engine | None:
    """The engine that the settings name; none where it is that of the working database."""
    return ENGINES.get(settings.engine)


def refuse_missing(settings: Settings) -> None:
    """Raise `SettingsError` where the engine that is to be used lacks what it needs."""
    if engine := chosen(settings):
        engine.refuse_missing(settings)


def is_at_one(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the tables of the layers are as the last build left them, and of the engine that builds them now.

    Not where a build was cut off, which on another engine can leave a part of a table, where one of the two was
    restored or removed, and where the engine was another: all of them have to be built anew then.
    """
    held = handover.mark(connection)
    engine = chosen(settings)
    return held is None if engine is None else held is not None and held == engine.mark(settings)


@contextmanager
def building(connection: duckdb.DuckDBPyConnection, settings: Settings, engine: Engine, layer: Layer) -> Iterator[bool]:
    """The tables of a layer are written; when it ends as it should, working database and tables are at one again.

    Gives whether they were before. Where they were not, everything is being built anew, and they are when that has come
    to the last layer.
    """
    were_at_one = is_at_one(connection, settings)
    engine.set_mark(settings, None)
    yield were_at_one
    if not were_at_one and layer is not handover.BUILT[-1]:
        return
    token = handover.new_mark()
    with transaction(connection):
        handover.set_mark(connection, token)
    engine.set_mark(settings, token)


def gate_source(settings: Settings, gate: Gate) -> GateSource | None:
    """Where another engine has the tables of a gate, which are looked at there; those of the first it never has."""
    engine = None if gate is Gate.RAW else chosen(settings)
    return engine.gate_source(settings, gate) if engine else None


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Sequence[str], catalog: str) -> None:
    """Make what passed every gate public where the engine that has built it has readers of its own."""
    if engine := chosen(settings):
        engine.publish(connection, settings, tables, catalog)


def settle(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Where it is not another engine that has built what is published, none of its tables are in use any more."""
    if settings.engine == EMBEDDED:
        handover.set_mark(connection, None)


def without_values(text: str) -> str:
    """Of an error of one of the engines what it is and where; any other as it is."""
    for engine in ENGINES.values():
        text = engine.without_values(text)
    return text
