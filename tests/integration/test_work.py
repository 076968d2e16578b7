"""What a run does, counted: statements of each gate, rows that the engine reads, files that are opened.

None of it depends on how fast the machine is, so that a test can hold it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from comparison import write_reference_data
from lines import event, lines

from flows import checkpoints
from flows.domain import Gate, RunStatus

if TYPE_CHECKING:
    from conftest import Home

USERS = [("u1", None, "NO"), ("u2", None, "NO")]
EPISODES = [("e1", "p1", "One", None, 1000)]

MOST_STATEMENTS = {Gate.RAW: 34, Gate.VALIDATED: 32, Gate.CLEANSED: 43, Gate.GOLD: 43}
"""Of each gate, with a few to spare for another expectation."""
DAYS, EVENTS_A_DAY = 4, 125_000
"""Of the history: the engine keeps some 120,000 rows together, and reads all of them or none."""
KEPT_NARROW = ("cleansed_events", "fact_user_interactions", "cleansed_rows", "gold_rows", "validated_rows", "raw_rows")
"""What of the rows of a history has to be left alone by a run with a small new file."""
HANDS_ON_FEW = ("batch_profiles", "touched_listening")
"""What looks for few rows among all: these alone are to come out of reading, and none to be kept meanwhile."""


class Work:
    """What the engine was asked, by dbt and by the gates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper

        from flows import sqlalchemy_dialect

        self.statements: Counter[Gate] = Counter()
        self.rows: dict[str, int] = defaultdict(int)
        self.handed_on: dict[str, int] = defaultdict(int)
        self._gate: Gate | None = None
        self._note_gates(monkeypatch)
        for cursor in (DuckDBCursorWrapper, sqlalchemy_dialect._FetchedCursor):
            self._note_statements(monkeypatch, cursor)

    def _note_gates(self, monkeypatch: pytest.MonkeyPatch) -> None:
        validate = checkpoints.validate

        def noted(settings: Any, gate: Gate, **options: Any) -> Any:
            self._gate = gate
            try:
                return validate(settings, gate, **options)
            finally:
                self._gate = None

        monkeypatch.setattr(checkpoints, "validate", noted)

    def _note_statements(self, monkeypatch: pytest.MonkeyPatch, cursor: type) -> None:
        execute = cursor.execute  # type: ignore[attr-defined]

        def noted(own: Any, sql: str, *args: Any, **options: Any) -> Any:
            own._cursor.execute("set enable_profiling = 'no_output'")
            result = execute(own, sql, *args, **options)
            if self._gate:
                self.statements[self._gate] += 1
            profile = json.loads(own._cursor.get_profiling_information("json") or "{}")
            self._note_rows(sql, profile.get("query", {}))
            return result

        monkeypatch.setattr(cursor, "execute", noted)

    def _note_rows(self, sql: str, profile: dict[str, Any]) -> None:
        for name in KEPT_NARROW:
            if f'model.podcast.{name}"' in sql or f"ops.{name}" in sql:
                self.rows[name] = max(self.rows[name], int(profile.get("total_rows_scanned", 0)))
        for name in HANDS_ON_FEW:
            if f'model.podcast.{name}"' in sql:
                handed_on = int(profile.get("total_intermediate_rows", 0))
                self.handed_on[name] = max(self.handed_on[name], handed_on)


def day_of_events(day: int, count: int) -> bytes:
    """Events of one day, each of its own key, by their minutes; of a thousand, one is in the far future."""
    seek = '{{"event_type": "seek", "user_id": "u1", "episode_id": "e1", "timestamp": "{}-01-{:02}T{}.{:03}Z"}}'
    times = (f"{n // 6000:02}:{n // 100 % 60:02}:{n % 60:02}" for n in range(count))
    years = (2024 if n % 1000 else 2999 for n in range(count))
    moments = zip(years, times, strict=True)
    return lines(*(seek.format(year, day, time, n % 997) for n, (year, time) in enumerate(moments)))


@pytest.fixture
def known(home: Home) -> Home:
    """A home whose reference data has the user and the episode."""
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    return home


def test_a_gate_asks_as_much_of_one_batch_as_of_many(known: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    known.land({"a.json": lines(event(0))})
    work = Work(monkeypatch)
    assert known.run().status is RunStatus.PASSED
    of_one = dict(work.statements)
    assert set(of_one) == set(Gate)
    assert {gate: n for gate, n in of_one.items() if n > MOST_STATEMENTS[gate]} == {}
    work.statements.clear()
    known.land({f"b{n}.json": lines(event(n)) for n in range(1, 30)})
    assert known.run().status is RunStatus.PASSED
    assert known.query("select count(*) from ops.batches where status = 'published'") == [(30,)]
    assert dict(work.statements) == of_one


def test_what_a_small_file_does_not_touch_is_not_read(known: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    known.land({f"{day}.json": day_of_events(day, EVENTS_A_DAY) for day in range(1, DAYS + 1)})
    assert known.run().status is RunStatus.PASSED
    known.land({"new.json": day_of_events(DAYS + 1, 100).replace(b'"u1"', b'"u2"')})
    work = Work(monkeypatch)
    assert known.run().status is RunStatus.PASSED
    assert set(work.rows) == set(KEPT_NARROW)
    assert {name: n for name, n in work.rows.items() if n > DAYS * EVENTS_A_DAY / 2} == {}
    assert set(work.handed_on) == set(HANDS_ON_FEW)
    assert {name: n for name, n in work.handed_on.items() if n > DAYS * EVENTS_A_DAY / 2} == {}


def test_a_first_load_lists_nothing_that_it_could_replace(known: Home) -> None:
    touched = "select (select count(*) from ops.touched_keys), (select count(*) from ops.touched_listening)"
    known.land({"a.json": lines(event(0), event(1))})
    assert known.run().status is RunStatus.PASSED
    assert known.query(touched) == [(0, 0)]
    known.land({"b.json": lines(event(2))})
    assert known.run().status is RunStatus.PASSED
    assert known.query(touched) == [(1, 1)]


_opened: list[str] | None = None


def _note_opened(audited: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and audited == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_note_opened)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that this process opens meanwhile."""
    global _opened  # noqa: PLW0603 - a hook can not be taken away
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def test_a_file_is_opened_once_and_a_known_one_not_at_all(known: Home) -> None:
    known.land({f"a{n}.json": lines(event(n)) for n in range(5)})
    landing = str(known.path / "landing")
    with opened() as paths:
        assert known.run().status is RunStatus.PASSED
    assert Counter(p for p in paths if p.startswith(landing) and p.endswith(".json")) == {
        f"{landing}/a{n}.json": 1 for n in range(5)
    }
    known.land({"b.json": lines(event(30))})
    with opened() as paths:
        assert known.run().status is RunStatus.PASSED
    assert [p for p in paths if p.startswith(landing) and p.endswith(".json")] == [f"{landing}/b.json"]
