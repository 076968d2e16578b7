"""Snowflake on this machine, for tests: fakesnow's server, with what it lacks of Snowflake's documented SQL.

Run by the Python of `.venv-emulator`, with a port and, where nobody may log in but by key pair, a file with the public
key (PEM). Each repair below stands for something that Snowflake documents and
the emulator does otherwise or not at all; none is there to let SQL pass that Snowflake would refuse. What it is sent it
writes down in the folder where it runs, and who has logged in how.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import jwt
import snowflake.connector.errors
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from fakesnow import cursor, transforms
from sqlglot import exp, parse_one
from starlette.responses import JSONResponse
from starlette.routing import Route

server = importlib.import_module("fakesnow.server")  # the package has a function of this name
describing = importlib.import_module("fakesnow.transforms.transforms")
SENT = Path("sent.jsonl")
"""One statement a line, as text of JSON."""
LOGINS = Path("logins.jsonl")
"""One login a line: name of the client, how it says who it is, and the number of the error, if it was refused."""
REVOKED = Path("revoked.json")
"""What the role may not do, while this is there: by pattern of a statement, the thing that Snowflake names then."""
LOGIN = "/session/v1/login-request"
WRONG_PASSWORD = (390100, "Incorrect username or password was specified.")
WRONG_TOKEN = (390144, "JWT token is invalid.")

Repair = Callable[[exp.Expression], exp.Expression]


def main(port: int, public_key: Path | None = None) -> None:
    parse = cursor.parse_one
    for module in (cursor, server):
        module.parse_one = lambda sql: repaired(parse(sql))
    refuse_what_is_not_supported()
    note_no_missing_comment()
    describe_in_its_types()
    exchange_databases()
    give_files_back()
    refuse_what_is_not_granted()
    write_down_what_is_sent()
    ask_who_logs_in(public_key)
    uvicorn.run(server.app, host="127.0.0.1", port=port, log_level="warning")


def repaired(statement: exp.Expression) -> exp.Expression:
    for repair in REPAIRS:
        statement = statement.transform(repair, copy=False)
    return statement


def as_done(node: exp.Expression) -> exp.Expression:
    """ALTER SESSION: what it sets is what the emulator does anyway; of several things sqlglot makes a plain command."""
    is_one = isinstance(node, exp.Alter) and node.args.get("kind") == "SESSION"
    is_command = isinstance(node, exp.Command) and node.name.upper() == "ALTER"
    are_several = is_command and "session set" in node.text("expression")
    return transforms.SUCCESS_NOP.copy() if is_one or are_several else node


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


def as_clone(node: exp.Expression) -> exp.Expression:
    """CREATE OR REPLACE TABLE ... CLONE ... COPY GRANTS: the emulator forgets to replace, and grants nothing."""
    named = re.fullmatch(r"or replace transient table (\S+) clone (\S+) copy grants", node.text("expression").strip())
    if isinstance(node, exp.Command) and node.name.upper() == "CREATE" and named:
        return parse_one(f"create or replace table {named[1]} as select * from {named[2]}", dialect="snowflake")
    return node


REPAIRS: list[Repair] = [
    as_clone,
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
        except snowflake.connector.errors.Error as error:
            raise in_its_words(error) from None
        except Exception as error:
            raise snowflake.connector.errors.ProgrammingError(msg=f"{error!r}", errno=2, sqlstate="42000") from error

    cursor.FakeSnowflakeCursor.execute = refusing


def refuse_what_is_not_granted() -> None:
    """The emulator has no grants; Snowflake asks for the right to make a thing where IF NOT EXISTS finds it, too."""
    execute = cursor.FakeSnowflakeCursor.execute

    def refusing(self: Any, command: str, *args: Any, **options: Any) -> Any:
        revoked = json.loads(REVOKED.read_text("utf-8")) if REVOKED.exists() else {}
        for pattern, thing in revoked.items():
            if re.search(pattern, command, re.IGNORECASE):
                said = f"SQL access control error:\nInsufficient privileges to operate on {thing}"
                raise snowflake.connector.errors.ProgrammingError(msg=said, errno=3001, sqlstate="42501")
        return execute(self, command, *args, **options)

    cursor.FakeSnowflakeCursor.execute = refusing


def in_its_words(error: Any) -> Any:
    """Of a table that is not there the emulator says what DuckDB says."""
    ours = r"SQL compilation error:\nObject '\1' does not exist or not authorized."
    error.msg = re.sub(r"(?s)Catalog Error: Table with name (\w+) does not exist.*", ours, error.msg or "")
    return error


def describe_in_its_types() -> None:
    """DESCRIBE TABLE names two types of whole numbers that DuckDB has and Snowflake has not."""
    known = describing.SQL_DESCRIBE_TABLE.template
    whole = "WHEN data_type IN ('UBIGINT', 'HUGEINT') THEN 'NUMBER(38,0)' ELSE data_type"
    describing.SQL_DESCRIBE_TABLE = Template(known.replace("ELSE data_type", whole))


def write_down_what_is_sent() -> None:
    """For tests that look at it."""
    execute = cursor.FakeSnowflakeCursor.execute

    def writing(self: Any, command: str, *args: Any, **options: Any) -> Any:
        write_down(SENT, command)
        return execute(self, command, *args, **options)

    cursor.FakeSnowflakeCursor.execute = writing


def ask_who_logs_in(public_key: Path | None) -> None:
    """Logins, of which the emulator asks nothing: by this key if there is one, and otherwise as they come."""
    key = public_key and load_pem_public_key(public_key.read_bytes())
    log_in = server.login_request

    async def asking(request: Any) -> JSONResponse:
        said = (await sent_json(request))["data"]
        refused = key and refusal(said, key)
        client, how = said["CLIENT_ENVIRONMENT"]["APPLICATION"], said.get("AUTHENTICATOR", "SNOWFLAKE")
        write_down(LOGINS, [client, how, refused and refused[0]])
        if refused:
            number, words = refused
            return JSONResponse({"data": {}, "code": str(number), "message": words, "success": False})
        return await log_in(request)

    server.app.router.routes.insert(0, Route(LOGIN, asking, methods=["POST"]))


def write_down(path: Path, what: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(what)}\n")


async def sent_json(request: Any) -> Any:
    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


def refusal(said: dict[str, Any], key: Any) -> tuple[int, str] | None:
    """Number and words of Snowflake's error where a login is not by the private key that belongs to this public one.

    The claims are those that Snowflake documents: the issuer is account, user and fingerprint of the public key, the
    subject account and user, in capitals; and it has not expired.
    """
    if said.get("AUTHENTICATOR") != "SNOWFLAKE_JWT":
        return WRONG_PASSWORD
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    subject = f"{said['ACCOUNT_NAME']}.{said['LOGIN_NAME']}".upper()
    issuer = f"{subject}.SHA256:{base64.b64encode(digest).decode()}"
    required = {"require": ["iss", "sub", "iat", "exp"]}
    try:
        jwt.decode(said["TOKEN"], key, algorithms=["RS256"], issuer=issuer, subject=subject, options=required)
    except jwt.InvalidTokenError:
        return WRONG_TOKEN
    return None


def note_no_missing_comment() -> None:
    """Nothing is written for a table without a comment: it would be in a database beside that of the transaction."""
    extract = transforms.extract_comment_on_table

    def extracting(statement: exp.Expression) -> exp.Expression:
        found = extract(statement)
        if (found.args.get("table_comment") or (None, "none"))[1] is None:
            found.args.pop("table_comment")
        return found

    transforms.extract_comment_on_table = extracting


def exchange_databases() -> None:
    """ALTER DATABASE ... SWAP WITH: all tables of each are those of the other, which is not one step here."""
    execute = cursor.FakeSnowflakeCursor.execute

    def exchanging(self: Any, command: str, *args: Any, **options: Any) -> Any:
        if not (named := re.fullmatch(r"\s*alter database (\w+) swap with (\w+)\s*", command, re.IGNORECASE)):
            return execute(self, command, *args, **options)
        one, other = (name.upper() for name in named.groups())
        duck = self._duck_conn
        duck.execute("attach ':memory:' as exchanged")
        for source, target in ((one, "exchanged"), (other, one), ("exchanged", other)):
            move_tables(duck, source, target)
        duck.execute("detach exchanged")
        return execute(self, "select 'Statement executed successfully.' as status")

    cursor.FakeSnowflakeCursor.execute = exchanging


def give_files_back() -> None:
    """GET, which has the connector copy files of a stage, and REMOVE; both of a whole name without patterns."""
    execute, stage_info = cursor.FakeSnowflakeCursor.execute, server.gcs_stage_info

    def executing(self: Any, command: str, *args: Any, **options: Any) -> Any:
        named = re.fullmatch(r"(get|remove) @([\w.]+)/(\S+)(?: 'file://(.*)')?", command.strip(), re.IGNORECASE)
        if not named:
            return execute(self, command, *args, **options)
        verb, stage, name, local = named.groups()
        schema, _, stage_name = stage.upper().rpartition(".")
        folder = Path(transforms.stage.internal_dir(f"{self._conn.database}.{schema}.{stage_name}"))
        if verb.lower() == "remove":
            (folder / name).unlink()
        done = execute(self, "select 'Statement executed successfully.' as status", *args, **options)
        if verb.lower() == "get":
            self._last_transformed.args["put_stage_data"] = {
                "command": "DOWNLOAD",
                "src_locations": [name],
                "localLocation": local,
                "stageInfo": {"locationType": "LOCAL_FS", "location": str(folder), "creds": {}},
            }
        return done

    def located(request: Any, expression: Any, data: Any) -> Any:
        return data["stageInfo"] if data["command"] == "DOWNLOAD" else stage_info(request, expression, data)

    cursor.FakeSnowflakeCursor.execute, server.gcs_stage_info = executing, located


def move_tables(duck: Any, source: str, target: str) -> None:
    """All that are not of the emulator's own."""
    found = """
        select schema_name, table_name from duckdb_tables()
        where database_name = ? and not starts_with(table_name, '_fs')
    """
    for schema, table in duck.execute(found, [source]).fetchall():
        duck.execute(f'create schema if not exists "{target}"."{schema}"')
        duck.execute(f'create or replace table "{target}"."{schema}"."{table}" as from "{source}"."{schema}"."{table}"')
        duck.execute(f'drop table "{source}"."{schema}"."{table}"')


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:]))
