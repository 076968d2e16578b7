"""The ledger kept on Snowflake, so that whichever worker runs next goes on from there (flows/engines.py, `Shared`).

Ledger is here all that the working database has and Snowflake builds not: batches, runs, verdicts, decisions, reference
data and what is noted between runs. After each run it lies as one file in a stage, and a table of one row says which
file it is; raw lines and tables of the layers are on Snowflake anyway.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from flows import handover, snowflake, snowflake_lock
from flows.errors import TransformError
from flows.snowflake_session import NO_SUCH_TABLE, execute, in_words, session, tag
from flows.snowflake_tables import file_address
from flows.warehouse import home_id

__all__ = ["address", "fetch", "fetch_file", "forget", "held", "keep", "kept", "published_database"]

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings

held = snowflake_lock.held
fetch = snowflake.fetch

KEPT = "ops.kept_ledger"
STAGE = "ops.ledgers"
NO_SUCH_DATABASE = 2043


def address(settings: Settings) -> str:
    """What tells one Snowflake database from another."""
    return f"{settings.snowflake_account}/{settings.snowflake_database}"


def kept(settings: Settings) -> tuple[str, str, str] | None:
    """Token of what is kept, the home that has kept it, and when (UTC); an empty token after `forget`."""
    return _read(settings, f"select token, home, to_varchar(kept_at) from {KEPT}")


def published_database(settings: Settings) -> str | None:
    """The one that readers have there; none before something is published."""
    name = settings.snowflake_published_database
    return name if _read(settings, f"select 1 from {name}.ops.runs limit 1") else None


def _read(settings: Settings, query: str) -> tuple[str, str, str] | None:
    """The first row of what may not be there."""
    from snowflake.connector.errors import ProgrammingError

    with in_words():
        try:
            row: tuple[str, str, str] | None = session(settings).cursor().execute(query).fetchone()
        except ProgrammingError as error:
            if error.errno not in (NO_SUCH_TABLE, NO_SUCH_DATABASE):
                raise
            return None
    return row


def keep(connection: duckdb.DuckDBPyConnection, settings: Settings, built: Collection[str]) -> None:
    """Put the ledger there, all but the relations that are built there. Raises `TransformError` where it is not."""
    tag(settings, "keep the ledger")
    if connection.execute("select 1 from ops.batches where pending limit 1").fetchone():
        snowflake.carry_lines(connection, settings)  # of a run that did not come to its end
    token = handover.new_mark()
    path = settings.home / "warehouse" / f"{token}.duckdb"
    execute(settings, f"create stage if not exists {STAGE}")
    try:
        handover.copy_ledger(connection, path, built)
        execute(settings, f"put {file_address(path)} @{STAGE} auto_compress = false")
    finally:
        path.unlink(missing_ok=True)
    snowflake_lock.confirm(settings)
    _point_to(settings, token)
    handover.set_kept(connection, address(settings), token)
    with in_words():
        cursor = session(settings).cursor()
        for name, *_ in cursor.execute(f"list @{STAGE}").fetchall():
            if Path(name).stem != token:
                cursor.execute(f"remove @{STAGE}/{Path(name).name}")


def fetch_file(settings: Settings, token: str) -> Path:
    """The ledger that is kept, as a database in the folder of the working one. Raises `TransformError`."""
    folder = settings.home / "warehouse"
    path = folder / f"{token}.duckdb"
    execute(settings, f"get @{STAGE}/{path.name} {file_address(folder)}")
    if not path.exists():
        raise TransformError(f"Snowflake has not given back {path.name} of the stage {STAGE}. Run again.")
    return path


def forget(settings: Settings) -> None:
    """Keep nothing, but that this home has a ledger to go on from, which none of the others knows."""
    _point_to(settings, "")


def _point_to(settings: Settings, token: str) -> None:
    """Say in one statement which ledger counts, and whose it is."""
    saying = f"create or replace table {KEPT} as select %s as token, %s as home, sysdate() as kept_at"
    with in_words():
        session(settings).cursor().execute(saying, (token, home_id(settings)))
