"""Canaries: user ids and secrets that must be found in the tables and the evidence, and nowhere else."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from comparison import write_reference_data

from flows.settings import PROJECT_ROOT, Settings

PODCAST = Path(sys.executable).with_name("podcast")
ID = "Kanari{:03}x"
SIGN = b"kanari"
SECRET = "zekret"  # noqa: S105 - a canary
SECRETS = {
    f"PODCAST_{name.upper()}": f"{SECRET}-{name}-of-the-settings"
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation)
} | {
    "PODCAST_S3_ACCESS_KEY_ID": "goes-with-its-secret",
    "PREFECT_API_AUTH_STRING": f"{SECRET}-user:{SECRET}-password",
    "PREFECT_API_KEY": f"{SECRET}-key",
}
MAY_HOLD_DATA = ("landing", "warehouse", "quarantine")

FAILING = """
import os, sys, duckdb
from pathlib import Path
from flows.pipeline import podcast_pipeline
home = Path(os.environ["PODCAST_HOME"])
def run(name):
    (home / "landing" / f"{name}.json").write_bytes((home / "landing" / "usual-00.json").read_bytes() + b"\\n")
    try:
        podcast_pipeline()
    except BaseException as error:
        print(f"{name} failed: {type(error).__name__}: {error}")
    else:
        sys.exit(f"{name} should have failed")
users = Path(os.environ["PODCAST_SEEDS"]) / "users.csv"
whole = users.read_text()
users.write_text(whole + "Kanari999x,Kanari999x,NO\\n")
run("reference")
users.write_text(whole)
def spoil(sql):
    with duckdb.connect(home / "warehouse" / "podcast.duckdb") as connection:
        connection.execute(sql)
spoil("alter table bronze.raw_events alter is_malformed type varchar")
spoil("update bronze.raw_events set is_malformed = user_id where filename = 'usual-00.json'")
spoil("update ops.batches set pending = true where filename = 'usual-00.json'")
run("dbt")
"""
"""Runs that fail: for a row of the reference data, and for a value that a model cannot cast."""


@dataclass(frozen=True)
class Bird:
    """A home whose data is full of canaries, and what has been said about it."""

    home: Path

    def run(self, *command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PODCAST_", "PREFECT_"))}
        environment |= SECRETS | {
            "PODCAST_HOME": str(self.home),
            "PODCAST_SEEDS": str(self.home.parent / "reference"),
            "PODCAST_SETTLE_SECONDS": "0",
            "PODCAST_LOG_FILE": str(self.home / "log" / "podcast.jsonl"),
            "PODCAST_LOG_LEVEL": "DEBUG",
            "COLUMNS": "400",
            **settings,
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        with (self.home / "said").open("a") as said:
            said.write(done.stdout + done.stderr)
        return done

    def songs(self, sign: bytes) -> dict[str, bytes]:
        """Files outside of the data that hold the sign, each with what is around it."""
        found = {}
        for path in self.home.rglob("*"):
            inside = path.relative_to(self.home)
            if path.is_file() and inside.parts[0] not in MAY_HOLD_DATA:
                content = path.read_bytes()
                if (at := content.lower().find(sign)) >= 0:
                    found[str(inside)] = content[max(at - 200, 0) : at + 100]
        return found

    def logs_of_prefect(self) -> list[str]:
        """Of the runs, as the UI shows them."""
        with closing(sqlite3.connect(self.home / "prefect" / "prefect.db")) as connection:
            return [message for (message,) in connection.execute("select message from log")]

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.home / "log" / "podcast.jsonl").read_text().splitlines()]


def event(minute: int, user: object, **more: object) -> str:
    usual = {"event_type": "play", "user_id": user, "episode_id": "e1", "duration": 60}
    return json.dumps(usual | {"timestamp": f"2024-01-08T10:{minute:02}:00Z"} | more)


def landing() -> dict[str, list[str]]:
    """Twelve usual files, one with ids wherever a line can have some, and one that is held back for them."""
    usual = {
        f"usual-{n:02}.json": [event(m, ID.format(m), timestamp=f"2024-01-{n + 1:02}T10:{m:02}:00Z") for m in range(20)]
        for n in range(12)
    }
    ids = iter(ID.format(n) for n in range(100, 200))
    odd = [
        f"{next(ids)} is no JSON",
        '{"user_id": "' + next(ids),
        event(1, {"id": next(ids)}),
        event(2, "u1", duration=next(ids)),
        event(3, "u1", timestamp=next(ids)),
        event(4, next(ids), event_type=next(ids)),
        event(5, next(ids), episode_id=next(ids)),
        event(6, next(ids), **{next(ids): 1, f'"{next(ids)}", "': {next(ids): 2}}),
        event(7, next(ids), note=next(ids)),
        event(8, f"\u00a0{next(ids)}\n"),
        *(event(9 + n, ID.format(n)) for n in range(40)),
    ]
    return usual | {"x-odd.json": odd, "y-bad.json": odd[:7]}


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    folder = tmp_path_factory.mktemp("canaries")
    bird = Bird(folder / "home")
    (bird.home / "landing").mkdir(parents=True)
    for name, lines in landing().items():
        (bird.home / "landing" / name).write_text("\n".join(lines) + "\n")
    users = [(ID.format(n), None, "NO") for n in range(120)]
    write_reference_data(folder / "reference", users, [("e1", "p1", "One", None, 1000)])
    return bird


def test_a_run_with_what_is_looked_at_afterwards(bird: Bird) -> None:
    ran = bird.run(PODCAST, "run", "--json", PODCAST_LOG_FORMAT="json")
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout)
    (held_back,) = summary["quarantined"]
    assert held_back["filename"] == "y-bad.json"
    assert any("new_key_names" in warning for warning in summary["warnings"])
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert lines == bird.log()
    assert {line.get("run_id") for line in lines} == {summary["run_id"]}
    for words in (["status"], ["quarantine", "list"], ["quarantine", "show", "y-bad.json"], ["settings"]):
        assert bird.run(PODCAST, *words).returncode == 0

    with duckdb.connect(str(bird.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        seen = "select count(*) from gold.dim_users where user_id like 'Kanari%'"
        assert connection.execute(seen).fetchone() == (120,)
    assert SIGN in (bird.home / "quarantine" / held_back["batch_id"] / "failing_lines.jsonl").read_bytes().lower()
    assert (bird.home / "prefect" / "prefect.db").stat().st_size > 0
    assert (bird.home / "site" / "index.html").exists()
    assert bird.songs(SIGN) == {}
    assert bird.songs(SECRET.encode()) == {}


def test_runs_that_fail(bird: Bird) -> None:
    done = bird.run(sys.executable, "-c", FAILING, PODCAST_LOG_FORMAT="json", PREFECT_HOME=str(bird.home / "prefect"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reference failed: ReferenceDataError: The reference data is broken" in done.stdout
    assert "dbt failed: TransformError: dbt could not build" in done.stdout
    assert "Could not convert string [the value is not shown]" in done.stdout
    failed = [record for record in bird.log() if record["message"] == "run failed"]
    assert [record["error_type"] for record in failed] == ["ReferenceDataError", "TransformError"]
    assert all(record["cause"] and record["run_id"] and record["flow_run_name"] for record in failed)
    in_the_ui = bird.logs_of_prefect()
    assert "load: 2 of 2 files, 40 lines" in in_the_ui
    assert any("Could not convert string [the value is not shown]" in message for message in in_the_ui)
    in_json = [r["message"] for r in bird.log() if str(r["logger"]).startswith("prefect.")]
    assert "load: 2 of 2 files, 40 lines" not in in_json, "it stands there as a record of ours"
    assert "Finished in state Completed()" in in_json
    assert bird.songs(SIGN) == {}
    assert bird.songs(SECRET.encode()) == {}


def test_the_project_has_no_other_place_for_what_it_says() -> None:
    """What dbt writes by default beside the project would not be looked at here."""
    assert not (PROJECT_ROOT / "logs").exists()
    assert not (PROJECT_ROOT / "dbt_podcast" / "target").exists()
