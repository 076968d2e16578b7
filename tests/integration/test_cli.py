"""The command as a person types it, over the sample: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import duckdb
import pytest

from flows.settings import PROJECT_ROOT

ANSWERS = json.loads((PROJECT_ROOT / "tests" / "golden" / "sample_answers.json").read_text())
PODCAST = Path(sys.executable).with_name("podcast")
BAD_FILE = "2024-01-11/events-0004.json"


class Terminal:
    """A home of its own, and the command to type there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        shutil.copytree(PROJECT_ROOT / "data" / "landing", home / "landing")

    def type(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PODCAST_", "PREFECT_"))}
        environment |= {"PODCAST_HOME": str(self.home), "COLUMNS": "160", **settings}
        return subprocess.run(
            [PODCAST, *words], env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=self.home
        )


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    return Terminal(tmp_path_factory.mktemp("cli") / "home")


def test_the_first_day(terminal: Terminal) -> None:
    totals = ANSWERS["totals"]
    nothing_yet = terminal.type("status")
    assert nothing_yet.returncode == 1
    assert "podcast run" in nothing_yet.stderr

    first = terminal.type("run", "--json", "--strict")
    assert first.returncode == 3, first.stderr
    assert first.stderr == ""
    summary = json.loads(first.stdout)
    kinds = ("lines", "malformed", "invalid", "duplicates", "facts", "held_back")
    assert summary["run"] == summary["warehouse"] == {kind: totals[kind] for kind in kinds}
    assert [b["filename"] for b in summary["quarantined"]] == [BAD_FILE]
    with duckdb.connect(str(terminal.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
        counts = connection.execute(
            "select event_type, count(*) from gold.fact_user_interactions group by event_type"
        ).fetchall()
    assert dict(counts) == totals["facts_by_event_type"]
    assert (terminal.home / "site" / "data_docs" / "index.html").exists()

    pages = list((terminal.home / "site").rglob("*.html"))
    assert [p for p in pages if "default-src 'none'" not in unescape(p.read_text(encoding="utf-8"))] == []
    assert len(pages) > len(list((PROJECT_ROOT / "expectations").glob("*.json")))

    second = terminal.type("run")
    assert (second.returncode, second.stderr) == (0, "")
    assert "Nothing new" in second.stdout

    status = terminal.type("status")
    assert (status.returncode, status.stderr) == (0, "")
    assert "quarantined" in status.stdout
    assert "Newest published event: 2024-01-14" in status.stdout

    listed = terminal.type("quarantine", "list")
    assert BAD_FILE in listed.stdout
    shown = terminal.type("quarantine", "show", BAD_FILE)
    assert "invalid_share" in shown.stdout
    assert "missing_user_id" in shown.stdout
    assert "podcast quarantine release" in shown.stdout
    a_user = re.compile(r"\bu\d{4,}\b")
    assert a_user.search((terminal.home / "landing" / BAD_FILE).read_text(errors="replace"))
    assert "user:" in shown.stdout
    assert "PODCAST_SHOW_USER_IDS=true" in shown.stdout
    assert not a_user.search(shown.stdout)
    assert a_user.search(terminal.type("quarantine", "show", BAD_FILE, PODCAST_SHOW_USER_IDS="true").stdout)

    released = terminal.type("quarantine", "release", BAD_FILE, "--reason", "known gap")
    assert (released.returncode, released.stderr) == (0, "")
    assert "1 batch published" in released.stdout
    assert "No batch" in terminal.type("quarantine", "list").stdout


def test_what_is_wrong_is_said(terminal: Terminal) -> None:
    wrong = terminal.type("run", PODCAST_WINDOW_DAYS="soon")
    assert wrong.returncode == 2
    assert "PODCAST_WINDOW_DAYS" in wrong.stderr
    missing = terminal.type("run", PODCAST_LANDING=str(terminal.home / "nowhere"))
    assert missing.returncode == 1
    assert "PODCAST_LANDING" in missing.stderr
    unknown = terminal.type("quarantine", "release", "no-such-batch", "--reason", "x")
    assert unknown.returncode == 1
    assert "no-such-batch" in unknown.stderr
    assert "Traceback" not in wrong.stderr + missing.stderr + unknown.stderr


def test_generated_events_run_as_the_printed_command_says(tmp_path: Path, terminal: Terminal) -> None:
    out = tmp_path / "made"
    made = terminal.type("generate", "--events", "3000", "--files", "5", "--out", str(out))
    assert made.returncode == 0, made.stderr
    assert "podcast run" in made.stdout
    assert terminal.type("generate", "--events", "10", "--out", str(out)).returncode == 1
    settings = {f"PODCAST_{n.upper()}": str(out / n) for n in ("home", "landing", "seeds")}
    summary = json.loads(terminal.type("run", "--json", **settings).stdout)
    totals = json.loads((out / "answers.json").read_text())["totals"]
    assert summary["run"] == {kind: totals[kind] for kind in summary["run"]}
