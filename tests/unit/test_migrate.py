"""Moving over, without a Spark: what is refused, what is found by comparing, and what the switch leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from flows import engines, handover, migrate, moving_snowflake, progress, spark, spark_tables, terminal, transform
from flows.checksums import DUCKDB, Difference
from flows.cli import cli
from flows.domain import Layer
from flows.errors import MigrationError, PipelineError, SettingsError
from flows.handover import Model
from flows.migrate import Migration, Proved
from flows.settings import Settings, load_settings
from flows.spark_tables import Table
from flows.warehouse import connect

FACTS = "gold.facts"
COLUMNS = (("key_hash", "bigint"), ("country", "varchar"))
HERE = [(2**64 - 1, "DE"), (7, "FR")]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(spark, "refuse_missing", lambda _, **__: None)
    monkeypatch.setattr(transform, "models", lambda _: [Model(FACTS, ("key_hash", "country"), Layer.GOLD, None, ())])
    return load_settings()


@pytest.fixture
def on_spark(settings: Settings) -> Settings:
    return settings.model_copy(update={"engine": "spark"})


@pytest.fixture
def connection(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(settings) as connection:
        yield connection


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_a_move_without_the_extra_is_refused_by_the_name_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path))
    monkeypatch.setattr(spark, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=rf"^podcast migrate --to {engine} needs the extra \[spark\]"):
        migrate.migrate(load_settings(), engine)


def fill(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[int, str]], name: str = FACTS) -> None:
    connection.execute(f"create or replace table {name} (key_hash ubigint, country varchar)")
    connection.executemany(f"insert into {name} values (?, ?)", rows)


def files(folder: Path) -> Table:
    """The same rows as Spark has them."""
    folder.mkdir(parents=True)
    with duckdb.connect() as elsewhere:
        rows = "select unnest([-1, 7]::bigint[]) as key_hash, unnest(['DE', 'FR']) as country"
        elsewhere.execute(f"copy ({rows}) to '{folder}/part.parquet' (format parquet)")
    return Table(FACTS, folder, COLUMNS)


def kind(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    found = "select table_type from information_schema.tables where table_schema || '.' || table_name = ?"
    ((is_a,),) = connection.execute(found, [name]).fetchall()
    return str(is_a)


@pytest.fixture
def other_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    """Another DuckDB in the place of Spark."""
    monkeypatch.setattr(migrate, "SPARK", DUCKDB)
    with duckdb.connect() as other:
        other.execute("create schema gold; create schema silver")
        monkeypatch.setattr(spark, "first_row", lambda sql: other.execute(sql).fetchall()[0])
        yield other


def test_there_has_to_be_something_to_move(settings: Settings) -> None:
    with pytest.raises(PipelineError, match=r"There is no warehouse under .* Start with: podcast run"):
        migrate.migrate(settings, "spark")
    assert not settings.warehouse_path.exists()


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_what_is_not_whole_is_not_copied(settings: Settings, on_spark: Settings, engine: str) -> None:
    with connect(settings) as connection:
        connection.execute("insert into ops.engine_builds values ('of a build that was cut off')")
    spark.folder(on_spark).mkdir(parents=True)
    with pytest.raises(MigrationError, match=r"The last build was cut off.*podcast run builds all tables anew"):
        migrate.migrate(settings, engine)


def test_a_table_that_no_run_has_built_yet_is_named(settings: Settings) -> None:
    with connect(settings):
        pass
    with pytest.raises(MigrationError, match=r"there is no whole gold\.facts\. Nothing was changed"):
        migrate.migrate(settings, "spark")
    assert not spark.folder(settings).exists()


def test_a_table_among_the_views_of_spark_is_of_a_run_that_was_cut_off(settings: Settings, on_spark: Settings) -> None:
    with connect(settings) as connection:
        spark.folder(on_spark).mkdir(parents=True)
        spark.take_over(connection, on_spark, [])
        fill(connection, HERE)
    with pytest.raises(MigrationError, match=r"there is no whole gold\.facts"):
        migrate.migrate(settings, "duckdb")


def test_tables_are_not_moved_to_where_they_are(settings: Settings) -> None:
    with connect(settings) as connection:
        fill(connection, HERE)
    assert migrate.migrate(settings, "duckdb") == Migration("duckdb")


def test_the_switch_puts_views_in_the_place_of_tables_and_marks_both(
    settings: Settings, on_spark: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    fill(connection, HERE)
    spark.clear(on_spark)
    assert (engines.is_at_one(connection, settings), engines.is_at_one(connection, on_spark)) == (True, False)
    spark.take_over(connection, on_spark, [files(spark.folder(on_spark) / "tables" / "facts")])
    assert (engines.is_at_one(connection, settings), engines.is_at_one(connection, on_spark)) == (False, True)
    assert kind(connection, FACTS) == "VIEW"
    assert sorted(connection.execute(f"from {FACTS}").fetchall()) == sorted(HERE)


def test_a_switch_that_fails_leaves_the_tables_and_the_mark_of_before(
    settings: Settings, on_spark: Settings, connection: duckdb.DuckDBPyConnection
) -> None:
    fill(connection, HERE)
    spark.clear(on_spark)
    whole = files(spark.folder(on_spark) / "tables" / "facts")
    broken = Table("no_such_schema.facts", whole.folder, whole.columns)
    with pytest.raises(duckdb.Error):
        spark.take_over(connection, on_spark, [whole, broken])
    assert kind(connection, FACTS) == "BASE TABLE"
    assert (engines.is_at_one(connection, settings), engines.is_at_one(connection, on_spark)) == (True, False)


def test_clearing_takes_tables_of_before_and_nothing_else_of_the_folder(on_spark: Settings) -> None:
    folder = spark.folder(on_spark)
    for name in ("tables/gold.db/facts", "metastore", "carried"):
        (folder / name).mkdir(parents=True)
    for name in ("build", "notes.txt"):
        (folder / name).write_text("text")
    spark.clear(on_spark)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_equal_tables_are_proved_so_by_both(
    connection: duckdb.DuckDBPyConnection, other_engine: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    fill(connection, HERE)
    other_engine.execute(f"create table {FACTS} as from '{files(tmp_path / 'facts').folder}/part.parquet'")
    with progress.listening(lambda _step, _message: None):
        (proved,) = migrate._prove(connection, [Table(FACTS, tmp_path, COLUMNS[::-1])])
    assert (proved.relation, proved.rows, proved.columns) == (FACTS, 2, 2)


def test_all_that_differs_is_told_together(
    connection: duckdb.DuckDBPyConnection, other_engine: duckdb.DuckDBPyConnection
) -> None:
    for name in (FACTS, "silver.events"):
        fill(connection, HERE, name)
        other_engine.execute(f"create table {name} (key_hash bigint, country varchar)")
    other_engine.execute(f"insert into {FACTS} values (-1, 'DE'), (7, 'IT')")
    tables = [Table(name, Path(), COLUMNS) for name in (FACTS, "silver.events")]
    with pytest.raises(MigrationError) as raised:
        migrate._prove(connection, tables)
    said = str(raised.value)
    assert "nothing was switched" in said
    assert "- gold.facts, column country: checksum " in said
    assert "- silver.events, rows: 2 in DuckDB, 0 on Spark" in said
    assert "gold.facts, column key_hash" not in said
    assert "Copy again by the same command" in said


def test_a_table_of_another_version_or_of_types_that_cannot_be_compared_is_refused() -> None:
    with pytest.raises(MigrationError, match="differs in the columns country, region"):
        migrate._refuse_others(FACTS, COLUMNS, [COLUMNS[0], ("region", "varchar")])
    with pytest.raises(MigrationError, match=r"cannot be compared: price decimal\(18,3\)"):
        migrate._refuse_others(FACTS, [("price", "decimal(18,3)")], [("price", "bigint")])
    migrate._refuse_others(FACTS, COLUMNS, COLUMNS[::-1])


def test_the_files_for_spark_have_its_types(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    fill(connection, HERE)
    columns = spark_tables.as_there(Table(FACTS, tmp_path, COLUMNS))
    into = tmp_path / "it's"
    spark.write_files(connection, into, f"select {columns} from {FACTS}")
    found = f"read_parquet({spark_tables.quoted(into / '*')})"
    assert sorted(connection.execute(f"from {found}").fetchall()) == [(-1, "DE"), (7, "FR")]
    assert [type_ for _, type_ in handover.described(connection, found)] == ["bigint", "varchar"]


@pytest.mark.parametrize("came", [[(2**64 - 1, "DE"), (7, "GB")], [(7, "FR")]])
def test_what_snowflake_gives_back_otherwise_is_refused_by_table_and_column(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    came: list[tuple[int, str]],
) -> None:
    def fetch(into_connection: duckdb.DuckDBPyConnection, _settings: Settings, _relation: str, *, into: str) -> None:
        into_connection.executemany(f"insert into {into} values (?, ?)", came)

    fill(connection, HERE)
    monkeypatch.setattr(moving_snowflake.snowflake, "fetch", fetch)
    with pytest.raises(MigrationError, match=r"^The copy is not equal, so nothing was switched") as refused:
        moving_snowflake._prove(settings, connection, [FACTS])
    assert f"- {FACTS}, column country: checksum" in str(refused.value)
    assert "on Snowflake" in str(refused.value)
    assert "Spark" not in str(refused.value)

    monkeypatch.setattr(
        moving_snowflake.snowflake,
        "fetch",
        lambda here, _s, name, *, into: here.execute(f"insert into {into} from {name}"),
    )
    with progress.listening(lambda _step, _message: None):
        proved = moving_snowflake._prove(settings, connection, [FACTS])
    assert [(one.relation, one.rows) for one in proved] == [(FACTS, 2)]


@pytest.mark.usefixtures("settings")
def test_the_command_prints_what_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Migration("spark", (Proved(FACTS, 1200, 2, "ab12"),))
    monkeypatch.setattr(migrate, "migrate", lambda _settings, _engine: moved)
    done = CliRunner().invoke(cli, ["migrate", "--to", "spark", "--json"])
    assert json.loads(done.stdout) == {
        "engine": "spark", "is_moved": True,
        "tables": [{"relation": FACTS, "rows": 1200, "columns": 2, "checksum": "ab12", "is_equal": True}],
    }  # fmt: skip
    assert CliRunner().invoke(cli, ["migrate", "--to", "postgres"]).exit_code == 2
    assert CliRunner().invoke(cli, ["migrate"]).exit_code == 2


def test_the_command_says_how_to_go_on(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_migration(settings, Migration("spark", (Proved(FACTS, 1200, 2, "ab12"),)))
    terminal.show_migration(settings, Migration("duckdb"))
    said = capsys.readouterr().out
    assert "gold.facts" in said
    assert "1,200" in said
    assert "PODCAST_ENGINE=spark podcast run" in said
    assert "The tables are those of duckdb already; nothing was copied." in said


def test_what_is_said_of_a_difference_names_both_values() -> None:
    said = migrate.refusal([Difference(FACTS, "column country", "ff", "10")])
    assert "- gold.facts, column country: ff in DuckDB, 10 on Spark" in said


def test_no_table_is_left_out_because_spark_has_lost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would come back without having been compared."""
    held = [Table(name, Path(), COLUMNS) for name in (FACTS, "ops.of_spark_alone", "ops.unpublished_keys")]
    monkeypatch.setattr(spark_tables, "find_all", lambda _: held)
    assert migrate._tables_there({FACTS: []}) == (held[:2], held[:1])
    with pytest.raises(MigrationError, match=r"Spark has no table gold\.dim_users"):
        migrate._tables_there({FACTS: [], "gold.dim_users": []})
