"""The SQLAlchemy dialect `duckdb+pipeline`, through which Great Expectations reads the working database.

duckdb-engine with three changes, each for a measured reason:
- a cursor fetches all its rows when it executes, since DuckDB drops a pending result on the rollback that
  ends a pooled connection, and Great Expectations reads results after that;
- no pool, so that nothing keeps the file open between queries;
- no user agent in the configuration, since one process may open a DuckDB file with one configuration only,
  and dbt and the pipeline open it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from duckdb_engine import ConnectionWrapper, CursorWrapper
from duckdb_engine import Dialect as DuckDBDialect
from sqlalchemy import pool
from sqlalchemy.dialects import registry

from flows.warehouse import open_file

if TYPE_CHECKING:
    import duckdb


class _FetchedCursor:
    """A cursor that holds all rows of its last statement."""

    def __init__(self, raw: duckdb.DuckDBPyConnection, connection: _Connection) -> None:
        self._cursor = CursorWrapper(raw, connection)
        self.connection = connection
        self.description: Any = None
        self.rowcount = -1
        self.arraysize = 1
        self._rows: list[Any] = []

    def execute(self, statement: str, parameters: Any = None, context: Any = None) -> None:  # noqa: ANN401
        self._cursor.execute(statement, parameters, context)
        self.description = self._cursor.description
        self._rows = list(self._cursor.fetchall()) if self.description else []

    def executemany(self, statement: str, parameters: Any = None, context: Any = None) -> None:  # noqa: ANN401
        self._cursor.executemany(statement, parameters, context)
        self.description, self._rows = None, []

    def fetchone(self) -> Any:  # noqa: ANN401
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        count = size or self.arraysize
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        self._rows = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._cursor, name)


class _Connection(ConnectionWrapper):  # type: ignore[misc]
    """A connection that gives out such cursors."""

    def __init__(self, raw: duckdb.DuckDBPyConnection) -> None:
        super().__init__(raw)
        self._raw = raw

    def cursor(self) -> _FetchedCursor:
        return _FetchedCursor(self._raw, self)


class Dialect(DuckDBDialect):  # type: ignore[misc]
    """See the module."""

    driver = "pipeline"
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: Any) -> type[pool.Pool]:  # noqa: ANN401, ARG003
        """Without a pool."""
        return pool.NullPool

    def connect(self, *args: Any, **options: Any) -> _Connection:  # noqa: ANN401
        """As the other users of the file do."""
        return _Connection(open_file(Path(options.get("database") or args[0])))


registry.register("duckdb.pipeline", __name__, "Dialect")
