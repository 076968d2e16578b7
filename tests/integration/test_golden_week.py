"""The golden week through the pipeline: in one run, in parts, with what comes long after, and a length that changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import golden_week
import pytest
from comparison import assert_marts, expected_world, write_reference_data
from conftest import Home
from marts_oracle import MartRules

if TYPE_CHECKING:
    from oracle import Episode, World

LINES = (golden_week.FOLDER / golden_week.EVENTS).read_bytes().splitlines(keepends=True)
PARTS = {"late.ndjson": LINES[2::3], "early.ndjson": LINES[::3], "between.ndjson": LINES[1::3]}
"""In the order in which they land: listens are torn apart, and what was sent twice comes in two files."""

NEW_LENGTHS = {"morning-1": 900, "nights-2": 3000}
"""Half of what it was, and one that was not known."""


@dataclass(frozen=True)
class Stage:
    """A copy of what a run published, and what the oracle makes of all that had landed by then."""

    published: Path
    world: World

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.published), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def run(home: Home, name: str, landed: dict[str, bytes], episodes: list[Episode]) -> Stage:
    """One run after these files landed."""
    home.land(landed)
    home.run()
    copy = home.path / f"{name}.duckdb"
    shutil.copyfile(home.path / "warehouse" / "published.duckdb", copy)
    files = {path.name: path.read_bytes() for path in (home.path / "landing").iterdir()}
    return Stage(copy, expected_world(copy, files, golden_week.users(), episodes))


def event(user: str, episode: str, event_type: str, at: datetime, seconds: int) -> bytes:
    names = ("user_id", "episode_id", "event_type", "timestamp", "duration")
    return json.dumps(dict(zip(names, (user, episode, event_type, at.isoformat(), seconds), strict=True))).encode()


def differences(published: Path) -> list[str]:
    """From the golden files, of all tables."""
    with duckdb.connect(str(published), read_only=True) as connection:
        tables = {table: connection.sql(f"from gold.{table}") for table in golden_week.TABLES}
        return [
            text
            for table, found in tables.items()
            for text in golden_week.differences(table, found.columns, found.fetchall())
        ]


@pytest.fixture(scope="module")
def week_home(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Home]:  # noqa: ARG001
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("week") / "home", patch)
        home.set(seeds=golden_week.FOLDER)
        yield home


@pytest.fixture(scope="module")
def week(week_home: Home) -> Stage:
    """The week in one run."""
    return run(week_home, "week", {golden_week.EVENTS: b"".join(LINES)}, golden_week.episodes())


@pytest.fixture(scope="module")
def later(week_home: Home, week: Stage) -> Stage:  # noqa: ARG001 - comes before
    """The week, and one event 60 days after its last."""
    play = event("ann", "nights-2", "play", datetime(2024, 3, 10, 9, tzinfo=UTC), 600)
    return run(week_home, "later", {"later.ndjson": play}, golden_week.episodes())


@pytest.fixture(scope="module")
def remeasured(week_home: Home, later: Stage) -> Stage:  # noqa: ARG001 - comes before
    """Two lengths have changed; an event is younger than that, and one belongs to the first day of the week."""
    episodes = [(*episode[:-1], NEW_LENGTHS.get(episode[0], episode[-1])) for episode in golden_week.episodes()]
    week_home.set(seeds=write_reference_data(week_home.path / "seeds", golden_week.users(), episodes))
    events = [
        event("ann", "morning-1", "play", datetime.now(UTC) + timedelta(minutes=30), 500),
        event("dan", "morning-1", "complete", datetime(2024, 1, 1, 12, 20, tzinfo=UTC), 1300),
    ]
    return run(week_home, "remeasured", {"remeasured.ndjson": b"\n".join(events)}, episodes)


# In one run, and in parts


def test_one_run_gives_the_golden_tables(week: Stage) -> None:
    assert differences(week.published) == []
    assert_marts(week.published, week.world)


def test_parts_in_another_order_give_the_golden_tables(home: Home) -> None:
    home.set(seeds=golden_week.FOLDER)
    stages = [run(home, name, {name: b"".join(lines)}, golden_week.episodes()) for name, lines in PARTS.items()]
    for stage in stages:
        assert_marts(stage.published, stage.world)
    assert [bool(differences(stage.published)) for stage in stages] == [True, True, False]


# Afterwards


@pytest.mark.parametrize(
    ("table", "is_over"),
    [
        ("episode_release_curve", "is_window_over and listeners is not null"),
        ("episode_transitions", "censored_listeners = 0 or episode_id = 'nights-2'"),
        ("listener_cohort_retention", "is_week_over and active_listeners is not null"),
    ],
    ids=lambda text: text.split()[0],
)
def test_windows_end_with_what_comes_later(week: Stage, later: Stage, table: str, is_over: str) -> None:
    still_open = f"select * from gold.{table} where not ({is_over})"
    assert week.query(still_open) != []
    assert later.query(still_open) == []


def test_what_comes_later_is_as_the_oracle_has_it(later: Stage) -> None:
    assert_marts(later.published, later.world)
    assert later.query("select max(week_number) from gold.listener_cohort_retention") == [(9,)]


def test_a_listen_keeps_the_length_of_its_time(later: Stage, remeasured: Stage) -> None:
    """Also one that is made anew: by the new length, its completion would be a qualified one."""
    of_dan = """
        select started_at, furthest_claim_seconds, episode_seconds, is_completion_qualified from gold.fact_listens
        where user_id = 'dan' and episode_id = 'morning-1'
    """
    noon = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - UTC without a zone, as everywhere
    assert later.query(of_dan) == [(noon, 100, 1800, False)]
    assert remeasured.query(of_dan) == [(noon, 1300, 1800, False)]
    by_length = """
        select episode_seconds, count(*) from gold.fact_listens where episode_id = 'morning-1'
        group by episode_seconds order by episode_seconds
    """
    ((_, before),) = later.query(by_length)
    assert remeasured.query(by_length) == [(900, 1), (1800, before)]


def test_a_first_length_holds_for_the_time_before_it(later: Stage, remeasured: Stage) -> None:
    lengths = "select distinct episode_seconds from gold.fact_listens where episode_id = 'nights-2'"
    assert later.query(lengths) == [(None,)]
    assert remeasured.query(lengths) == [(3000,)]


def test_what_was_remeasured_is_as_the_oracle_has_it(remeasured: Stage) -> None:
    assert_marts(remeasured.published, remeasured.world)


# By other rules


def test_changed_rules_of_listening_hold_for_what_was_there_before_too(home: Home) -> None:
    home.set(seeds=golden_week.FOLDER)
    before = run(home, "before", {golden_week.EVENTS: b"".join(LINES)}, golden_week.episodes())
    home.set(session_gap_minutes=5, valid_listen_seconds=1200)
    after = run(home, "after", {}, golden_week.episodes())

    rules = MartRules(session_gap_minutes=5, valid_listen_seconds=1200)
    assert_marts(after.published, after.world, rules)
    counts = "select count(*), count(*) filter (where is_valid) from gold.fact_listens"
    ((listens, valid),), ((more, fewer),) = before.query(counts), after.query(counts)
    assert more > listens
    assert fewer < valid
