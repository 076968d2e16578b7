"""All models on an emulated Snowflake: the rows of DuckDB, after a first load and after what changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest
from conftest import Home
from engine_world import OF_EACH_RUN, Stage, World, assert_floors, compared
from snowflake_server import SECRET, build, skip_unless_installed, start_emulator

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[World]:  # noqa: ARG001
    skip_unless_installed()
    folder = tmp_path_factory.mktemp("snowflake")
    with pytest.MonkeyPatch.context() as patch, start_emulator(folder) as variables:
        yield World(Home(folder / "home", patch), folder, partial(build, variables), hashes="ubigint")


@pytest.fixture(scope="module")
def first(world: World) -> Stage:
    return world.first()


@pytest.fixture(scope="module")
def later(world: World, first: Stage) -> Stage:
    return world.later(first)


def test_the_first_load_gives_the_rows_of_duckdb(first: Stage) -> None:
    assert first.differing(compared(first)) == []
    assert_floors(first)


def test_what_changes_gives_the_rows_of_duckdb(first: Stage, later: Stage) -> None:
    assert later.differing([name for name in compared(later) if name not in OF_EACH_RUN]) == []
    assert_floors(later)
    facts = "select interaction_id from gold.fact_user_interactions"
    assert set(first.query(facts)) - set(later.query(facts)), "nothing has left"
    assert set(later.query(facts)) - set(first.query(facts)), "nothing has come"


def test_no_secret_is_said_or_logged(first: Stage) -> None:
    said = [path for path in first.there.rglob("*") if path.suffix in (".log", ".txt", ".json", ".sql")]
    assert {"dbt.log", "said.txt", "manifest.json"} <= {path.name for path in said}
    assert [path.name for path in said if SECRET in path.read_text(errors="replace")] == []


NOT_SNOWFLAKE = {
    "an aggregate with a filter": r"\bfilter\s*\(",
    "a lambda": r"\blambda\b|->",
    "a frame of a window without its end": r"\brows\s+unbounded\b",
    "a share of whole numbers, cut to six places": r"(?<!as double\)) / nullif\((?!judged\.)",
}
"""What the emulator takes and Snowflake refuses, or answers otherwise. (A share within a deviation is of doubles.)"""
NOT_ITS_PATTERNS = r"'[^']*\(\?[^']*'"
"""A group that is not captured: its regular expressions are those of POSIX."""


def test_no_sql_is_for_the_emulator_alone(later: Stage) -> None:
    compiled = {path.stem: path.read_text() for path in (later.there / "dbt" / "compiled").rglob("models/**/*.sql")}
    assert len(compiled) > 40
    assert [name for name, sql in compiled.items() if re.search(NOT_ITS_PATTERNS, sql)] == []
    bare = {name: re.sub(r"--.*|'[^']*'", "", sql) for name, sql in compiled.items()}
    found = {
        (what, name) for what, pattern in NOT_SNOWFLAKE.items() for name, sql in bare.items() if re.search(pattern, sql)
    }
    assert found == set()
    quoted = {name for sql in bare.values() for name in re.findall(r'"([^"]*)"', sql)}
    assert {name for name in quoted if name != name.upper()} == set(), "no name without quotes would find these"


def test_rows_are_replaced_within_one_transaction(later: Stage) -> None:
    """Between what leaves and what comes nobody sees the table."""
    said = (later.there / "dbt" / "dbt.log").read_text()
    for name in ("validated_events", "cleansed_events", "fact_user_interactions", "fact_listens"):
        of_model = re.findall(rf"On model\.podcast\.{name}: (\w+)", said)
        statements = [word.lower() for word in of_model if word.lower() in ("begin", "delete", "insert", "commit")]
        assert statements[-4:] == ["begin", "delete", "insert", "commit"], (name, of_model)


def test_each_statement_of_a_model_has_its_name_as_a_tag(first: Stage) -> None:
    said = (first.there / "dbt" / "dbt.log").read_text()
    tags = set(re.findall(r"query_tag = '(\S+)'", said))
    assert {"podcast/cleansed_events", "podcast/fact_listens", "podcast/users_history"} <= tags


def test_what_cannot_be_made_again_has_a_failsafe(first: Stage) -> None:
    """dbt makes transient tables unless it is told otherwise."""
    said = (first.there / "dbt" / "dbt.log").read_text()
    made = re.findall(r"create or replace (transient )?table podcast\.(\w+\.\w+)", said)
    lasting = {name for transient, name in made if not transient}
    assert lasting == {"silver.users_history", "silver.episodes_history", "ops.batch_profiles", "ops.event_keys"}
