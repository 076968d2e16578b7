"""Gates on an emulated Snowflake: Great Expectations looks at its rows, and finds what it finds on DuckDB."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_gates import LANDING, assert_finds_the_same, verdicts, with_reference_data
from engine_place import Place, land
from snowflake_server import CLIENT, SECRET, on_snowflake, skip_unless_installed, start_emulator

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    skip_unless_installed()
    with start_emulator(tmp_path) as variables:
        yield with_reference_data(on_snowflake(tmp_path / "home", variables), tmp_path / "seeds")


@pytest.mark.short
def test_either_engine_finds_the_same_at_every_gate(place: Place, tmp_path: Path) -> None:
    assert_finds_the_same(place, tmp_path / "other")
    assert_sent(tmp_path)
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in place.home.rglob("*") if p.is_file())


def assert_sent(folder: Path) -> None:
    """A gate opens two sessions at most, and its SQL finds names that Snowflake has stored in capitals."""
    sessions = (folder / "emulator.log").read_text().count("schema='OPS'")
    assert 5 <= sessions <= 10, "three gates, of which two judged again"
    statements = [json.loads(line) for line in (folder / "sent.jsonl").read_text().splitlines()]
    judging = [s for s in statements if re.search(r"\bops\.\w+_(batches|rows|sources)\b", s, re.IGNORECASE)]
    asked = [s for s in judging if s.lstrip().lower().startswith("select") and '"app": "dbt"' not in s]
    assert len(asked) > 50
    for sql in asked:
        named = set(re.findall(r'"([^"]*)"', sql))
        assert [name for name in named if name != name.upper() and f'AS "{name}"' not in sql] == [], sql


ALTERED = {
    "validated": "update bronze.validated_events set is_valid = null where filename = 'a00.json' and line_number = 1",
    "cleansed": "update silver.cleansed_events set user_id = null where filename = 'a01.json' and line_number = 2",
    "gold": """
        update gold.fact_user_interactions set event_date = null
        where batch_id in (select batch_id from ops.batches where filename = 'a02.json')
    """,
}
BEFORE_GATES = """
from flows import checkpoints
from flows.snowflake_session import execute
judge, statements = checkpoints.validate, {statements!r}
def validate(settings, gate, *, run_id):
    if gate in statements:
        execute(settings, statements.pop(gate))
    return judge(settings, gate, run_id=run_id)
checkpoints.validate = validate
"""


def test_what_is_judged_are_the_rows_of_snowflake(place: Place) -> None:
    """Those of the working database stay as they were built."""
    for name in ("a00.json", "a01.json", "a02.json", "a03.json"):
        land(place, Path(name), LANDING[name])
    done = place.start("run", "--json", within=BEFORE_GATES.format(statements=ALTERED))
    assert done.returncode == 0, done.stderr[-4000:]

    summary = json.loads(done.stdout)
    assert {(b["filename"], b["gate"], b["reason"]) for b in summary["quarantined"]} == {
        ("a00.json", "validated", "failed_expectation"),
        ("a01.json", "cleansed", "failed_expectation"),
        ("a02.json", "gold", "failed_expectation"),
    }
    assert summary["published_batches"] == 1
    failed = {(gate, batch, observed) for gate, _, _, batch, success, observed, _ in verdicts(place) if not success}
    assert {(gate, observed) for gate, batch, observed in failed if batch} == {
        ("validated", "1 rows fail"), ("cleansed", "1 rows fail"), ("gold", "4 rows fail"),
    }  # fmt: skip


NO_VIEW = {"cleansed": "drop view ops.cleansed_rows"}
NOBODY_THERE = """
from flows import snowflake_gates, snowflake_session
snowflake_session.LOGIN_SECONDS = 2
given = snowflake_session.arguments
snowflake_gates.arguments = lambda *a: given(*a) | {"port": 9}
"""


@pytest.mark.parametrize(
    ("within", "said"),
    [
        (
            BEFORE_GATES.format(statements=NO_VIEW),
            r"Gate cleansed could not judge: \w+: 002003 \(42S02\) Object 'CLEANSED_ROWS' does not exist",
        ),
        (
            NOBODY_THERE,
            r"Gate validated could not judge: \w+: 250001: Could not connect to Snowflake",
        ),
    ],
)
def test_a_gate_that_cannot_look_there_is_broken(place: Place, within: str, said: str) -> None:
    land(place, Path("a00.json"), LANDING["a00.json"])
    done = place.start("run", within=within)
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert re.search(said, told), told
    assert "Nothing was published." in told
    assert "Traceback" not in told
    assert "u1" not in told
    assert SECRET not in told
    assert not (place.home / "warehouse" / "published.duckdb").exists()


ASKED_FOR = """
import json
from sqlalchemy import event
from sqlalchemy.engine import Engine
from flows import engines, judging
from flows.domain import Gate
from flows.settings import load_settings

@event.listens_for(Engine, "do_connect")
def connecting(dialect, record, positional, given):
    print(json.dumps(given))
    raise SystemExit

settings = load_settings()
with judging._looking(settings, engines.gate_source(settings, Gate.GOLD)):
    pass
"""


def test_the_connector_is_given_what_is_set_whatever_is_in_it(tmp_path: Path) -> None:
    """The library and its dialect put neither what they were told to have nor variables in its place."""
    skip_unless_installed()
    given = {
        "account": "my_org-my_acc.eu-central-1", "user": "a@b/$HOME", "password": "p@$$w/%41${HOME}",
        "database": "podcast_try",
    }  # fmt: skip
    place = Place(
        tmp_path / "home", "snowflake", {f"PODCAST_SNOWFLAKE_{k.upper()}": v for k, v in given.items()}, CLIENT
    )
    done = subprocess.run(
        [CLIENT, "-c", ASKED_FOR], env=place.environment(), capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert {name: found[name] for name in given} == given
    assert (found["host"], found["port"]) == ("my_org-my_acc.eu-central-1.snowflakecomputing.com", 443)
    assert (found["role"], found["warehouse"], found["protocol"], found["schema"]) == (None, None, "https", "ops")
    assert found["session_parameters"]["TIMEZONE"] == "UTC"
