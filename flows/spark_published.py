"""What readers have on Spark's side: a folder for each publication, and a link to the one that counts.

The files of Spark's tables never change once they are written, so a publication has hard links to them and costs no
copy; what Spark has not built is written beside. The link is exchanged in one step: readers find all tables of before
or all of now. The publication before stays, for those who still read it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import files
from flows.errors import PublishError
from flows.spark_tables import quoted

if TYPE_CHECKING:
    import duckdb

CURRENT = "current"


def publish(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    built: Mapping[str, Path],
    tables: Sequence[str],
    catalog: str,
) -> None:
    """Make these tables public under `root`, each as `<schema>/<table>` with Parquet files.

    `built` has the folders of those that Spark has built; of the others `catalog` has the rows. Raises `PublishError`
    where a table has not as many rows there as in `catalog`.
    """
    fresh = root / uuid.uuid4().hex
    for table in tables:
        into = fresh.joinpath(*table.split("."))
        into.mkdir(parents=True)
        if table not in built or not _link_files(built[table], into):
            rows = table if table in built else f"{catalog}.{table}"
            connection.execute(f"copy (select * from {rows}) to {quoted(into / 'rows.parquet')} (format parquet)")
    try:
        _refuse_others(connection, fresh, tables, catalog)
    except PublishError:
        shutil.rmtree(fresh)
        raise
    files.sync_folders(fresh)
    _exchange(root, fresh)


def _link_files(source: Path, into: Path) -> int:
    """The files of a table, in the folders of its partitions; how many these are."""
    found = sorted(source.rglob("*.parquet"))
    for path in found:
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # of a file system that has no such links
            shutil.copyfile(path, target)
    return len(found)


def _refuse_others(connection: duckdb.DuckDBPyConnection, fresh: Path, tables: Sequence[str], catalog: str) -> None:
    for table in tables:
        there = f"read_parquet({quoted(fresh.joinpath(*table.split('.')) / '**' / '*.parquet')})"
        counts = f"select (select count(*) from {catalog}.{table}), (select count(*) from {there})"
        ((expected, found),) = connection.execute(counts).fetchall()
        if found != expected:
            raise PublishError(
                f"On Spark's side {table} has {found} rows instead of {expected}. The last published state stays; run "
                "again, and if it ends like this once more, make all tables anew: podcast run --full-refresh"
            )


def _exchange(root: Path, fresh: Path) -> None:
    """Let the link lead to the new folder, and remove all but that and the one it has led to."""
    current = root / CURRENT
    former = current.resolve().name if current.is_symlink() else None
    link = root / f"{fresh.name}.link"
    link.symlink_to(fresh.name)
    files.rename(link, current)
    for path in root.iterdir():
        if path.name not in (CURRENT, fresh.name, former):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
