"""The SQL of listens and of what is made of them, over events at the edges of its rules.

Many small worlds, and dbt once: it compiles, and `scratch_marts` runs what it compiled. `make test-long` takes many
more worlds, and other ones each time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import marts_oracle
import pytest
from comparison import assert_nearly_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marts_oracle import MartRules, Version, event_end
from oracle import KINDS_WITH_DURATION, Episode, Fact
from scratch_marts import MARTS, Rows, ScratchMarts, Touched, World, compile_marts

IS_LONG = settings.get_current_profile_name() == "long"


def examples(count: int) -> settings:
    """So many, always the same; under `make test-long` many more, and other ones each time."""
    return settings(
        max_examples=count * settings().max_examples if IS_LONG else count,
        derandomize=not IS_LONG,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchMarts]:
    scratch = ScratchMarts(compile_marts(tmp_path_factory.mktemp("compiled")))
    with scratch.connection:
        yield scratch


# --- Worlds -------------------------------------------------------------------------------------

START = datetime.fromisoformat("2024-03-10T23:30:00")
LOAD_AT = datetime.fromisoformat("2024-06-01T12:00:00")
GAP = timedelta(minutes=30)
TICK = timedelta(microseconds=1)
EPISODES = ("one", "two", "three", "stray")

seconds = st.sampled_from((1, 47, 48, 57, 59, 60, 61, 399, 400, 950, 1000, 1199, 1200, 86_400)) | st.integers(1, 86_400)
lengths = st.sampled_from((None, 0, 1, 50, 59, 60, 61, 1000, 3000, 86_400))
ticks = st.sampled_from((-TICK, timedelta(0), timedelta(0), TICK))


class Step(NamedTuple):
    """One more event, by when it comes after the last one of the same user, or of the same user and episode."""

    user_id: str
    episode_id: str
    event_type: str
    seconds: int
    is_at_once: bool
    is_after_any_episode: bool
    is_after_end: bool
    wait: timedelta
    is_at_midnight: bool
    tick: timedelta

    def moment(self, last: Fact | None) -> datetime:
        if last is None:
            return START
        if self.is_at_once:
            return last.timestamp
        moment = (event_end(last) if self.is_after_end else last.timestamp) + self.wait
        if self.is_at_midnight:
            moment = datetime.combine(moment.date() + timedelta(days=1), time.min)
        return moment + self.tick


rarely = st.sampled_from((False, False, False, True))
waits = st.sampled_from(
    (*(timedelta(0),) * 3, *(GAP,) * 4, -GAP, timedelta(seconds=1), timedelta(days=1), timedelta(days=7))
)
steps = st.builds(
    Step,
    st.sampled_from(("ann", "ann", "ann", "ben")),
    st.sampled_from(("one", "one", "one", "two", "three", "stray")),
    st.sampled_from(("play", "play", "complete", "pause", "seek")),
    seconds,
    rarely,
    rarely,
    st.booleans(),
    waits,
    rarely,
    ticks,
)


@st.composite
def meetings(draw: st.DrawFn) -> list[Step]:
    """A play, another event at the same time, and one after the gap since that time: their order tells the session."""
    first, second, third = (draw(steps)._replace(user_id="cat", episode_id="one") for _ in range(3))
    return [
        first._replace(event_type="play", is_at_once=False, is_after_any_episode=False, wait=timedelta(days=1)),
        second._replace(event_type=draw(st.sampled_from(("complete", "pause", "seek"))), is_at_once=True),
        third._replace(is_at_once=False, is_after_end=False, is_at_midnight=False, wait=GAP),
    ]


@st.composite
def weeks(draw: st.DrawFn) -> list[Step]:
    """A first listen, and one of another episode seven days later."""
    first, second = (draw(steps)._replace(user_id="dan", event_type="play", is_at_once=False) for _ in range(2))
    later = second._replace(is_after_any_episode=True, is_after_end=False, is_at_midnight=False, wait=timedelta(days=7))
    return [first._replace(episode_id="one"), later._replace(episode_id="two")]


several = st.lists(steps, min_size=1, max_size=40) | st.lists(steps, min_size=25, max_size=40)


@st.composite
def crowds(draw: st.DrawFn) -> list[Step]:
    """Steps that have little to do with each other, and some that have."""
    return [*draw(several), *draw(st.just([]) | meetings()), *draw(st.just([]) | weeks())]


def facts_of(taken: Sequence[Step]) -> list[Fact]:
    """The events of these steps; two of them may have one key."""
    last: dict[tuple[str, ...], Fact] = {}
    facts = []
    for number, step in enumerate(taken):
        pair, user = last.get((step.user_id, step.episode_id)), last.get((step.user_id,))
        timestamp = step.moment(user if step.is_after_any_episode or pair is None else pair)
        fact = Fact(
            user_id=step.user_id,
            episode_id=step.episode_id,
            event_type=step.event_type,
            timestamp=timestamp,
            event_date=timestamp.date(),
            duration=step.seconds if step.event_type in KINDS_WITH_DURATION else None,
            load_at=LOAD_AT + timedelta(minutes=number * 7 % 5),
        )
        last[step.user_id,] = last[step.user_id, step.episode_id] = fact
        facts.append(fact)
    return facts


def in_force(facts: Sequence[Fact]) -> list[Fact]:
    """One fact of each key."""
    return list({(f.user_id, f.episode_id, f.event_type, f.timestamp): f for f in facts}.values())


@st.composite
def reference_rows(draw: st.DrawFn, episode_id: str) -> Episode:
    podcast_id = draw(st.sampled_from(("show", "show", "show", "other", None)))
    release_date = draw(st.sampled_from((None, START.date(), START.date() + timedelta(days=1))))
    return episode_id, podcast_id, None, release_date, draw(lengths)


@st.composite
def moments(draw: st.DrawFn, facts: Sequence[Fact]) -> datetime:
    """When a version may begin: at an event, a microsecond from one, or before all of them."""
    return draw(st.sampled_from([START - timedelta(days=9), *(fact.timestamp for fact in facts)])) + draw(ticks)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    facts = in_force(facts_of(draw(crowds())))
    episodes = [draw(reference_rows(episode_id)) for episode_id in EPISODES if episode_id != "stray"]
    versions = [
        Version(episode_id, draw(lengths), moment)
        for episode_id in EPISODES
        for moment in draw(st.lists(moments(facts), max_size=3, unique=True))
    ]
    return World(facts, episodes, versions)


@dataclass(frozen=True)
class Run:
    """The world after a run, and what the run worked on."""

    world: World
    touched: Touched


@st.composite
def histories(draw: st.DrawFn) -> list[Run]:
    """Events come in any order, some go again or are replaced; reference data comes, changes and goes."""
    count = draw(st.integers(2, 4))
    facts = facts_of(draw(crowds()))
    number = st.integers(0, count - 1)
    stays = [(draw(number), draw(st.sampled_from((count, count, count, *range(1, count))))) for _ in facts]
    rows: dict[str, Episode] = {}
    versions: dict[tuple[str, datetime], Version] = {}
    runs = []
    for run in range(count):
        changed = EPISODES[:-1] if run == 0 else draw(st.lists(st.sampled_from(EPISODES), max_size=2, unique=True))
        for episode_id in changed:
            rows.pop(episode_id, None)
            if run == 0 or draw(st.sampled_from((True, True, False))):
                rows[episode_id] = draw(reference_rows(episode_id))
                moment = draw(moments(facts))
                versions.setdefault((episode_id, moment), Version(episode_id, rows[episode_id][-1], moment))
        held = [fact for fact, (first, end) in zip(facts, stays, strict=True) if first <= run < end]
        moved = [fact for fact, stay in zip(facts, stays, strict=True) if run in stay and stay[0] < stay[1]]
        world = World(in_force(held), list(rows.values()), list(versions.values()))
        runs.append(Run(world, Touched(moved, changed)))
    return runs


# --- Properties ---------------------------------------------------------------------------------


def assert_as_the_oracle(found: ScratchMarts, world: World) -> None:
    users = sorted({fact.user_id for fact in world.facts})
    expected = marts_oracle.evaluate_marts(
        world.facts, [(user, None, None, True) for user in users], world.dim_episodes(), world.versions, MartRules()
    )
    for mart in MARTS:
        rows = found.rows(mart, marts_oracle.columns(mart))
        assert_nearly_same(rows, marts_oracle.rows(expected, mart), mart)


@examples(100)
@given(world=worlds())
def test_the_sql_equals_the_oracle(marts: ScratchMarts, world: World) -> None:
    built = marts.build(world)

    assert_as_the_oracle(marts, world)
    ids = [listen_id for listen_id, *_ in built["fact_listens"]]
    assert len(ids) == len(set(ids))


@examples(30)
@given(data=st.data(), world=worlds())
def test_the_order_of_the_rows_changes_nothing(marts: ScratchMarts, data: st.DataObject, world: World) -> None:
    built = marts.build(world)
    shuffled = World(*(data.draw(st.permutations(rows)) for rows in (world.facts, world.episodes, world.versions)))

    assert marts.build(shuffled) == built


@examples(60)
@given(runs=histories())
def test_runs_leave_what_a_full_refresh_makes(marts: ScratchMarts, runs: list[Run]) -> None:
    marts.build(runs[0].world)
    for run in runs[1:]:
        left = marts.update(run.world, run.touched)
        assert_as_the_oracle(marts, run.world)

    assert left == marts.build(runs[-1].world)


@examples(30)
@given(world=worlds(), days=st.sampled_from((1, 7, 29, 365, -1, -70)))
def test_days_later_all_is_the_same_but_for_the_days(marts: ScratchMarts, world: World, days: int) -> None:
    shift = timedelta(days=days)
    built = marts.build(world)
    shifted = marts.build(
        World(
            [replace(f, timestamp=f.timestamp + shift, event_date=f.event_date + shift) for f in world.facts],
            [(e, podcast, title, day and day + shift, length) for e, podcast, title, day, length in world.episodes],
            [replace(v, valid_from=v.valid_from + shift) for v in world.versions],
        )
    )
    for mart in MARTS:
        columns = marts.columns(mart)
        expected = [[_later(value, shift) for value in _of_time(columns, row)] for row in built[mart]]
        found = [_of_time(columns, row) for row in shifted[mart]]
        assert sorted(found, key=repr) == sorted(expected, key=repr)


def _of_time(columns: list[str], row: tuple[Any, ...]) -> list[Any]:
    """Without the hash of the time, and without the time of loading, which is not shifted."""
    pairs = zip(columns, row, strict=True)
    return [value for column, value in pairs if column not in ("listen_id", "last_load_at")]


def _later(value: Any, shift: timedelta) -> Any:
    return value + shift if isinstance(value, date) else value


@examples(40)
@given(world=worlds())
def test_every_play_and_completion_is_in_one_listen(marts: ScratchMarts, world: World) -> None:
    """In that which began last: by their ends listens may overlap, as a seek in a long play ends the wait early."""
    marts.build(world)
    names = ("user_id", "episode_id", "started_at", "ended_at", "starts", "event_count", "is_completed")
    listens: dict[tuple[str, str], Rows] = defaultdict(list)
    for user_id, episode_id, *rest in marts.rows("fact_listens", names):
        listens[user_id, episode_id].append(tuple(rest))
    counted: Counter[tuple[str, str, datetime, str]] = Counter()
    for fact in world.facts:
        if fact.event_type in KINDS_WITH_DURATION:
            began = [row for row in listens[fact.user_id, fact.episode_id] if row[0] <= fact.timestamp]
            started_at, ended_at, *_ = max(began)
            assert event_end(fact) <= ended_at
            counted[fact.user_id, fact.episode_id, started_at, fact.event_type] += 1
    for (user_id, episode_id), rows in listens.items():
        for started_at, _, starts, event_count, is_completed in rows:
            completions = counted[user_id, episode_id, started_at, "complete"]
            assert starts == counted[user_id, episode_id, started_at, "play"]
            assert is_completed == (completions > 0)
            assert 0 < starts + completions <= event_count
        assert all(one[0] < other[0] for one, other in pairwise(sorted(rows)))
