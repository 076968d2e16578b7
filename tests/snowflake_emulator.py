"""Snowflake on this machine, for tests: fakesnow's server, with what it lacks of Snowflake's documented SQL.

Run by the Python of `.venv-emulator`, with a port. Each repair below stands for something that Snowflake documents and
the emulator does otherwise or not at all; none is there to let SQL pass that Snowflake would refuse.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import snowflake.connector.errors
import uvicorn
from fakesnow import cursor, transforms
from sqlglot import exp

server = importlib.import_module("fakesnow.server")  # the package has a function of this name

Repair = Callable[[exp.Expression], exp.Expression]


def main(port: int) -> None:
    parse = cursor.parse_one
    for module in (cursor, server):
        module.parse_one = lambda sql: repaired(parse(sql))
    refuse_what_is_not_supported()
    note_no_missing_comment()
    uvicorn.run(server.app, host="127.0.0.1", port=port, log_level="warning")


def repaired(statement: exp.Expression) -> exp.Expression:
    for repair in REPAIRS:
        statement = statement.transform(repair, copy=False)
    return statement


def as_done(node: exp.Expression) -> exp.Expression:
    """ALTER SESSION: what it sets is what the emulator does anyway."""
    is_alter = isinstance(node, exp.Command) and node.name.upper() == "ALTER"
    return transforms.SUCCESS_NOP.copy() if is_alter and "session set" in node.text("expression") else node


def as_plain_table(node: exp.Expression) -> exp.Expression:
    """A temporary table in a schema that is named: DuckDB has these in a schema of their own."""
    if isinstance(node, exp.Create) and (properties := node.args.get("properties")):
        for found in list(properties.find_all(exp.TemporaryProperty)):
            found.pop()
    return node


def as_number_of_digits(node: exp.Expression) -> exp.Expression:
    """TO_NUMBER of hexadecimal digits, by a format of Xs."""
    if isinstance(node, exp.ToNumber) and set(node.text("format")) == {"X"}:
        digits = exp.DPipe(this=exp.Literal.string("0x"), expression=exp.Paren(this=node.this))
        return exp.cast(exp.cast(digits, "ubigint", dialect="duckdb"), "decimal(20, 0)", dialect="duckdb")
    return node


def as_search_in_json(node: exp.Expression) -> exp.Expression:
    """ARRAY_CONTAINS of a text: arrays are JSON in the emulator."""
    if isinstance(node, exp.ArrayContains) and (text := node.expression.find(exp.Literal)):
        return exp.Anonymous(this="json_contains", expressions=[node.this, exp.Literal.string(f'"{text.this}"')])
    return node


def as_trim_of_characters(node: exp.Expression) -> exp.Expression:
    """TRIM, LTRIM and RTRIM of given characters, which the emulator forgets."""
    if isinstance(node, exp.Trim) and node.expression:
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(node.text("position"), "trim")
        return exp.Anonymous(this=name, expressions=[node.this, node.expression])
    return node


def as_time_of_format(node: exp.Expression) -> exp.Expression:
    """TRY_TO_TIMESTAMP_NTZ of a format: the emulator loses the group of a REGEXP_SUBSTR within it."""
    if isinstance(node, exp.StrToTime) and node.args.get("safe"):
        return exp.Anonymous(this="try_strptime", expressions=[node.this, node.args["format"]])
    return node


def as_values_of_source(node: exp.Expression) -> exp.Expression:
    """MERGE ... INSERT of columns without a table, which are of the source, as there is no row of the target."""
    if isinstance(node, exp.Merge):
        for insert in node.args["whens"].find_all(exp.Insert):
            for column in insert.expression.find_all(exp.Column):
                column.set("table", column.args.get("table") or exp.to_identifier(node.args["using"].alias))
    return node


REPAIRS: list[Repair] = [
    as_done,
    as_number_of_digits,
    as_plain_table,
    as_search_in_json,
    as_time_of_format,
    as_trim_of_characters,
    as_values_of_source,
]


def refuse_what_is_not_supported() -> None:
    """An error of the SQL, as Snowflake would answer; the emulator's own has the connector ask again for ever."""
    execute = cursor.FakeSnowflakeCursor.execute

    def refusing(self: Any, command: str, *args: Any, **options: Any) -> Any:
        try:
            return execute(self, command, *args, **options)
        except snowflake.connector.errors.Error:
            raise
        except Exception as error:
            raise snowflake.connector.errors.ProgrammingError(msg=f"{error!r}", errno=2, sqlstate="42000") from error

    cursor.FakeSnowflakeCursor.execute = refusing


def note_no_missing_comment() -> None:
    """Nothing is written for a table without a comment: it would be in a database beside that of the transaction."""
    extract = transforms.extract_comment_on_table

    def extracting(statement: exp.Expression) -> exp.Expression:
        found = extract(statement)
        if (found.args.get("table_comment") or (None, "none"))[1] is None:
            found.args.pop("table_comment")
        return found

    transforms.extract_comment_on_table = extracting


if __name__ == "__main__":
    main(int(sys.argv[1]))
