"""The figures for Prometheus: of runs that failed or were killed, and what never gets into a label."""

from __future__ import annotations

import json
import os
import socket
import stat
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics
from flows.domain import RunStatus, RunSummary
from flows.metrics import MOST_LABELS, bounded, note_run, write_textfile
from flows.settings import Settings, load_settings

STARTED, FINISHED = datetime(2024, 1, 8, 10), datetime(2024, 1, 8, 10, 0, 42)  # noqa: DTZ001 - UTC
CANARY = "canary-7f3a"
FAILED = RunSummary(f"run-{CANARY}", RunStatus.FAILED, STARTED, FINISHED, warnings=(CANARY,))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODCAST_METRICS_FILE", str(tmp_path / "textfile" / "podcast.prom"))
    monkeypatch.setenv("PODCAST_API_TOKEN", f"{CANARY}-of-16-and-more")
    return load_settings()


def figures(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def end(settings: Settings, summary: RunSummary, steps: dict[str, float]) -> None:
    """What the end of every run does."""
    note_run(settings, summary, steps)
    write_textfile(settings)


def test_a_run_that_failed_without_anything_published_is_in_the_file(settings: Settings) -> None:
    end(settings, FAILED, {"discover": 1.5, "gate raw": 2.0, f"x {CANARY}": 3.0})
    assert settings.metrics_file
    text = settings.metrics_file.read_text()
    found = figures(text)
    assert found["podcast_last_run_status", "failed"] == 1
    assert found["podcast_last_run_status", "passed"] == 0
    assert found["podcast_last_run_duration_seconds",] == 42
    assert found["podcast_last_run_finished_timestamp_seconds",] == 1704708042
    assert found["podcast_last_run_step_seconds", "gate raw"] == 2
    assert found["podcast_last_run_step_seconds", "other"] == 3
    assert found["podcast_copy_readable",] == 0
    assert CANARY not in text
    assert [path.name for path in settings.metrics_file.parent.iterdir()] == ["podcast.prom"]
    assert all(family.documentation and family.type == "gauge" for family in text_string_to_metric_families(text))


def test_the_next_run_takes_its_place(settings: Settings) -> None:
    end(settings, FAILED, {})
    end(settings, RunSummary("next", RunStatus.NOTHING_NEW, FINISHED, FINISHED), {})
    found = figures(metrics.render(settings, metrics.of_copy(settings)))
    assert found["podcast_last_run_status", "nothing_new"] == 1
    assert found["podcast_last_run_status", "failed"] == 0


def test_without_the_setting_only_the_note_is_kept(settings: Settings, tmp_path: Path) -> None:
    end(settings.model_copy(update={"metrics_file": None}), FAILED, {})
    assert not (tmp_path / "textfile").exists()
    assert figures(metrics.render(settings, None))["podcast_last_run_status", "failed"] == 1


def test_nothing_that_goes_wrong_with_it_ends_a_run(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "textfile").write_text("no folder")
    (tmp_path / "home").write_text("no folder either")
    end(settings, FAILED, {})
    assert (tmp_path / "textfile").read_text() == "no folder"


@pytest.mark.parametrize("note", ["", "{", "[]", '{"status": "odd"}', '{"status": "failed", "started_at": 1}'])
def test_a_note_that_is_none_is_left_aside(settings: Settings, note: str) -> None:
    path = settings.home / "metrics" / "last_run.json"
    path.parent.mkdir(parents=True)
    path.write_text(note)
    assert not [key for key in figures(metrics.render(settings, None)) if key[0].startswith("podcast_last_run")]


def hold(settings: Settings, *, pid: int, run: str | None, host: str = "") -> None:
    note = settings.home / "warehouse" / "writer.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    holder = {"host": host or socket.gethostname(), "pid": pid, "purpose": "flow run x", "run": run}
    note.write_text(json.dumps(holder | {"since": "2024-01-08T10:00:00"}))


def test_a_run_shows_while_it_is_at_work_and_when_it_was_killed(settings: Settings) -> None:
    assert figures(metrics.render(settings, None))["podcast_writing",] == 0
    hold(settings, pid=os.getpid(), run="r")
    found = figures(metrics.render(settings, None))
    assert (found["podcast_writing",], found["podcast_crashed_runs",]) == (1, 0)
    assert found["podcast_writing_since_timestamp_seconds",] == 1704708000
    dead = os.fork()
    if not dead:
        os._exit(0)
    os.waitpid(dead, 0)
    hold(settings, pid=dead, run="r")
    found = figures(metrics.render(settings, None))
    assert (found["podcast_writing",], found["podcast_crashed_runs",]) == (0, 1)
    hold(settings, pid=dead, run=None)
    assert figures(metrics.render(settings, None))["podcast_crashed_runs",] == 0
    hold(settings, pid=dead, run="r", host="another")
    assert figures(metrics.render(settings, None))["podcast_writing",] == 1


@given(st.dictionaries(st.tuples(st.text(max_size=50), st.text("ab_", max_size=3)), st.integers(0, 9), max_size=200))
def test_labels_are_few_and_plain_and_nothing_is_lost(values: dict[tuple[str, ...], int]) -> None:
    found = bounded(values)
    assert len(found) <= MOST_LABELS + 1
    assert sum(found.values()) == sum(values.values())
    assert all(label == "other" or label.replace("_", "").replace(" ", "").isalpha() for key in found for label in key)


def test_beyond_the_bound_labels_are_counted_together() -> None:
    found = bounded({(f"reason_{chr(97 + n // 26)}{chr(97 + n % 26)}",): 1 for n in range(100)})
    assert len(found) == MOST_LABELS + 1
    assert found["other",] == 100 - MOST_LABELS


def test_the_file_can_be_read_by_the_collector(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.prom"
    metrics.write(settings, path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044
    assert path.read_text().endswith("\n")
