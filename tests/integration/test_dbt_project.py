"""The dbt project by itself, over the sample: its tests pass, are complete, and can fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows import landing, ledger, loading, publish, versions, warehouse
from flows.domain import VALIDATION_CODES, Arrival, Gate
from flows.questions import QUESTIONS
from flows.settings import DBT_PROJECT, PROJECT_ROOT, Settings

HELD_BACK = loading.batch_id("2024-01-11/events-0004.json", 1)


@dataclass(frozen=True)
class Project:
    """The dbt project with a warehouse of its own, driven from the command line as a person would."""

    home: Path

    @property
    def database(self) -> Path:
        return self.home / "warehouse" / "podcast.duckdb"

    def environment(self) -> dict[str, str]:
        ours = {"DBT_PODCAST_DATABASE": str(self.database), "DO_NOT_TRACK": "1", "PYTHONUTF8": "1"}
        return {k: v for k, v in os.environ.items() if not k.startswith(("DBT_", "PODCAST_"))} | ours

    def options(self) -> list[str]:
        folders = {
            "project-dir": DBT_PROJECT,
            "profiles-dir": DBT_PROJECT,
            "target-path": self.home / "target",
        }
        return [f"--{name}={path}" for name, path in (folders | {"log-path": self.home / "logs"}).items()]

    def dbt(self, *arguments: str) -> list[dict[str, Any]]:
        """Run dbt; the results of its nodes."""
        dbt = Path(sys.executable).with_name("dbt")
        done = subprocess.run(
            [dbt, "--no-use-colors", *arguments, *self.options()],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        results = json.loads((self.home / "target" / "run_results.json").read_text())["results"]
        assert isinstance(results, list)
        return results

    def manifest(self) -> dict[str, Any]:
        found = json.loads((self.home / "target" / "manifest.json").read_text())
        assert isinstance(found, dict)
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample, loaded; its one bad batch held back; every layer built."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), landing=PROJECT_ROOT / "data" / "landing", settle_seconds=0
    )
    with warehouse.connect(settings) as connection:
        files = landing.find_files(settings.landing_dir, known={}, settle_seconds=0).files
        loading.load_files(connection, [Arrival(file, attempt=1) for file in files], run_id="run")
        ledger.quarantine(connection, Gate.VALIDATED, {HELD_BACK: ("invalid_share", "Too many.")}, rules_version="v1")
        versions.enter(connection, settings.reference_hash())
    project = Project(settings.home)
    project.dbt("build", "--exclude-resource-type", "test", "unit_test")
    return project


@pytest.fixture(scope="module")
def results(project: Project) -> list[dict[str, Any]]:
    """All data tests and unit tests."""
    return project.dbt("test")


@pytest.fixture(scope="module")
def manifest(project: Project, results: list[dict[str, Any]]) -> dict[str, Any]:
    assert results
    return project.manifest()


# --- The tests pass, and there are enough of them -----------------------------------------------


def test_the_warehouse_has_something_to_look_at(project: Project) -> None:
    """Tests on empty tables would say nothing."""
    tables = project.query(
        "select schema_name || '.' || table_name from duckdb_tables() "
        "where estimated_size > 0 and schema_name <> 'test_failures' union "
        "select schema_name || '.' || view_name from duckdb_views() where not internal"
    )
    empty = [table for (table,) in sorted(tables) if project.query(f"select count(*) from {table}") == [(0,)]]
    assert empty == []
    assert len(tables) > 20
    assert project.query("select sum(held_back) > 500 from ops.line_accounting") == [(True,)]
    assert project.query("select count(*) > 0 from gold.dim_users where is_inferred") == [(True,)]
    assert project.query("select sum(duplicate_count) > 0 from silver.cleansed_events") == [(True,)]


def test_all_tests_of_the_project_pass(results: list[dict[str, Any]]) -> None:
    assert {result["unique_id"]: result["message"] for result in results if result["status"] != "pass"} == {}
    kinds = [result["unique_id"].split(".")[0] for result in results]
    assert kinds.count("test") >= 60
    assert kinds.count("unit_test") >= 30


def test_no_test_is_left_out(results: list[dict[str, Any]], manifest: dict[str, Any]) -> None:
    tests = [name for name, node in manifest["nodes"].items() if node["resource_type"] == "test"]
    assert sorted(result["unique_id"] for result in results) == sorted([*tests, *manifest["unit_tests"]])
    assert not manifest["disabled"]


def expected_codes(manifest: dict[str, Any]) -> list[list[str]]:
    """The lists of codes that the unit tests of the row rules expect."""
    return [
        re.findall(r"\w+", row["validation_errors"])
        for test in manifest["unit_tests"].values()
        if test["model"] == "classified_events"
        for row in test["expect"]["rows"]
        if "validation_errors" in row
    ]


def test_every_code_has_a_unit_test_of_its_own(manifest: dict[str, Any]) -> None:
    found = expected_codes(manifest)
    assert {codes[0] for codes in found if len(codes) == 1} == set(VALIDATION_CODES)
    assert [] in found


def test_codes_that_apply_together_come_in_the_order_of_the_contract(manifest: dict[str, Any]) -> None:
    several = [codes for codes in expected_codes(manifest) if len(codes) > 1]
    assert {code for codes in several for code in codes} == set(VALIDATION_CODES) - {"malformed_json"}
    assert [sorted(codes, key=VALIDATION_CODES.index) for codes in several] == several


def test_every_unit_test_is_described(manifest: dict[str, Any]) -> None:
    descriptions = {test["name"]: test["description"] for test in manifest["unit_tests"].values()}
    assert [name for name, description in descriptions.items() if len(description) < 20] == []


def test_every_model_with_logic_has_unit_tests(manifest: dict[str, Any]) -> None:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    layers = {"bronze", "silver", "gold"}
    models = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["schema"] in layers
    }
    # These two only type the reference data.
    assert models - tested == {"silver_users", "silver_episodes"}


# --- Descriptions -------------------------------------------------------------------------------


def relations(manifest: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Models, seeds, snapshots and sources by schema and table."""
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    kinds = {"model", "seed", "snapshot", "source"}
    return {
        (node["schema"], node.get("alias") or node["identifier"]): node
        for node in nodes
        if node["resource_type"] in kinds
    }


def test_every_relation_is_described(project: Project, manifest: dict[str, Any]) -> None:
    described = relations(manifest)
    assert [name for name, node in described.items() if len(node["description"]) < 10] == []
    there = project.query(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema not in ('main', 'test_failures')"
    )
    ephemeral = {name for name, node in described.items() if node.get("config", {}).get("materialized") == "ephemeral"}
    assert ephemeral == {("ops", "pending_rows")}
    assert set(there) == set(described) - ephemeral


def test_every_column_that_is_named_is_described(manifest: dict[str, Any]) -> None:
    assert [
        (*name, column)
        for name, node in relations(manifest).items()
        for column, properties in node["columns"].items()
        if len(properties["description"]) < 5
    ] == []


def test_every_column_that_others_may_read_is_described(project: Project, manifest: dict[str, Any]) -> None:
    public = {table.removeprefix("ops.") for table in publish.TABLES if table.startswith("ops.")}
    there = [
        name
        for name in project.query("select table_schema, table_name, column_name from information_schema.columns")
        if name[0] in {"bronze", "silver", "gold"} or (name[0] == "ops" and name[1] in public)
    ]
    named = {
        (*name, column)
        for name, node in relations(manifest).items()
        if name[0] != "ops" or name[1] in public
        for column in node["columns"]
    }
    assert set(there) == named
    assert len(named) > 100


def test_every_model_states_its_grain() -> None:
    models = sorted(DBT_PROJECT.glob("models/**/*.sql"))
    assert [m.name for m in models if not m.read_text().startswith("-- grain: ")] == []


def test_profiles_have_a_count_for_each_code(project: Project) -> None:
    columns = [name for (name,) in project.query("select column_name from (describe ops.batch_profiles)")]
    start = columns.index(VALIDATION_CODES[0])
    assert columns[start : start + len(VALIDATION_CODES)] == list(VALIDATION_CODES)


# --- What the project says of itself -------------------------------------------------------------

# One process, which parses the project once; a warning or a deprecation is an error there.
PARSE_AND_SELECT = """
import json, sys
from dbt.cli.main import dbtRunner

options = json.loads(sys.stdin.read())
parsed = dbtRunner().invoke(["--warn-error", "parse", "--no-partial-parse", "--quiet", *options])
if not parsed.success:
    sys.exit(str(parsed.exception))
runner = dbtRunner(manifest=parsed.result)
models = ["--output", "name", "--resource-types", "model", "--resource-types", "seed", "--quiet"]
print(json.dumps({
    name: [selector["description"], runner.invoke(["ls", "--selector", name, *models, *options]).result]
    for name, selector in parsed.result.selectors.items()
}))
"""


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each selector of the project selects."""
    fresh = Project(tmp_path_factory.mktemp("parsed"))
    fresh.database.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PARSE_AND_SELECT],
        env=fresh.environment(),
        input=json.dumps(fresh.options()),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [name for name, (description, _) in found.items() if len(description) < 20] == []
    return {name: models for name, (_, models) in found.items()}


def test_the_project_is_parsed_without_a_warning_and_each_selector_selects(selected: dict[str, list[str]]) -> None:
    assert {"raw", "bronze", "silver", "gold", "gates", "marts", "questions"} <= set(selected)
    assert [name for name, models in selected.items() if not models] == []


def test_each_layer_builds_what_the_gate_behind_it_looks_at(selected: dict[str, list[str]]) -> None:
    layers = ("raw", "bronze", "silver", "gold")
    assert set(selected["gates"]) <= {model for layer in layers for model in selected[layer]}
    assert set(selected["questions"]) < set(selected["marts"]) < set(selected["gold"])


def test_what_is_asked_from_is_selected_and_exposed(selected: dict[str, list[str]], manifest: dict[str, Any]) -> None:
    exposures = manifest["exposures"].values()
    asked = [e["depends_on"]["nodes"] for e in exposures if e["type"] == "analysis"]
    assert sorted(asked) == sorted([f"model.podcast.{model}"] for model in selected["questions"])
    assert sorted(selected["questions"]) == sorted(question.model for question in QUESTIONS)
    assert [e["name"] for e in exposures if e["type"] == "dashboard"] == ["site"]
    assert {e["owner"]["name"] for e in exposures} == {group["owner"]["name"] for group in manifest["groups"].values()}


def test_gold_is_for_everybody_and_the_rest_for_the_pipeline(manifest: dict[str, Any]) -> None:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    gates = {m["name"] for m in models if m["path"].startswith("ops/gates/")}
    assert {m["name"] for m in models if m["access"] == "private"} == gates
    assert {(m["schema"], m["group"], m["access"]) for m in models if m["name"] not in gates} == {
        ("bronze", "pipeline", "protected"),
        ("silver", "pipeline", "protected"),
        ("gold", "analytics", "public"),
        ("ops", "pipeline", "protected"),
    }


# --- The tests can fail -------------------------------------------------------------------------

# What is broken, and the tests that have to see it.
A_ROW = "select * from silver.cleansed_events order by interaction_id limit 1"
A_FACT = "select * from gold.fact_user_interactions where event_type = '{}' order by interaction_id limit 1"
ONE_FACT_TWICE = {
    "unique_fact_user_interactions_interaction_id",
    "same_row_count_fact_user_interactions_ref_cleansed_events_",
    "accepted_values_warehouse_accounting_reconciles__False__True",
    "accepted_values_warehouse_accounting_days_reconcile__False__True",
}
BREAKAGES = {
    f"insert into silver.cleansed_events {A_ROW}": {
        "unique_cleansed_events_interaction_id",
        "unique_combination_cleansed_events_user_id__episode_id__event_type__timestamp",
        "unique_combination_cleansed_events_batch_id__line_number",
        "same_row_count_fact_user_interactions_ref_cleansed_events_",
        "accepted_values_warehouse_accounting_reconciles__False__True",
    },
    "delete from silver.cleansed_events where line_number = 1": {
        "every_valid_row_has_its_event_cleansed_events_",
        "relationships_fact_user_interactions_interaction_id__interaction_id__ref_cleansed_events_",
        "same_row_count_fact_user_interactions_ref_cleansed_events_",
        "accepted_values_warehouse_accounting_reconciles__False__True",
    },
    "update silver.cleansed_events set user_id = ' ', episode_id = chr(160) where line_number = 1": {
        "not_blank_cleansed_events_user_id",
        "not_blank_cleansed_events_episode_id",
    },
    "update silver.cleansed_events set duration = null where event_type = 'complete' and line_number < 50": {
        "duration_where_expected_cleansed_events_"
    },
    "update silver.cleansed_events set event_type = 'stop', duration = 0 where line_number = 1": {
        "accepted_values_cleansed_events_event_type__play__pause__seek__complete",
        "at_least_cleansed_events_duration__1",
        "duration_where_expected_cleansed_events_",
    },
    f"insert into gold.fact_user_interactions {A_FACT.format('pause')}": ONE_FACT_TWICE,
    f"insert into gold.fact_user_interactions {A_FACT.format('play')}": {
        *ONE_FACT_TWICE,
        "every_listening_event_is_in_a_listen_fact_listens_",
    },
    "update gold.fact_user_interactions set user_id = 'orphan' where event_type = 'play'": {
        "relationships_fact_user_interactions_user_id__user_id__ref_dim_users_",
        "same_multi_episode_listeners_listener_daily_",
    },
    "delete from gold.dim_episodes where is_inferred": {
        "relationships_fact_user_interactions_episode_id__episode_id__ref_dim_episodes_",
        "relationships_fact_listens_episode_id__episode_id__ref_dim_episodes_",
        "relationships_episode_daily_episode_id__episode_id__ref_dim_episodes_",
        "relationships_episode_listen_through_episode_id__episode_id__ref_dim_episodes_",
        "relationships_listener_episodes_episode_id__episode_id__ref_dim_episodes_",
    },
    "insert into gold.dim_users select * from gold.dim_users order by user_id limit 1": {"unique_dim_users_user_id"},
    "update gold.fact_user_interactions set event_date = null, duration = -1 where event_type = 'complete'": {
        "not_null_fact_user_interactions_event_date",
        "at_least_fact_user_interactions_duration__1",
        "same_listen_through_country_listen_through_",
        "same_multi_episode_listeners_listener_daily_",
    },
    "update gold.multi_episode_listeners_daily set listener_count = 0": {
        "at_least_multi_episode_listeners_daily_listener_count__1",
        "same_multi_episode_listeners_listener_daily_",
    },
    "insert into gold.fact_listens select * from gold.fact_listens order by listen_id limit 1": {
        "unique_fact_listens_listen_id",
        "unique_combination_fact_listens_user_id__episode_id__session_number",
        "every_listening_event_is_in_a_listen_fact_listens_",
        "same_sum_episode_daily_listens__ref_fact_listens_",
    },
    "update gold.episode_listen_through set completion_share = 1.5, share_reaching_50 = -1 where listens > 0": {
        "between_episode_listen_through_completion_share__1__0",
        "between_episode_listen_through_share_reaching_50__1__0",
    },
    "update gold.country_listen_through set completion_count = completion_count + 1": {
        "same_listen_through_country_listen_through_"
    },
    "delete from gold.dim_dates": {
        "relationships_fact_listens_event_date__date_day__ref_dim_dates_",
        "relationships_episode_daily_event_date__date_day__ref_dim_dates_",
        "relationships_listener_daily_event_date__date_day__ref_dim_dates_",
    },
    "update gold.quality_daily set facts = facts - 1, duplicates = duplicates + 1": {
        "accepted_values_warehouse_accounting_days_reconcile__False__True"
    },
    "update gold.quality_daily set batches = batches + 1, invalid = invalid + 1": {
        "quality_adds_up_quality_daily_",
        "accepted_values_warehouse_accounting_days_reconcile__False__True",
    },
    "delete from bronze.validated_events where not is_valid": {"same_row_count_by_batch_validated_events_"},
    "update bronze.validated_events set line_number = 1 where not is_valid": {
        "unique_combination_validated_events_batch_id__line_number"
    },
    "update ops.batch_profiles set valid = valid + 1": {
        "profile_adds_up_batch_profiles_",
        "accepted_values_warehouse_accounting_reconciles__False__True",
    },
}
# One process, which parses the project once. After each breakage those tests run that read the table, be it through
# views: what the others see has not changed. Only tests that have to fail store their failures: it costs as much again.
BREAK_AND_TEST = """
import json, re, shutil, sys
from pathlib import Path
import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

database, whole, options, breakages = json.loads(sys.stdin.read())
manifest = dbtRunner().invoke(["parse", "--quiet", *options]).result
for node in manifest.nodes.values():
    if node.resource_type == "test" and not any(node.name in names for names in breakages.values()):
        node.config.store_failures = False
manifest.build_parent_and_child_maps()
tables = {f"{n.schema}.{n.alias}": n.unique_id for n in manifest.nodes.values() if n.resource_type == "model"}

def tests_reading(table):
    found, tests, left = set(), set(), [tables[table]]
    while left:
        for name in manifest.child_map[left.pop()]:
            node = manifest.nodes.get(name)
            if node is None or name in found:
                continue
            found.add(name)
            if node.resource_type == "test":
                tests.add(node.name)
            elif node.config.materialized in ("view", "ephemeral"):
                left.append(name)
    return sorted(tests)

failed = {}
for statement, names in breakages.items():
    Path(database).unlink(missing_ok=True)
    shutil.copyfile(whole, database)
    with duckdb.connect(database) as connection:
        connection.execute(statement)
    broken = re.match("(?:insert into|update|delete from) ([a-z_.]+)", statement)
    selected = tests_reading(broken[1]) if broken else ["test_type:data"]
    result = dbtRunner(manifest=manifest).invoke(["test", "--select", *selected, "--quiet", *options]).result
    DuckDBConnectionManager.close_all_connections()
    seen = {r.node.name: r for r in result if r.status != "pass"}
    with duckdb.connect(database) as connection:
        stored = {
            name: connection.execute(f"select count(*) from {seen[name].node.relation_name}").fetchone()[0]
            for name in seen if name in names
        }
    failed[statement] = {name: [r.failures, stored.get(name)] for name, r in seen.items()}
print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def failures(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, list[int]]]]:
    """What fails after each breakage, each on a copy of the warehouse of its own: rows counted, and rows stored."""
    broken = Project(tmp_path_factory.mktemp("broken"))
    broken.database.parent.mkdir()
    breakages = {statement: sorted(names) for statement, names in BREAKAGES.items()}
    given = [str(broken.database), str(project.database), broken.options(), {"select 1": []} | breakages]
    done = subprocess.run(
        [sys.executable, "-c", BREAK_AND_TEST],
        env=broken.environment(),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    yield json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(broken.home)


@pytest.mark.parametrize("statement", BREAKAGES)
def test_what_is_broken_is_seen(failures: dict[str, dict[str, list[int]]], statement: str) -> None:
    assert failures["select 1"] == {}
    assert set(failures[statement]) == BREAKAGES[statement]


def test_what_contradicts_a_test_can_be_looked_at(failures: dict[str, dict[str, list[int]]]) -> None:
    """The rows stand in a table of the schema test_failures."""
    assert [
        (statement, name, counted, stored)
        for statement, tests in failures.items()
        for name, (counted, stored) in tests.items()
        if stored != counted or not stored
    ] == []
