"""Whether the working database and the tables of the engine that builds the layers are of the same build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows import engines, handover, spark, warehouse
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
        connection.execute("create schema ops; create table ops.engine_builds (token varchar)")
        yield connection


def test_tables_are_at_one_with_the_database_when_a_build_has_ended(
    settings: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    embedded = settings.model_copy(update={"engine": "duckdb"})
    assert not engines.is_at_one(connection, settings)
    assert engines.is_at_one(connection, embedded)

    with engines.building(connection, settings, spark, Layer.GOLD):
        assert not engines.is_at_one(connection, settings)
    assert engines.is_at_one(connection, settings)
    assert not engines.is_at_one(connection, embedded)

    engines.settle(connection, settings)
    assert engines.is_at_one(connection, settings)
    engines.settle(connection, embedded)
    assert engines.is_at_one(connection, embedded)


def test_a_build_that_is_cut_off_leaves_them_at_odds(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    with engines.building(connection, settings, spark, Layer.GOLD):
        pass
    with pytest.raises(KeyboardInterrupt), engines.building(connection, settings, spark, Layer.SILVER):
        raise KeyboardInterrupt
    assert not engines.is_at_one(connection, settings)


def test_a_build_of_everything_has_ended_with_the_last_layer_only(
    settings: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    for layer in handover.BUILT:
        assert not engines.is_at_one(connection, settings)
        with engines.building(connection, settings, spark, layer):
            pass
    for layer in handover.BUILT:
        assert engines.is_at_one(connection, settings)
        with engines.building(connection, settings, spark, layer):
            pass


def test_tables_of_another_state_are_not_gone_by(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    with engines.building(connection, settings, spark, Layer.GOLD):
        pass
    connection.execute("update ops.engine_builds set token = 'of a backup'")
    assert not engines.is_at_one(connection, settings)


def test_what_is_not_used_is_not_asked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"PODCAST_ENGINE=spark needs the extra"):
        engines.refuse_missing(settings)
    engines.refuse_missing(settings.model_copy(update={"engine": "duckdb"}))


def test_a_warehouse_from_before_the_name_that_its_table_has_now_keeps_the_mark(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with warehouse.connect(settings) as connection:
        connection.execute("drop table ops.engine_builds")
        connection.execute("create table ops.spark_builds as select 'of Spark' as token")
    for _ in range(2):
        with warehouse.connect(settings) as connection:
            assert handover.mark(connection) == "of Spark"
            names = "select table_name from duckdb_tables() where table_name like '%_builds'"
            assert connection.execute(names).fetchall() == [("engine_builds",)]
