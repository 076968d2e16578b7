"""The hand-written script of the benchmark makes the tables that the pipeline publishes: two ways to one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from contenders import by_hand
from whole.comparing import BRONZE, COMPARED, differences
from whole.data import made

if TYPE_CHECKING:
    from conftest import Home

EVENTS = 20_000
CHANGES = {
    BRONZE: "delete from {} where line_number = 5",
    "gold.fact_user_interactions": "insert into {0} select * from {0} limit 1",
    "gold.fact_listens": "update {} set last_load_at = last_load_at + interval 1 day where session_number = 2",
    "gold.quality_daily": "update {} set duplicates = duplicates + 1",
}


def test_every_table_is_the_same_and_one_that_is_not_is_named(home: Home, tmp_path: Path) -> None:
    data = made(tmp_path, events=EVENTS, dirty=0.06)
    home.set(landing=data.landing, seeds=data.seeds)
    assert home.run().quarantined == ()
    database = tmp_path / "by_hand.duckdb"
    by_hand.run(data.landing, data.seeds, database)
    assert differences(home.path, database) == {}
    assert_is_full(database)
    with duckdb.connect(str(database)) as connection:
        for table, change in CHANGES.items():
            connection.execute(change.format(table))
    assert set(differences(home.path, database)) == set(CHANGES)


def assert_is_full(database: Path) -> None:
    """Every table has rows, every code is among them, and a line that is not UTF-8."""
    with duckdb.connect(str(database), read_only=True) as connection:
        empty = [table for table in COMPARED if not connection.execute(f"from {table} limit 1").fetchall()]
        codes = connection.execute(f"select distinct unnest(validation_errors) from {BRONZE}").fetchall()
        lines = connection.execute(f"select count(*), count(rescued_bytes) from {BRONZE}").fetchall()
    assert empty == []
    assert len(codes) == 14
    ((all_lines, not_utf8),) = lines
    assert all_lines == EVENTS
    assert not_utf8 > 0


def test_lines_that_are_not_utf8_are_set_aside_with_their_numbers(tmp_path: Path) -> None:
    landing, work = tmp_path / "landing", tmp_path / "work"
    landing.mkdir()
    work.mkdir()
    (landing / "a.json").write_bytes(b'\xef\xbb\xbf{}\n\xfc\r\n\n{"a": "\xc3\xbc"}\n\xff\xfe\nlast \xfc')
    by_hand.cut(landing, work)
    assert (work / "0" / "0-1.txt").read_bytes() == b'{}\n\n\n{"a": "\xc3\xbc"}\n'
    assert (work / "1" / "0-6.txt").read_bytes() == b""
    assert (work / "broken.csv").read_text().split() == ["0,2,fc", "0,5,fffe", "0,6," + b"last \xfc".hex()]
