"""The log: what a line has, two processes in one file, its bounded size, and that it fails nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows import logs
from flows.settings import Settings

WRITER = """
import sys
from pathlib import Path
from flows.logs import SharedFileHandler
import logging
handler = SharedFileHandler(Path(sys.argv[1]), max_bytes=20_000, kept=50)
log = logging.getLogger("writer")
log.addHandler(handler)
log.propagate = False
for number in range(1000):
    log.warning("%s %04d %s", sys.argv[2], number, "x" * 60)
"""


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    logs.configure(Settings(), program="flow run")


def log_to(path: Path, **settings: Any) -> Settings:
    settings = {"log_file": path, **settings}
    configured = Settings(**settings)
    logs.configure(configured, program="podcast test")
    return configured


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_the_run_the_step_and_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "made" / "log.jsonl"
    log_to(path)
    with logs.about_run("r1", "quick-fox"):
        logs.event("held back", step="gate raw", seconds=1.5, batch_id="b1", file="a\n\u00e9.json", gate=None)
    logs.event("outside")
    inside, outside = records(path)
    time = datetime.fromisoformat(inside.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert inside.pop("pid") > 0
    assert inside == {
        "level": "INFO",
        "logger": "podcast",
        "message": "held back",
        "program": "podcast test",
        "run_id": "r1",
        "flow_run_name": "quick-fox",
        "step": "gate raw",
        "seconds": 1.5,
        "batch_id": "b1",
        "filename": "a\n\u00e9.json",
    }
    assert "run_id" not in outside


def test_what_others_say_is_taken_from_a_warning_on_and_of_runs_from_the_level_on(tmp_path: Path) -> None:
    log_to(tmp_path / "log")
    names = ("some.library", "prefect.flow_runs", "prefect.task_runs")
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.log(level, "%s %s", name, logging.getLevelName(level), extra={"flow_run_id": "r7"})
    logging.getLogger("prefect.flow_runs").info("told", extra={logs.TOLD_ALREADY: True})
    # threads that earlier tests of this process have left behind may say something too
    found = [(r["logger"], r["level"], r["run_id"]) for r in records(tmp_path / "log") if r["logger"] in names]
    of_runs = [(name, level, "r7") for name in logs.OF_RUNS for level in ("INFO", "WARNING")]
    assert found == [("some.library", "WARNING", "r7"), *of_runs]


def test_the_level_is_a_setting(tmp_path: Path) -> None:
    log_to(tmp_path / "log", log_level="ERROR")
    logs.event("less", level=logging.WARNING)
    logs.event("enough", level=logging.ERROR)
    assert [r["message"] for r in records(tmp_path / "log")] == ["enough"]


def look_up(user: str) -> None:
    try:
        {}[user]
    except KeyError as error:
        raise ValueError(user) from error


def test_of_an_error_its_kinds_and_places_and_nothing_it_says(tmp_path: Path) -> None:
    log_to(tmp_path / "log")
    try:
        look_up("a-listener")
    except ValueError as error:
        logs.event("run failed", error=error)
    (line,) = records(tmp_path / "log")
    assert [text for text in line["exc_info"] if not text.startswith(" ")] == ["ValueError", "KeyError"]
    assert f"{__file__}:" in line["exc_info"][1]
    assert "a-listener" not in (tmp_path / "log").read_text()


def test_configured_again_a_record_is_written_once(tmp_path: Path) -> None:
    log_to(tmp_path / "log")
    logs.configure(Settings(log_file=tmp_path / "log"))
    logs.event("once")
    (line,) = records(tmp_path / "log")
    assert line["program"] == "podcast test"


def test_json_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_to(tmp_path / "log", log_format="json")
    logs.event("said", count=1)
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err) == records(tmp_path / "log")[0]


def test_without_settings_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())
    logs.event("quiet", level=logging.ERROR)
    assert capsys.readouterr() == ("", "")


def test_two_processes_write_one_file_and_set_it_aside(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    parts = [part for part in tmp_path.iterdir() if part.suffix != ".lock"]
    lines = [line for part in parts for line in part.read_text().splitlines()]
    assert sorted(lines) == [f"{name} {n:04} {'x' * 60}" for name in "abc" for n in range(1000)]
    assert len(parts) > 4
    assert max(part.stat().st_size for part in parts) < 40_000  # what others write meanwhile still comes in


def test_a_bounded_number_is_kept(tmp_path: Path) -> None:
    handler = logs.SharedFileHandler(tmp_path / "log", max_bytes=100, kept=2)
    for number in range(10):
        handler.emit(logging.makeLogRecord({"msg": f"{number}" * 60}))
    handler.close()
    kept = {part.name: part.read_text()[0] for part in tmp_path.iterdir() if part.suffix != ".lock"}
    assert kept == {"log": "8", "log.1": "6", "log.2": "4"}


def test_none_is_kept(tmp_path: Path) -> None:
    handler = logs.SharedFileHandler(tmp_path / "log", max_bytes=100, kept=0)
    for number in range(3):
        handler.emit(logging.makeLogRecord({"msg": f"{number}" * 60}))
    handler.close()
    assert (tmp_path / "log").read_text()[0] == "2"
    assert sorted(part.name for part in tmp_path.iterdir()) == ["log", "log.lock"]


@pytest.mark.parametrize("path", ["/dev/full", __file__ + "/log"])
def test_a_log_that_cannot_be_written_is_told_once_and_fails_nothing(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to(Path(path))
    logs.event("lost")
    logs.event("lost too")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: the log {path} cannot be written: ")


def test_a_log_goes_on_when_its_file_is_moved_or_its_folder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "log"
    log_to(path)
    logs.event("one")
    path.rename(tmp_path / "moved")
    logs.event("two")
    path.unlink()
    path.parent.rmdir()
    logs.event("three")
    assert [r["message"] for r in records(tmp_path / "moved")] == ["one"]
    assert [r["message"] for r in records(path)] == ["three"]


def test_a_record_that_is_no_json_loses_no_other(tmp_path: Path) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

        __str__ = __repr__

    log_to(tmp_path / "log")
    logs.event("odd", thing=Odd())
    logs.event("next")
    assert records(tmp_path / "log")[-1]["message"] == "next"


def test_a_run_has_a_tag_for_the_history_of_another_system() -> None:
    assert logs.run_tag() == "podcast/no run"
    with logs.about_run("0b1c", "happy-bee"):
        assert logs.run_tag() == "podcast/0b1c"
