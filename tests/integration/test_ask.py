"""`podcast ask` over the sample: the answers of the models, windows to the microsecond, and nobody in the way."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from comparison import write_reference_data
from conftest import Home
from hostile import TEXT, seen
from kills.processes import podcast_command

from flows.errors import DamagedWarehouseError, PipelineError, SettingsError
from flows.masking import open_mask
from flows.questions import QUESTIONS, Answer, Asked, Question, Window, answer
from flows.settings import DBT_PROJECT, PROJECT_ROOT, load_settings

START, END = date(2024, 3, 1), date(2024, 3, 3)
AROUND = {
    "u000001": "2024-02-29T23:59:59.999999Z",
    "u000002": "2024-03-01T00:00:00Z",
    "u000003": "2024-03-02T23:59:59.999999Z",
    "u000004": "2024-03-03T00:00:00Z",
}
"""Each of these users completes three episodes at one moment, directly on a bound or directly before it."""

FACTS = Question(
    "facts",
    "fact_user_interactions",
    "A question as any other.",
    "interaction_id",
    ("end", "days", "episode", "user", "limit"),
)
ASK = {question.name: question for question in QUESTIONS}
BY_DAY = [question for question in QUESTIONS if "end" in question.options and not question.is_recomputed]
RECOMPUTED = [question for question in QUESTIONS if question.is_recomputed]


def by_name(questions: list[Question]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("question", questions, ids=lambda question: question.name)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Home]:  # noqa: ARG001
    """One run over the sample, and over events on the bounds of a window; one episode has a harmful title."""
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("ask") / "home", patch)
        shutil.copytree(PROJECT_ROOT / "data" / "landing", home.path / "landing", dirs_exist_ok=True)
        home.land({"bounds.json": _bounds()})
        users, episodes = (_rows_of(DBT_PROJECT / "seeds" / name) for name in ("users.csv", "episodes.csv"))
        harmful = ["harmful", "p99", TEXT, "2024-02-01", "600"]
        home.set(seeds=write_reference_data(home.path / "seeds", users, [*episodes, harmful]))
        home.run()
        yield home


def _bounds() -> bytes:
    events = (
        {"event_type": "complete", "user_id": user, "episode_id": episode, "timestamp": moment, "duration": 300}
        for user, moment in AROUND.items()
        for episode in ("harmful", "e0001", "e0002")
    )
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def _rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def ask(question: Question, **given: Any) -> Answer:
    return answer(load_settings(), question, Asked(**given))


def podcast(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    settings = {"PODCAST_HOME": str(home.path), "PODCAST_SEEDS": str(home.path / "seeds"), "COLUMNS": "60"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODCAST_")} | settings
    return subprocess.run(
        [podcast_command(), "ask", *words], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def values(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows]


# The answers


@by_name(list(QUESTIONS))
def test_without_options_it_is_the_published_table(asked: Home, question: Question) -> None:
    published = asked.query(f"select * from gold.{question.model} order by {question.order_by}", published=True)
    answered = ask(question, limit=10**6 if "limit" in question.options else None)
    assert published
    if "user" not in question.options:
        assert values(answered.rows) == published
    assert len(answered.rows) == len(published)
    assert answered.left_out == 0
    assert (answered.window is not None) == question.is_recomputed


@by_name(RECOMPUTED)
def test_with_the_published_window_it_is_the_published_table(asked: Home, question: Question) -> None:
    (newest,) = asked.query("select max(event_date) from gold.fact_user_interactions", published=True)[0]
    given = {"end": newest + timedelta(days=1), "days": 7 if "days" in question.options else None}
    assert ask(question, **given) == ask(question)


@by_name(BY_DAY)
def test_days_are_chosen_with_the_start_and_without_the_end(asked: Home, question: Question) -> None:  # noqa: ARG001
    limit = {"limit": 10**6} if "limit" in question.options else {}
    every = ask(question, **limit)
    some = ask(question, end=END, days=2, **limit)
    assert some.window == Window(START, END)
    assert some.rows == [row for row in every.rows if START <= row["event_date"] < END]
    assert {row["event_date"] for row in some.rows} == {START, END - timedelta(days=1)}


@pytest.mark.parametrize(("end", "days"), [(END, 2), (END + timedelta(days=1), 3), (END, 1), (date(2024, 1, 12), 5)])
def test_the_most_completed_are_those_of_the_window(asked: Home, end: date, days: int) -> None:
    answered = ask(ASK["top-completed"], end=end, days=days)
    first, last = (datetime.combine(day, time.min) for day in (end - timedelta(days=days), end))
    facts = asked.query(
        "select episode_id, \"timestamp\" from gold.fact_user_interactions where event_type = 'complete'",
        published=True,
    )
    counts = Counter(episode for episode, moment in facts if first <= moment < last)
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert expected
    assert [(row["episode_id"], row["completion_count"]) for row in answered.rows] == expected


def test_an_event_at_the_start_counts_and_one_at_the_end_does_not(asked: Home) -> None:  # noqa: ARG001 - its home
    def completions(end: date, days: int) -> dict[str, int]:
        rows = ask(ASK["top-completed"], end=end, days=days).rows
        return {row["episode_id"]: row["completion_count"] for row in rows}

    assert completions(START, 1)["harmful"] == 1
    assert completions(END, 2)["harmful"] == 2
    assert completions(END + timedelta(days=1), 3)["harmful"] == 3
    assert values(ask(ASK["multi-episode"], end=END, days=2).rows) == [(START, 1), (date(2024, 3, 2), 1)]
    assert values(ask(ASK["multi-episode"], end=START, days=1).rows) == [(date(2024, 2, 29), 1)]


def test_listeners_of_several_episodes_are_counted_by_day(asked: Home) -> None:
    heard: dict[tuple[date, str], set[str]] = defaultdict(set)
    facts = 'select "timestamp", user_id, episode_id, event_type from gold.fact_user_interactions'
    for moment, user, episode, kind in asked.query(facts, published=True):
        if kind in ("play", "complete") and datetime(2024, 1, 9) <= moment < datetime(2024, 1, 13):  # noqa: DTZ001
            heard[moment.date(), user].add(episode)
    expected = sorted(Counter(day for (day, _), episodes in heard.items() if len(episodes) >= 3).items())
    assert expected
    assert values(ask(ASK["multi-episode"], end=date(2024, 1, 13), days=4).rows) == expected


def test_what_is_not_given_is_as_the_settings_say(asked: Home, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    assert ask(ASK["multi-episode"], days=2).window == Window(date(2024, 3, 2), date(2024, 3, 4))
    assert ask(ASK["multi-episode"], end=END).window == Window(END - timedelta(days=7), END)
    assert ask(ASK["top-completed"]).window == Window(date(2024, 2, 26), date(2024, 3, 4))
    monkeypatch.setenv("PODCAST_ANALYSIS_END_DATE", "2024-01-12")
    monkeypatch.setenv("PODCAST_WINDOW_DAYS", "3")
    assert ask(ASK["top-completed"]).window is None, "what is published was made with other settings"
    assert ask(ASK["multi-episode"], days=1).window == Window(date(2024, 1, 11), date(2024, 1, 12))


# Choosing, leaving out, masking


def test_rows_are_chosen_by_episode_and_user(asked: Home) -> None:
    where = "from gold.fact_user_interactions where user_id = 'u000002' and episode_id = 'harmful'"
    (count,) = asked.query(f"select count(*) {where}", published=True)[0]
    answered = ask(FACTS, user="u000002", episode="harmful", limit=100)
    assert len(answered.rows) == count > 0
    assert ask(FACTS, user="' or true --", limit=100).rows == []
    assert ask(FACTS, episode="", limit=100).rows == []


def test_it_says_how_many_rows_are_left_out(asked: Home) -> None:
    (count,) = asked.query("select count(*) from gold.fact_user_interactions", published=True)[0]
    some = ask(FACTS, limit=10)
    assert (len(some.rows), some.left_out) == (10, count - 10)
    assert some.document()["left_out"] == count - 10
    assert [row["interaction_id"] for row in some.rows] == sorted(row["interaction_id"] for row in some.rows)


def test_user_ids_are_masked_unless_the_settings_show_them(asked: Home) -> None:  # noqa: ARG001 - its home
    masked = ask(FACTS, user="u000002", end=END, days=2, limit=5)
    assert masked.is_masked
    assert {row["user_id"] for row in masked.rows} == {open_mask(load_settings()).user_id("u000002")}
    assert "u000002" not in str(masked.document())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODCAST_SHOW_USER_IDS", "true")
        shown = ask(FACTS, user="u000002", end=END, days=2, limit=5)
    assert not shown.is_masked
    assert {row["user_id"] for row in shown.rows} == {"u000002"}


# As a person types it


@by_name(list(QUESTIONS))
def test_json_is_one_document_and_nothing_else(asked: Home, question: Question) -> None:
    done = podcast(asked, question.name, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert list(document)[:3] == ["question", "window", "rows"]
    assert document["question"] == question.name
    assert document["rows"]


def test_the_compiler_says_nothing_on_standard_output(asked: Home) -> None:
    done = podcast(asked, "top-completed", "--end", "2024-03-03", "--days", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["window"] == {"start": "2024-03-01", "end": "2024-03-03"}
    assert {"episode_id": "harmful", "title": TEXT, "podcast_id": "p99", "completion_count": 2} in document["rows"]


def test_the_table_is_whole_in_a_narrow_terminal_and_harmless(asked: Home) -> None:
    done = podcast(asked, "top-completed")
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(TEXT) in done.stdout
    assert "\x1b" not in done.stdout
    assert "completion_count" in done.stdout
    assert "from 2024-02-26 up to and without 2024-03-04 (UTC)" in done.stdout


def test_no_row_is_said(asked: Home) -> None:
    window = ("--end", "1999-01-01")
    assert "There is no row." in podcast(asked, "multi-episode", *window).stdout
    assert json.loads(podcast(asked, "multi-episode", *window, "--json").stdout)["rows"] == []


@pytest.mark.parametrize(
    "wrong",
    [("--end", "2024-02-30"), ("--end", "now"), ("--days", "0"), ("--days", "x"), ("--end", "0001-01-02")],
    ids=" ".join,
)
def test_wrong_values_are_refused(asked: Home, wrong: tuple[str, ...]) -> None:
    done = podcast(asked, "top-completed", *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert wrong[1] in done.stderr
    assert "Traceback" not in done.stderr


# Nobody in the way

HOLDER = """
import sys
from flows.settings import load_settings
from flows.warehouse import connect, writer_lock
settings = load_settings()
with writer_lock(settings, purpose="test"), connect(settings) as connection:
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Another process has the right to write, and the working database open."""
    environment = os.environ | {"PODCAST_HOME": str(home.path)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate()


def everything(home: Home) -> dict[str, tuple[int, int]]:
    """All that is there, but for what belongs to dbt."""
    paths = [path for path in home.path.rglob("*") if path.is_file() and home.path / "dbt" not in path.parents]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_it_answers_while_another_process_writes_and_writes_nothing(asked: Home) -> None:
    window = ("--end", "2024-01-11", "--days", "2")
    ask(FACTS, limit=1)  # the key of the mask is there
    with held(asked):
        with pytest.raises(duckdb.Error, match="lock"):
            asked.query("select 1")
        before = everything(asked)
        done = [podcast(asked, *words, "--json") for words in (("listen-through",), ("top-completed", *window))]
        assert everything(asked) == before
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 2
    assert all(json.loads(one.stdout)["rows"] for one in done)


def test_several_may_ask_at_once(asked: Home) -> None:
    ends = [f"2024-01-{day}" for day in (11, 12, 13)]
    environment = os.environ | {"PODCAST_HOME": str(asked.path)}
    words = [[podcast_command(), "ask", "top-completed", "--end", end, "--days", "2", "--json"] for end in ends]
    asking = [
        subprocess.Popen(one, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for one in words
    ]
    answers = [process.communicate(timeout=300) for process in asking]
    assert [errors for _, errors in answers] == [""] * 3
    answered = [json.loads(output)["window"]["end"] for output, _ in answers]
    assert answered == ends


# What cannot be answered


def test_nothing_is_published_yet(home: Home) -> None:
    with pytest.raises(PipelineError, match="podcast run"):
        ask(ASK["listen-through"])
    assert not (home.path / "warehouse").exists()


def test_a_copy_of_an_earlier_version_is_told_of(asked: Home, home: Home) -> None:
    copy = home.path / "warehouse" / "published.duckdb"
    copy.parent.mkdir()
    shutil.copyfile(asked.path / "warehouse" / "published.duckdb", copy)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("drop table gold.listen_through_by_country")
        connection.execute("alter table gold.multi_episode_listeners_daily drop column event_date")
    for name in ("listen-through", "multi-episode"):
        with pytest.raises(PipelineError, match=f"(?s){name}.*earlier version.*podcast run"):
            ask(ASK[name])
    copy.write_bytes(b"no database")
    with pytest.raises(DamagedWarehouseError, match=r"published\.duckdb"):
        ask(ASK["listen-through"])


def test_broken_reference_data_is_no_matter(asked: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is published was made of other files."""
    del asked
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "0.csv").write_bytes(b"user_id,\xff\n")
    shutil.copyfile(DBT_PROJECT / "seeds" / "episodes.csv", tmp_path / "episodes.csv")
    monkeypatch.setenv("PODCAST_SEEDS", str(tmp_path))
    assert ask(ASK["top-completed"], end=END, days=2).rows


def test_a_window_before_the_calendar_is_refused(asked: Home) -> None:  # noqa: ARG001 - its home
    with pytest.raises(SettingsError, match="before the year 1"):
        ask(ASK["multi-episode"], end=date(2024, 1, 1), days=10**6)
