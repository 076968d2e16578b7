"""What is known of Snowflake without one: what it needs, what dbt is told, and how rows are written and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from flows import engines, handover, snowflake, snowflake_lock, snowflake_session, snowflake_tables, warehouse
from flows.domain import Gate
from flows.errors import SettingsError, WarehouseLockedError
from flows.settings import DBT_PROJECT, EMBEDDED, Settings, load_settings

SECRET = "never-to-be-printed"  # noqa: S105 - of nobody


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    variables = {"HOME": tmp_path, "ENGINE": "snowflake", "SNOWFLAKE_ACCOUNT": "org-acc", "SNOWFLAKE_USER": "podcast"}
    for name, value in variables.items():
        monkeypatch.setenv(f"PODCAST_{name}", str(value))
    return load_settings()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_every_engine_that_can_be_set_is_there() -> None:
    assert {*engines.ENGINES, EMBEDDED} == set(get_args(Settings.model_fields["engine"].annotation))


def test_what_it_needs_is_asked_for_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snowflake_session, "_is_there", lambda _: False)
    with pytest.raises(SettingsError, match=r"^PODCAST_ENGINE=snowflake needs the extra \[snowflake\]"):
        engines.refuse_missing(settings)

    monkeypatch.setattr(snowflake_session, "_is_there", lambda _: True)
    with pytest.raises(SettingsError, match=r"needs PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH \(or _PASSWORD\)\.$"):
        engines.refuse_missing(settings)
    with pytest.raises(SettingsError, match="needs PODCAST_SNOWFLAKE_ACCOUNT, PODCAST_SNOWFLAKE_USER, "):
        engines.refuse_missing(settings.model_copy(update={"snowflake_account": None, "snowflake_user": None}))
    engines.refuse_missing(settings.model_copy(update={"snowflake_private_key_path": Path("key.p8")}))


def test_a_package_that_is_not_there_is_missed() -> None:
    assert not snowflake_session._is_there("nobodys.package")
    assert snowflake_session._is_there("duckdb")


def test_dbt_is_told_all_that_its_profile_reads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SNOWFLAKE_PASSWORD", SECRET)
    monkeypatch.setenv("PODCAST_SNOWFLAKE_THREADS", "7")
    told = snowflake.environment(load_settings(), "podcast/run")
    profile = (DBT_PROJECT / "profiles.yml").read_text(encoding="utf-8")
    assert set(told) == set(re.findall(r"env_var\('(\w*SNOWFLAKE\w*)'", profile))
    assert told["DBT_PODCAST_SNOWFLAKE_THREADS"] == "7"
    assert told["DBT_PODCAST_SNOWFLAKE_ROLE"] == ""
    assert [name for name, value in told.items() if value == SECRET] == ["DBT_ENV_SECRET_PODCAST_SNOWFLAKE_PASSWORD"]
    assert "PASSWORD" not in "".join(snowflake.environment(settings).values())


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    """With what could be misread on its way."""
    return settings.model_copy(
        update={
            "snowflake_user": "a@b/$USER",
            "snowflake_password": SecretStr("p@$$w/%41${HOME}"),
            "snowflake_host": "127.0.0.1",
            "snowflake_port": 8443,
            "snowflake_private_key_path": Path("/key.p8"),
            "snowflake_private_key_passphrase": SecretStr("phrase"),
        }
    )


def test_a_gate_is_looked_at_where_its_tables_are_built(elsewhere: Settings) -> None:
    assert engines.gate_source(elsewhere.model_copy(update={"engine": "duckdb"}), Gate.GOLD) is None
    for engine in ("snowflake", "spark"):
        there = elsewhere.model_copy(update={"engine": engine})
        assert engines.gate_source(there, Gate.RAW) is None
        for gate in (Gate.VALIDATED, Gate.CLEANSED, Gate.GOLD):
            found = engines.gate_source(there, gate)
            assert found is not None
            assert found.kind == engine


def test_the_session_of_a_gate_is_that_of_the_builds_but_for_its_tag(elsewhere: Settings) -> None:
    source = snowflake.gate_source(elsewhere, Gate.GOLD)
    given, ours = source.options["kwargs"]["connect_args"], snowflake_session.arguments(elsewhere)
    tags = [found.pop("session_parameters") for found in (given, ours)]
    assert {name: value for name, value in given.items() if name not in ours} == {"role": None, "warehouse": None}
    assert {name: given[name] for name in ours} == ours
    assert tags[0] == tags[1] | {"QUERY_TAG": "podcast/no run/gate gold"}
    assert tags[1] == {"TIMEZONE": "UTC", "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ", "QUERY_TAG": "podcast"}
    assert (
        source.options["connection_string"] == "snowflake://a%40b%2F%24USER:@org-acc/podcast/ops?role=own&warehouse=own"
    )
    assert given["password"] not in repr(source)


@pytest.fixture
def keys(settings: Settings) -> Settings:
    """With keys in the home: one that has a passphrase, one that has none, and one that is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    for name, how in (("locked.p8", BestAvailableEncryption(b"phrase")), ("open.p8", NoEncryption())):
        (settings.home / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    (settings.home / "none.p8").write_text("nothing of a key")
    return settings


@pytest.mark.parametrize(
    ("name", "passphrase", "said"),
    [
        ("locked.p8", None, "locked.p8 needs its passphrase in PODCAST_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE."),
        ("locked.p8", SECRET, r"locked.p8 is no private key in PEM \(PKCS#8\) that PODCAST_\w+_PASSPHRASE opens."),
        ("open.p8", SECRET, "open.p8 has no passphrase: unset PODCAST_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE."),
        ("none.p8", None, r"^PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH: \S+none.p8 is no private key in PEM \(PKCS#8\)."),
        (
            "gone.p8",
            None,
            r"^PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH: \S+gone.p8 cannot be read: No such file or directory.",
        ),
    ],
)
def test_a_key_that_is_of_no_use_is_told(keys: Settings, name: str, passphrase: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{said}$") as raised:
        snowflake_session._refuse_useless_key(with_key(keys, name, passphrase))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(("name", "passphrase"), [("locked.p8", "phrase"), ("open.p8", None)])
def test_a_key_that_its_passphrase_opens_is_taken(keys: Settings, name: str, passphrase: str | None) -> None:
    snowflake_session._refuse_useless_key(with_key(keys, name, passphrase))


def with_key(settings: Settings, name: str, passphrase: str | None) -> Settings:
    given = {"path": settings.home / name, "passphrase": SecretStr(passphrase) if passphrase else None}
    return settings.model_copy(update={f"snowflake_private_key_{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("100038 (22018): 01b2-0000: Numeric value 'u000042' is not recognized", "100038 (22018)"),
        (
            "001003 (42000): SQL compilation error:\nsyntax error line 3 at position 7 unexpected 'u000042'.",
            "001003 (42000) line 3 at position 7",
        ),
        (
            "002003 (42S02): 01b2:\nObject 'P.OPS.X' does not exist or not authorized.\n[SQL: SELECT 'u000042']",
            "002003 (42S02) Object 'P.OPS.X' does not exist or not authorized",
        ),
        (
            "003001 (42501): 01b2: SQL access control error:\nInsufficient privileges to operate on schema 'SILVER'",
            "003001 (42501) Insufficient privileges to operate on schema 'SILVER'",
        ),
        (
            "250001 (08001): None: Failed to connect to DB: a.snowflakecomputing.com:443.",
            "250001 (08001), no connection to Snowflake",
        ),
        ("Nothing of a row", "Nothing of a row"),
    ],
)
def test_an_error_is_told_without_values(said: str, shown: str) -> None:
    assert snowflake.without_values(said) == shown
    assert engines.without_values(said) == shown


def test_rows_go_into_files_with_types_that_are_read_there(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute(
        """
        create table lines as
        select 18446744073709551615::ubigint as key_hash, 'it''s' as line, 3::bigint as line_number
        from range(5)
        """
    )
    columns = handover.described(connection, "lines")
    folder = tmp_path / "it's a folder"
    assert snowflake_tables.write_files(connection, folder, columns, "select * from lines", "1GB") == 5
    found = connection.execute(f"describe from '{str(folder).replace(chr(39), chr(39) * 2)}/*.parquet'").fetchall()
    assert [row[:2] for row in found] == [
        ("key_hash", "DECIMAL(20,0)"), ("line", "VARCHAR"), ("line_number", "BIGINT"),
    ]  # fmt: skip
    assert snowflake_tables.create("bronze.lines", columns, how="create table") == (
        "create table bronze.lines (key_hash number(20, 0), line varchar, line_number number(19, 0))"
    )


def test_a_file_is_named_so_that_its_folder_may_be_called_anything() -> None:
    assert snowflake_tables.file_address(Path("/it's/a.parquet")) == r"'file:///it\'s/a.parquet'"


def test_no_row_makes_no_load(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create table lines (line varchar)")
    columns = handover.described(connection, "lines")
    assert snowflake_tables.write_files(connection, tmp_path / "none", columns, "select * from lines", "1GB") == 0


def test_what_comes_is_read_as_it_was_sent(connection: duckdb.DuckDBPyConnection) -> None:
    columns = [
        ("at", "timestamp"),
        ("raw", "blob"),
        ("codes", "varchar[]"),
        ("key_hash", "ubigint"),
        ("share", "double"),
    ]
    assert snowflake_tables.sent(columns) == (
        "date_part(epoch_microsecond, at) as at, hex_encode(raw) as raw, cast(codes as varchar) as codes, "
        "key_hash as key_hash, share as share"
    )
    connection.execute(
        """
        create table arrived as
        select -1 as "AT", 'C3BC' as "RAW", '["a","b"]' as "CODES", 18446744073709551615::decimal(38, 0) as "KEY_HASH",
            0.1::double as "SHARE"
        union all
        select null, null, null, null, null
        """
    )
    taken = snowflake_tables.taken(columns, ["AT", "RAW", "CODES", "KEY_HASH", "SHARE"])
    assert connection.execute(f"select {taken} from arrived").fetchall() == [
        (datetime(1969, 12, 31, 23, 59, 59, 999999), "ü".encode(), ["a", "b"], 2**64 - 1, 0.1),  # noqa: DTZ001
        (None, None, None, None, None),
    ]


def test_a_lease_of_another_home_is_respected_until_it_ends(settings: Settings) -> None:
    def refuse(found: tuple[str, str, int] | None) -> None:
        snowflake_lock._refuse_other(settings, found, home="host/ours")

    with pytest.raises(
        WarehouseLockedError, match=r"database podcast on Snowflake .* by process 7 on b.* ends in 42 s"
    ):
        refuse(("process 7 on b", "b/theirs", 42))
    refuse(("process 7 on b", "b/theirs", 0))
    refuse(("process 6 on host", "host/ours", 42))
    refuse(None)


def test_only_the_ledger_goes_to_other_workers_with_its_rows(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute(warehouse.TABLES)
    connection.execute("create table gold.fact_listens as select 1 as listen_id")
    connection.execute("create view ops.waiting as select batch_id, pending from ops.batches where pending")
    connection.execute("insert into ops.batches (batch_id, pending) values ('b', true)")
    connection.execute("insert into bronze.raw_events (batch_id) values ('b')")
    handover.set_kept(connection, "org-acc/podcast", "t")

    handover.copy_ledger(connection, tmp_path / "memory.duckdb", ["gold.fact_listens"])

    with duckdb.connect(str(tmp_path / "memory.duckdb")) as kept:
        assert kept.execute("select * from ops.waiting").fetchall() == [("b", True)]
        for empty in ("gold.fact_listens", "bronze.raw_events", handover.KEPT):
            assert kept.execute(f"select count(*) from {empty}").fetchall() == [(0,)]
