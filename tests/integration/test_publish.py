"""The published copy: what of it a run writes, and when it is made anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from comparison import snapshot, write_reference_data
from lines import event, lines

from flows import publish, spare, warehouse
from flows.decisions import discard_batches
from flows.domain import RunStatus
from flows.errors import PublishError
from flows.unpublished import Anew, Change, Replacement

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Home

USERS = [("u1", None, "NO")]
EPISODES = [("e1", "p1", "One", None, 1000), ("e2", "p1", "Two", None, 1000)]
REPLACED = {
    "silver.cleansed_events",
    "gold.fact_user_interactions",
    "gold.fact_listens",
    "gold.episode_daily",
    "gold.episode_listen_through",
    "gold.listener_daily",
    "gold.listener_episodes",
}
"""What grows with the history, at the least."""
OF_REFERENCE_DATA = {"silver.users", "silver.episodes", "silver.users_history", "silver.episodes_history"}


@pytest.fixture
def published(home: Home) -> Home:
    """A home with two published files."""
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    home.land({"a.json": lines(*(event(m) for m in range(5)), *(event(m, user="u2") for m in range(5)))})
    home.land({"b.json": lines(event(3, duration=7), event(50))})
    home.run()
    return home


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Change]:
    """The tables of the copy that runs write, and how."""
    found: dict[str, Change] = {}
    bring_up = publish._bring_up

    def noted(connection: Any, table: str, change: Change) -> None:
        found[table] = change
        bring_up(connection, table, change)

    monkeypatch.setattr(publish, "_bring_up", noted)
    return found


def assert_copy_is_whole(home: Home) -> None:
    """Everything in silver and gold is in the copy as in the working database."""
    assert home.query("select count(*) from ops.batches where status = 'quarantined'") == [(0,)]
    there = snapshot(published_file(home))
    assert there == {name: rows for name, rows in snapshot(working_file(home)).items() if name in publish.TABLES}
    assert set(there) | {t for t in publish.TABLES if t.endswith("_history") or t.startswith("ops.")} == {
        *publish.TABLES
    }


def published_file(home: Home) -> Path:
    return home.path / "warehouse" / "published.duckdb"


@contextmanager
def open_file_of_another_process(path: Path) -> Iterator[Callable[[str], int]]:
    """A database that another process has opened read-only: how many rows a table has, as that process reads it."""
    reading = (
        "import duckdb, sys\nc = duckdb.connect(sys.argv[1], read_only=True)\nprint(0, flush=True)\n"
        "for t in sys.stdin: print(c.execute(f'select count(*) from {t}').fetchone()[0], flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reading, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, answers = process.stdin, process.stdout
        answers.readline()

        def count(table: str) -> int:
            print(table, file=asked, flush=True)
            return int(answers.readline())

        yield count
        asked.close()


def working_file(home: Home) -> Path:
    return home.path / "warehouse" / "podcast.duckdb"


def test_a_small_file_writes_its_own_rows_only(published: Home, written: dict[str, Change]) -> None:
    published.land({"c.json": lines(event(4, duration=9), event(55), event(7, user="u9"))})
    assert published.run().status is RunStatus.PASSED
    assert {t for t, change in written.items() if isinstance(change, Replacement)} >= REPLACED
    assert OF_REFERENCE_DATA.isdisjoint(written)
    assert_copy_is_whole(published)
    assert published.query("select count(*) from gold.dim_users", published=True) == [(3,)]


def test_a_batch_that_is_discarded_leaves_the_copy(published: Home, written: dict[str, Change]) -> None:
    discard_batches("by mistake", ["b.json"])
    assert isinstance(written["silver.cleansed_events"], Replacement)
    assert_copy_is_whole(published)
    assert published.query("select max(event_count) from gold.fact_listens", published=True) == [(5,)]


def test_a_title_that_changes_reaches_all_of_the_episode(published: Home, written: dict[str, Change]) -> None:
    write_reference_data(published.path / "seeds", USERS, [("e1", "p1", "Other", None, 500), *EPISODES[1:]])
    assert published.run().status is RunStatus.PASSED
    assert isinstance(written["gold.fact_listens"], Replacement)
    assert isinstance(written["silver.episodes"], Anew)
    assert_copy_is_whole(published)
    assert published.query("select max(episode_seconds) from gold.fact_listens", published=True) == [(1000,)]


def test_a_copy_that_somebody_has_changed_is_made_anew(published: Home, written: dict[str, Change]) -> None:
    with duckdb.connect(str(published_file(published))) as connection:
        connection.execute("delete from gold.fact_user_interactions where user_id = 'u2'")
    published.land({"c.json": lines(event(55))})
    assert published.run().status is RunStatus.PASSED
    assert set(written.values()) == {Anew()}
    assert_copy_is_whole(published)


def test_an_older_copy_in_its_place_is_made_anew(published: Home, written: dict[str, Change]) -> None:
    older = published.path / "older.duckdb"
    shutil.copy2(published_file(published), older)
    published.land({"c.json": lines(event(55))})
    published.run()
    shutil.copy2(older, published_file(published))
    published.land({"d.json": lines(event(56))})
    written.clear()
    assert published.run().status is RunStatus.PASSED
    assert set(written.values()) == {Anew()}
    assert_copy_is_whole(published)


def test_a_full_refresh_makes_it_anew(published: Home, written: dict[str, Change]) -> None:
    assert published.run(full_refresh=True).status is RunStatus.PASSED
    assert set(written.values()) == {Anew()}
    assert_copy_is_whole(published)


def test_a_column_more_makes_a_table_anew(published: Home, written: dict[str, Change]) -> None:
    with warehouse.open_file(working_file(published)) as connection:
        connection.execute("alter table silver.cleansed_events add column further integer")
    published.land({"c.json": lines(event(55))})
    published.run()
    assert isinstance(written["silver.cleansed_events"], Anew)
    assert isinstance(written["gold.fact_user_interactions"], Replacement)


def test_a_copy_that_lacks_rows_is_not_published_and_the_next_is_made_anew(
    published: Home, written: dict[str, Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    published.land({"c.json": lines(event(55))})
    before = snapshot(published_file(published))
    start = publish._start

    def without_notes(settings: Any, connection: Any, copy: Path) -> Any:
        connection.execute("delete from ops.unpublished_keys")
        return start(settings, connection, copy)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_start", without_notes)
        with pytest.raises(PublishError, match="cleansed_events has 11 rows instead of 12"):
            published.run()
    assert snapshot(published_file(published)) == before
    written.clear()
    assert published.run().status is RunStatus.PASSED
    assert set(written.values()) == {Anew()}
    assert_copy_is_whole(published)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were copied whole."""
    found: list[str] = []
    copy_file = warehouse.copy_file

    def noted(source: Path, target: Path) -> None:
        found.append(source.name)
        copy_file(source, target)

    monkeypatch.setattr(publish, "copy_file", noted)
    return found


def test_the_file_before_the_last_gets_the_changes_of_two_runs(published: Home, copied: list[str]) -> None:
    published.land({"c.json": lines(event(4, duration=9), event(55))})
    published.run()
    assert copied == ["published.duckdb"]
    copied.clear()
    published.land({"d.json": lines(event(56), event(4, duration=11), event(7, user="u9"))})
    published.run()
    assert_copy_is_whole(published)
    discard_batches("by mistake", ["c.json"])
    assert_copy_is_whole(published)
    assert published.query("select duration from silver.cleansed_events where filename = 'd.json'", published=True)
    assert copied == []


def test_whoever_has_opened_the_file_keeps_it_as_it_was(published: Home, copied: list[str]) -> None:
    published.land({"c.json": lines(event(55))})
    published.run()
    with open_file_of_another_process(published_file(published)) as count:
        for number in range(3):
            copied.clear()
            published.land({f"d{number}.json": lines(event(56 + number))})
            published.run()
            assert count("gold.fact_user_interactions") == 12
            assert copied == (["published.duckdb"] if number == 1 else [])
            assert_copy_is_whole(published)


def test_a_spare_after_everything_was_made_anew_is_none(published: Home, copied: list[str]) -> None:
    for name in "cd":
        published.land({f"{name}.json": lines(event(ord(name) - 70))})
        published.run()
    assert spare.path_beside(published_file(published)).exists()
    published.run(full_refresh=True)
    assert not spare.path_beside(published_file(published)).exists()
    copied.clear()
    published.land({"e.json": lines(event(58))})
    published.run()
    assert copied == ["published.duckdb"]
    assert_copy_is_whole(published)


def test_a_run_that_ended_between_rename_and_ledger_leaves_a_spare_that_is_gone_by(
    published: Home, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published.land({"c.json": lines(event(55))})
    published.run()
    published.land({"d.json": lines(event(56))})
    settle = publish._settle

    def ended(settings: Any, connection: Any, catalog: str, *others: Any) -> None:
        if catalog != "published":
            raise KeyboardInterrupt
        settle(settings, connection, catalog, *others)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_settle", ended)
        with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever becomes of it on its way
            published.run()
    assert published.query("select count(*) from gold.fact_user_interactions", published=True) == [(13,)]
    copied.clear()
    published.land({"e.json": lines(event(57))})
    published.run()
    assert copied == []
    assert_copy_is_whole(published)
