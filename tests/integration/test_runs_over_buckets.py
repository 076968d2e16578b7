"""Whole runs with landing directory and evidence in a bucket: the tables are as from a disk, the secret nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3
from conftest import Home
from s3 import BUCKET, Server

from flows.decisions import act
from flows.domain import Decision, RunStatus, Selection
from flows.settings import PROJECT_ROOT

PODCAST = Path(sys.executable).with_name("podcast")
SECRET = "canary-0b5d94aa17"  # noqa: S105 - of nobody
LANDING = PROJECT_ROOT / "data" / "landing"
SAMPLE = {p.relative_to(LANDING).as_posix(): p.read_bytes() for p in sorted(LANDING.rglob("*.json*"))}
BAD_FILE = "2024-01-11/events-0004.json"
TABLES = {
    "bronze.raw_events": "load_at",
    "bronze.validated_events": "load_at",
    "silver.cleansed_events": "load_at",
    "gold.fact_user_interactions": "load_at",
    "gold.fact_listens": "last_load_at",
    "gold.top_completed_episodes": None,
    "ops.batch_profiles": "load_at",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3.serving() as server:
        yield server


def in_bucket(server: Server, name: str) -> dict[str, str]:
    return {
        "landing": f"s3://{BUCKET}/{name}/in",
        "quarantine": f"s3://{BUCKET}/{name}/evidence",
        **server.settings(SECRET),
    }


def tables(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    without = {table: f"exclude ({column})" if column else "" for table, column in TABLES.items()}
    return {table: home.query(f"select * {left} from {table} order by all") for table, left in without.items()}


def type_in(home: Home, server: Server, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command as a person types it; Prefect keeps what is logged in its database below the home."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PODCAST_", "PREFECT_"))}
    given = {"home": str(home.path)} | in_bucket(server, "typed") | settings
    environment |= {f"PODCAST_{name.upper()}": value for name, value in given.items()}
    environment |= {"PREFECT_HOME": str(home.path / "of prefect"), "PREFECT_LOGGING_LEVEL": "DEBUG", "COLUMNS": "200"}
    return subprocess.run([PODCAST, *words], env=environment, capture_output=True, text=True, timeout=900, check=False)


def test_files_in_a_bucket_give_the_tables_that_they_give_on_a_disk(home: Home, server: Server, tmp_path: Path) -> None:
    home.land(SAMPLE)
    on_disk = home.run()
    typed = Home(tmp_path / "typed", home.monkeypatch)
    s3.put({f"typed/in/{name}": content for name, content in SAMPLE.items()})
    said = [type_in(typed, server, "run", "--json")]
    assert said[0].returncode == 0, said[0].stderr
    summary = json.loads(said[0].stdout)
    assert summary["run"]["lines"] == on_disk.run.lines == 6000
    assert tables(typed) == tables(home)

    (batch,) = (held_back.batch_id for held_back in on_disk.quarantined)
    kept = {path.name: path.read_bytes() for path in (home.path / "quarantine" / batch).iterdir()}
    in_evidence = s3.stored("typed/evidence/")
    assert set(in_evidence) == {f"typed/evidence/{batch}/{name}" for name in kept}
    lines = f"typed/evidence/{batch}/failing_lines.jsonl"
    assert in_evidence[lines] == kept["failing_lines.jsonl"]
    assert not (typed.path / "quarantine").exists()
    assert not list(typed.path.glob("evidence-*"))
    pages = [(of.path / "site" / "quarantine" / f"{batch}.html").read_text() for of in (home, typed)]
    assert pages[0].count("<tr") == pages[1].count("<tr") > 20

    said += [type_in(typed, server, *words) for words in (("run",), ("status",), ("quarantine", "show", batch))]
    assert "othing new" in said[1].stdout, said[1].stderr
    assert "quarantined" in said[2].stdout
    assert f"Evidence: s3://{BUCKET}/typed/evidence/{batch}" in said[3].stdout
    assert BAD_FILE in said[3].stdout
    said.append(type_in(typed, server, "run", s3_endpoint_url="http://127.0.0.1:1"))
    assert said[-1].returncode == 1
    assert f"s3://{BUCKET}/typed/in cannot be used: http://127.0.0.1:1 does not answer" in said[-1].stderr
    said.append(type_in(typed, server, "run", s3_access_key_id=""))
    assert said[-1].returncode == 2
    assert "PODCAST_S3_SECRET_ACCESS_KEY" in said[-1].stderr

    assert all(SECRET not in process.stdout + process.stderr for process in said)
    assert holding(typed.path, SECRET) == []
    assert {"published.duckdb", "prefect.db"} <= {path.name for path in holding(typed.path, BAD_FILE)}, "searches well"


def holding(folder: Path, text: str) -> list[Path]:
    """The files that a text stands in."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if text.encode() in path.read_bytes()]


def events(*minutes: int, user: str = "u1") -> bytes:
    return b"".join(
        b'{"event_type": "pause", "user_id": "%s", "episode_id": "e1", "timestamp": "2024-01-02T03:%02d:00Z"}\n'
        % (user.encode(), minute)
        for minute in minutes
    )


def test_a_life_in_a_bucket(home: Home, server: Server) -> None:
    home.set(max_unknown_share=1, **in_bucket(server, "life"))
    s3.put({"life/in/a.json": events(1, 2), "life/in/b.json": events(3), "life/in/c.json": events(4) + b"oops\n"})
    first = home.run()
    assert (first.published_batches, [b.filename for b in first.quarantined]) == (2, ["c.json"])
    assert minutes(home) == [1, 2, 3]

    s3.put({"life/in/a.json": events(1, 9), "life/in/c.json": events(4)})
    s3.take_away("life/in/b.json")
    second = home.run()
    assert [(b.filename, b.reason) for b in second.quarantined] == [("a.json", "mutated_file")]
    assert second.missing == ("b.json",)
    assert minutes(home) == [1, 2, 3, 4]

    third = act(Decision.REPROCESS, Selection(("a.json",)))
    assert third.status is RunStatus.PASSED
    assert minutes(home) == [1, 3, 4, 9]
    act(Decision.DISCARD, Selection(("b.json",)), reason="its file is gone")
    assert minutes(home) == [1, 4, 9]
    assert home.run().status is RunStatus.NOTHING_NEW


def minutes(home: Home) -> list[int]:
    found = home.query('select minute("timestamp") from gold.fact_user_interactions order by all', published=True)
    return [minute for (minute,) in found]
