"""The hand-written script of the benchmark makes the tables that the pipeline publishes: two ways to one answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from contenders import by_hand
from whole.comparing import BRONZE, COMPARED, differences
from whole.data import made

EVENTS = 20_000


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The home of a run, and the database of the script over the same files."""
    root = tmp_path_factory.mktemp("benchmark")
    data = made(root, events=EVENTS, dirty=0.06)
    folders = {"HOME": root / "home", "LANDING": data.landing, "SEEDS": data.seeds}
    environment = os.environ | {f"PODCAST_{name}": str(path) for name, path in folders.items()}
    podcast = Path(sys.executable).with_name("podcast")
    subprocess.run([podcast, "run", "--strict"], env=environment, check=True, capture_output=True)
    database = root / "by_hand.duckdb"
    by_hand.run(data.landing, data.seeds, database)
    return root / "home", database


def test_every_table_is_the_same(both: tuple[Path, Path]) -> None:
    assert differences(*both) == {}


def test_there_is_something_to_compare(both: tuple[Path, Path]) -> None:
    with duckdb.connect(str(both[1]), read_only=True) as connection:
        empty = [table for table in COMPARED if not connection.execute(f"from {table} limit 1").fetchall()]
        codes = connection.execute(f"select distinct unnest(validation_errors) from {BRONZE}").fetchall()
        lines = connection.execute(f"select count(*), count(rescued_bytes) from {BRONZE}").fetchone()
    assert empty == []
    assert len(codes) == 14
    assert lines is not None
    assert lines[0] == EVENTS
    assert lines[1] > 0


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (BRONZE, "delete from {} where line_number = 5"),
        ("gold.fact_user_interactions", "insert into {0} select * from {0} limit 1"),
        ("gold.fact_listens", "update {} set last_load_at = last_load_at + interval 1 day where session_number = 2"),
        ("gold.quality_daily", "update {} set duplicates = duplicates + 1"),
    ],
)
def test_a_table_that_differs_is_named(both: tuple[Path, Path], table: str, change: str, tmp_path: Path) -> None:
    home, database = both
    changed = tmp_path / "changed.duckdb"
    changed.write_bytes(database.read_bytes())
    with duckdb.connect(str(changed)) as connection:
        connection.execute(change.format(table))
    assert set(differences(home, changed)) == {table}


def test_lines_that_are_not_utf8_are_set_aside_with_their_numbers(tmp_path: Path) -> None:
    landing, work = tmp_path / "landing", tmp_path / "work"
    landing.mkdir()
    work.mkdir()
    (landing / "a.json").write_bytes(b'\xef\xbb\xbf{}\n\xfc\r\n\n{"a": "\xc3\xbc"}\n\xff\xfe\nlast \xfc')
    by_hand.cut(landing, work)
    assert (work / "0" / "0-1.txt").read_bytes() == b'{}\n\n\n{"a": "\xc3\xbc"}\n'
    assert (work / "1" / "0-6.txt").read_bytes() == b""
    assert (work / "broken.csv").read_text().split() == ["0,2,fc", "0,5,fffe", "0,6," + b"last \xfc".hex()]
