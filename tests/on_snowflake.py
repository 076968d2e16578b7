"""All models on Snowflake, in a process of their own: what they read comes from Parquet, what they make goes there.

Run by the Python of `.venv-snowflake`. Takes a folder with `<schema>.<table>.parquet` of what the models read, and one
to write `<schema>.<table>` into. Where Snowflake is, the environment says: see `dbt_podcast/profiles.yml`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import duckdb
import snowflake.connector
from dbt.cli.main import dbtRunner
from snowflake.connector.constants import FIELD_TYPES

DBT_PROJECT = Path(__file__).parents[1] / "dbt_podcast"
PARQUET = "file_format = (type = parquet) match_by_column_name = case_insensitive"
SCHEMAS = ("bronze", "silver", "gold", "ops")
THERE = {
    "BIGINT": "number(19, 0)",
    "UBIGINT": "number(20, 0)",
    "INTEGER": "number(10, 0)",
    "BLOB": "binary",
    "TIMESTAMP": "timestamp_ntz",
}
HERE = {
    "REAL": "double",
    "TEXT": "varchar",
    "TIMESTAMP_NTZ": "timestamp",
    "BINARY": "blob",
    "ARRAY": "varchar[]",
    "VARIANT": "varchar[]",  # what the emulator says of an array
}


def main(inputs: Path, outputs: Path) -> None:
    with connected() as connection:
        for path in sorted(inputs.glob("*.parquet")):
            carry_in(connection, path)
    dbt("build", "--exclude-resource-type", "seed", "unit_test", outputs=outputs)
    with connected() as connection:
        for schema, table in relations(connection):
            if not (inputs / f"{schema}.{table}.parquet").exists():
                carry_out(connection, f"{schema}.{table}", outputs)


def connected() -> Any:
    """A connection as the profile's; what is not supported shall not be asked for ever."""
    variables = {
        name: os.environ[f"DBT_PODCAST_SNOWFLAKE_{name.upper()}"]
        for name in ("account", "user", "host", "port", "protocol", "database")
    }
    return snowflake.connector.connect(
        **{**variables, "port": int(variables["port"])},
        password=os.environ["DBT_ENV_SECRET_PODCAST_SNOWFLAKE_PASSWORD"],
        network_timeout=60,
    )


def carry_in(connection: Any, path: Path) -> None:
    """The table anew, by a stage."""
    name = path.name.removesuffix(".parquet")
    schema = name.partition(".")[0]
    columns = duckdb.sql(f"select column_name, column_type from (describe from '{path}')").fetchall()
    definition = ", ".join(f"{column} {THERE.get(kind, kind)}" for column, kind in columns)
    for statement in (
        f"create schema if not exists {schema}",
        f"create or replace table {name} ({definition})",
        f"create or replace stage {schema}.carried",
        f"put file://{path} @{schema}.carried auto_compress = false overwrite = true",
        f"copy into {name} from @{schema}.carried/{path.name} {PARQUET}",
    ):
        connection.cursor().execute(statement)


def dbt(*command: str, outputs: Path) -> None:
    """One of dbt's commands; a failed one ends the process, with what dbt says of it."""
    os.environ["DBT_TARGET_PATH"] = os.environ["DBT_LOG_PATH"] = str(outputs / "dbt")
    folders = ("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT))
    result = dbtRunner().invoke([*command, "--target", "snowflake", *folders])
    if not result.success:
        raise SystemExit(f"dbt {command[0]} failed: {result.exception or 'see above'}")


def relations(connection: Any) -> list[tuple[str, str]]:
    """Tables and views, as schema and name."""
    cursor = connection.cursor()
    catalogs = (f"select table_schema, table_name from information_schema.{catalog}" for catalog in ("tables", "views"))
    cursor.execute(" union ".join(catalogs))
    found = [(schema.lower(), name.lower()) for schema, name in cursor.fetchall()]
    return sorted(entry for entry in found if entry[0] in SCHEMAS)


def carry_out(connection: Any, name: str, outputs: Path) -> None:
    """The relation as Parquet: instants are sent as microseconds since 1970, arrays as JSON, all as text."""
    cursor = connection.cursor()
    cursor.execute(f"select * from {name} limit 0")
    columns = {column.name: type_here(column) for column in cursor.description}
    cursor.execute(f"select {', '.join(as_sent(column, kind) for column, kind in columns.items())} from {name}")
    folder = outputs / name
    folder.mkdir()
    with duckdb.connect() as here:
        here.execute(f"create table sent ({', '.join(f'{column} varchar' for column in columns)})")
        if rows := cursor.fetchall():
            here.executemany(f"insert into sent values ({', '.join('?' for _ in columns)})", rows)
        taken = ", ".join(f"{as_taken(column, kind)} as {column.lower()}" for column, kind in columns.items())
        here.execute(f"copy (select {taken} from sent) to '{folder}/rows.parquet' (format parquet)")


def type_here(column: Any) -> str:
    kind = FIELD_TYPES[column.type_code].name
    if kind == "FIXED":
        return f"decimal(38, {column.scale or 0})"
    return HERE.get(kind, kind.lower())


def as_sent(column: str, kind: str) -> str:
    sent = {"timestamp": f"date_part(epoch_microsecond, {column})", "blob": f"hex_encode({column})"}.get(kind, column)
    return f"cast({sent} as varchar)"


def as_taken(column: str, kind: str) -> str:
    taken = {
        "timestamp": f"make_timestamp({column}::bigint)",
        "blob": f"unhex({column})",
        "varchar[]": f"from_json({column}, '[\"varchar\"]')",
    }
    return taken.get(kind, f"{column}::{kind}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
