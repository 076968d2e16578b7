"""What is known of Spark's tables without a Spark: how their files are read, and what is said of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from flows import spark, spark_tables
from flows.errors import SettingsError, TransformError
from flows.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODCAST_ENGINE", "spark")
    return load_settings()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_files_are_read_as_the_columns_that_the_other_engine_makes(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    folder = tmp_path / "it's a table"
    connection.execute(
        f"""
        copy (
            select unnest([7, -1, -9223372036854775808]::bigint[]) as key_hash, 'u' as user_id,
                date '2026-01-05' as event_date
        ) to {spark_tables.quoted(folder)} (format parquet, partition_by (event_date))
        """
    )
    columns = (("key_hash", "bigint"), ("user_id", "varchar"), ("event_date", "date"))
    table = spark_tables._ordered(spark_tables.Table("gold.facts", folder, columns), ["event_date", "key_hash"])
    found = connection.execute(spark_tables.select(table)).fetchall()
    assert sorted(found) == [(date(2026, 1, 5), n, "u") for n in (7, 2**63, 2**64 - 1)]

    empty = spark_tables.Table("gold.facts", tmp_path / "none", columns)
    described = connection.execute(f"describe {spark_tables.select(empty)}").fetchall()
    assert [(name, type_) for name, type_, *_ in described] == [
        ("key_hash", "UBIGINT"), ("user_id", "VARCHAR"), ("event_date", "DATE"),
    ]  # fmt: skip
    assert connection.execute(spark_tables.select(empty)).fetchall() == []


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


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[NO_CAST] The value 'u000042' cannot be cast. SQLSTATE: 22018", "[NO_CAST] SQLSTATE: 22018"),
        ("Nothing that it is known by, and u000042", "SparkError"),
    ],
)  # fmt: skip
def test_what_spark_raises_is_told_without_values_and_what_others_do_is_left_alone(said: str, shown: str) -> None:
    raised = type("SparkError", (Exception,), {"__module__": "pyspark.errors"})
    with pytest.raises(TransformError, match=f"nothing was switched: {re.escape(shown)}$"), spark.in_words():
        raise raised(said)
    with pytest.raises(ValueError, match="u000042"), spark.in_words():
        raise ValueError(said)


def test_what_spark_needs_is_asked_for_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"PODCAST_ENGINE=spark needs the extra \[spark\]"):
        spark.refuse_missing(settings)

    monkeypatch.setattr(spark, "find_spec", lambda _: True)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="needs Java 17"):
        spark.refuse_missing(settings)
