"""Gates on Spark: Great Expectations looks at its tables there, and finds what it finds on DuckDB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_gates import GATES, LANDING, assert_finds_the_same, with_reference_data
from engine_place import Place, land, on_spark
from spark_installed import skip_unless_installed

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With Spark in the process of the run."""
    skip_unless_installed()
    return with_reference_data(on_spark(tmp_path / "home", "local[2]"), tmp_path / "seeds")


@pytest.mark.short
def test_either_engine_finds_the_same_at_every_gate(place: Place, tmp_path: Path) -> None:
    assert_finds_the_same(place, tmp_path / "other")
    assert looked_at(place) == {"raw": {None}, **{gate: {"SparkDataFrame"} for gate in GATES}}


def looked_at(place: Place) -> dict[str, set[str | None]]:
    """By gate, the kinds of what the kept results were found in."""
    found: dict[str, set[str | None]] = {}
    for kept in (place.home / "gx" / "validation_results").rglob("*.json"):
        suite = kept.relative_to(place.home / "gx" / "validation_results").parts[0]
        about = json.loads(kept.read_text())["meta"]["batch_spec"]
        found.setdefault(suite.split("_")[0], set()).add(about.get("batch_data"))
    return found


BEFORE_THE_GATE = """
from flows import checkpoints
from flows.spark_tables import session
judge = checkpoints.validate
def validate(settings, gate, *, run_id):
    if gate == "cleansed":
        for statement in {statements!r}:
            session().sql(statement)
    return judge(settings, gate, run_id=run_id)
checkpoints.validate = validate
"""
NULLED = """
create or replace view ops.cleansed_rows as select
    interaction_id, nullif(user_id, 'u1') as user_id, episode_id, timestamp, event_type, duration, batch_id,
    has_key_of_its_columns, true as is_of_accepted_batch
from (select *, true as has_key_of_its_columns from silver.cleansed_events)
"""


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            ["drop view ops.cleansed_rows"],
            "Gate cleansed could not judge: AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] SQLSTATE: 42P01.",
        ),
        (
            [NULLED],
            "of suite cleansed_rows the engine counts 4 and the working database 0 rows of the same table.",
        ),
    ],
)
def test_what_is_judged_are_the_tables_of_spark(place: Place, statements: list[str], said: str) -> None:
    """One that is missing there, or has other rows than the working database sees in its files, is no pass."""
    land(place, Path("a00.json"), LANDING["a00.json"])
    done = place.start("run", within=BEFORE_THE_GATE.format(statements=statements))
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert said in told, told
    assert "Nothing was published" in told
    assert "Traceback" not in told
    assert "u1" not in told
    assert not (place.home / "warehouse" / "published.duckdb").exists()
