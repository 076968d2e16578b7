"""What is known of Spark's tables without a Spark: whether they can be gone by, and how their files are read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from flows import spark
from flows.domain import Layer
from flows.errors import SettingsError
from flows.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODCAST_ENGINE", "spark")
    return load_settings()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema ops; create table ops.spark_builds (token varchar)")
        yield connection


def test_tables_are_at_one_with_the_database_when_a_build_has_ended(
    settings: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    embedded = settings.model_copy(update={"engine": "duckdb"})
    assert not spark.is_at_one(connection, settings)
    assert spark.is_at_one(connection, embedded)

    with spark.building(connection, settings, Layer.GOLD):
        assert not spark.is_at_one(connection, settings)
    assert spark.is_at_one(connection, settings)
    assert not spark.is_at_one(connection, embedded)

    spark.settle(connection, settings)
    assert spark.is_at_one(connection, settings)
    spark.settle(connection, embedded)
    assert spark.is_at_one(connection, embedded)


def test_a_build_that_is_cut_off_leaves_them_at_odds(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    with spark.building(connection, settings, Layer.GOLD):
        pass
    with pytest.raises(KeyboardInterrupt), spark.building(connection, settings, Layer.SILVER):
        raise KeyboardInterrupt
    assert not spark.is_at_one(connection, settings)


def test_a_build_of_everything_has_ended_with_the_last_layer_only(
    settings: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    for layer in spark.BUILT:
        assert not spark.is_at_one(connection, settings)
        with spark.building(connection, settings, layer):
            pass
    for layer in spark.BUILT:
        assert spark.is_at_one(connection, settings)
        with spark.building(connection, settings, layer):
            pass


def test_tables_of_another_state_are_not_gone_by(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    with spark.building(connection, settings, Layer.GOLD):
        pass
    connection.execute("update ops.spark_builds set token = 'of a backup'")
    assert not spark.is_at_one(connection, settings)


def test_files_are_read_as_the_columns_that_the_other_engine_makes(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    folder = tmp_path / "it's a table"
    connection.execute(
        f"""
        copy (
            select unnest([7, -1, -9223372036854775808]::bigint[]) as key_hash, 'u' as user_id,
                date '2026-01-05' as event_date
        ) to {spark._quoted(folder)} (format parquet, partition_by (event_date))
        """
    )
    columns = (("key_hash", "bigint"), ("user_id", "varchar"), ("event_date", "date"))
    table = spark._ordered(spark.Table("gold.facts", folder, columns), ["event_date", "key_hash"])
    found = connection.execute(spark._select(table)).fetchall()
    assert sorted(found) == [(date(2026, 1, 5), n, "u") for n in (7, 2**63, 2**64 - 1)]

    empty = spark.Table("gold.facts", tmp_path / "none", columns)
    described = connection.execute(f"describe {spark._select(empty)}").fetchall()
    assert [(name, type_) for name, type_, *_ in described] == [
        ("key_hash", "UBIGINT"), ("user_id", "VARCHAR"), ("event_date", "DATE"),
    ]  # fmt: skip
    assert connection.execute(spark._select(empty)).fetchall() == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "[CAST_INVALID_INPUT] The value 'u000042' of the type \"STRING\" cannot be cast. SQLSTATE: 22018",
            "[CAST_INVALID_INPUT] SQLSTATE: 22018",
        ),
        ("[PARSE_SYNTAX_ERROR] Syntax error at 'u000042'. SQLSTATE: 42601 (line 33, pos 21)",
         "[PARSE_SYNTAX_ERROR] SQLSTATE: 42601 (line 33, pos 21)"),
        ("Nothing of a row", "Nothing of a row"),
    ],
)  # fmt: skip
def test_an_error_is_told_without_values(said: str, shown: str) -> None:
    assert spark.without_values(said) == shown


def test_what_spark_needs_is_asked_for_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"PODCAST_ENGINE=spark needs the extra \[spark\]"):
        spark.refuse_missing(settings)
    spark.refuse_missing(settings.model_copy(update={"engine": "duckdb"}))

    monkeypatch.setattr(spark, "find_spec", lambda _: True)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="needs Java 17"):
        spark.refuse_missing(settings)
