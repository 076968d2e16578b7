"""What is said about faults, and that the page about them names tests that exist."""

from __future__ import annotations

import errno
import re
import shutil
import traceback
from pathlib import Path

import duckdb
import pytest

from flows import faults
from flows.errors import (
    DamagedWarehouseError,
    DiskFullError,
    LandingError,
    MemoryLimitError,
    NotPermittedError,
    PipelineError,
    TransformError,
    WarehouseLockedError,
)
from flows.settings import PROJECT_ROOT, Settings
from flows.warehouse import connect

PAGE = (PROJECT_ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
TESTS = (PROJECT_ROOT / "tests" / "integration" / "test_faults.py").read_text(encoding="utf-8")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_every_fault_of_the_page_names_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (?!fault |-).* \|$", PAGE, re.MULTILINE)
    assert rows
    for row in rows:
        path, _, test = row.rpartition("| `")[2].removesuffix("` |").partition("::")
        content = (PROJECT_ROOT / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in content, row
    assert "docs/faults.md" in (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def test_every_test_of_a_fault_stands_on_the_page() -> None:
    assert set(re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE)) <= set(re.findall(r"::(\w+)`", PAGE))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (OSError(errno.EFBIG, "File too large"), DiskFullError),
        (duckdb.IOException('Could not write file "x": No space left on device'), DiskFullError),
        (duckdb.OutOfMemoryException("failed to offload: the 'max_temp_directory_size' setting"), DiskFullError),
        (TransformError("dbt could not build\nx: [Errno 28] No space left on device"), DiskFullError),
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data of size 1.0 GiB"), MemoryLimitError),
        (PermissionError(errno.EACCES, "Permission denied", "/x/users.csv"), NotPermittedError),
        (OSError(errno.EROFS, "Read-only file system", "/x"), NotPermittedError),
        (duckdb.Error("Corrupt database file: computed checksum 1 does not match 2"), DamagedWarehouseError),
        (duckdb.FatalException("database has been invalidated\nCorrupt database file: x"), DamagedWarehouseError),
        (duckdb.IOException("Could not set lock: Conflicting lock is held in p (PID 7)"), WarehouseLockedError),
    ],
    ids=str,
)
def test_a_fault_is_told_apart(settings: Settings, error: Exception, kind: type[PipelineError]) -> None:
    explained = faults.explain(error, settings)
    assert type(explained) is kind
    assert str(settings.home) in str(explained) or kind in (NotPermittedError, MemoryLimitError)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Is a directory"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "Corrupt database file"),
        LandingError("The landing directory cannot be read: Permission denied."),
        DiskFullError("The disk is full: No space left on device"),
        duckdb.CatalogException("Table with name x does not exist"),
    ],
    ids=str,
)
def test_what_is_no_fault_of_the_surroundings_is_let_through(settings: Settings, error: Exception) -> None:
    assert faults.explain(error, settings) is None
    with pytest.raises(type(error)) as raised, faults.in_words(settings):
        raise error
    assert raised.value is error


def test_what_is_known_about_the_room_is_said(settings: Settings) -> None:
    settings.warehouse_path.parent.mkdir()
    settings.warehouse_path.write_bytes(bytes(3 * 2**20))
    said = str(faults.explain(OSError(errno.ENOSPC, "No space left on device"), settings))
    assert re.search(r"has [0-9.,]+ MB free", said)
    assert "The working database takes 3.0 MB, the published copy 0.0 MB" in said
    nowhere = Settings(home=settings.home / "nowhere")
    assert "free" not in str(faults.explain(OSError(errno.ENOSPC, "No space left on device"), nowhere))


def test_a_fault_behind_an_error_of_the_server_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    full = DiskFullError("The disk is full")
    with pytest.raises(RuntimeError) as raised:  # noqa: PT012
        try:
            raise full
        except DiskFullError:
            raise RuntimeError("500 Internal Server Error")  # noqa: B904
    assert faults.find(raised.value, settings) is full

    unrelated = RuntimeError("500 Internal Server Error")
    assert faults.find(unrelated, settings) is None
    monkeypatch.setattr(faults.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))  # type: ignore[attr-defined]
    assert type(faults.find(unrelated, settings)) is DiskFullError


FAILING_QUERIES = [
    "select cast(id as integer) from listeners",
    "select cast(id as timestamp) from listeners",
    "select strptime(id, '%Y') from listeners",
    "select cast(id as enum ('a', 'b')) from listeners",
    "select cast(id as integer[]) from listeners",
    "select id::json from (select '{' || id as id from listeners)",
    "select json_extract('{' || id, '$.a') from listeners",
    "select decode(encode(id) || '\\xff'::blob) from listeners",
    "select cast(7000000000 + length(id) as integer) from listeners",
    "insert into unique_ids select id from listeners",
    "select cast(id as uuid) from listeners",
    "select regexp_matches(id, '(' || id) from listeners",
]


@pytest.mark.parametrize("query", FAILING_QUERIES)
def test_an_error_of_the_engine_does_not_quote_a_value(settings: Settings, query: str) -> None:
    with pytest.raises(duckdb.Error) as raised, connect(settings) as connection:  # noqa: PT012 - the table is needed
        connection.execute("create table listeners as select 'Kanari''s 7000000000\n7000000000' as id")
        connection.execute("create table unique_ids (id varchar unique)")
        connection.execute("insert into unique_ids select id from listeners")
        connection.execute(query).fetchall()
    said = "".join(traceback.format_exception(raised.value))
    assert raised.value.args == (str(raised.value),)
    assert "Kanari" not in said
    assert "70000000" not in said
    assert " Error: " in str(raised.value)
    assert faults.told(raised.value) == str(raised.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('IO Error: Could not read "/x/2024/a b": it is gone', 'IO Error: Could not read "/x/2024/a b": it is gone'),
        ('Catalog Error: Table "x" is not there', 'Catalog Error: Table "x" is not there'),
        ("no error of the engine, 'quoted'", "no error of the engine, 'quoted'"),
        (
            "Runtime Error in model m (m.sql)\n  Conversion Error: Could not convert string 'Kanari'\n",
            "Runtime Error in model m (m.sql)\n  Conversion Error: Could not convert string [the value is not shown]",
        ),
        (
            "Runtime Error in seed users (seeds/users.csv)\n  'Kanari' is no date",
            "Runtime Error in seed users (seeds/users.csv) [the value is not shown]",
        ),
        (
            'FATAL Error: invalid. Original error: "Constraint Error: Duplicate key "id: Kanari"',
            'FATAL Error: invalid. Original error: "Constraint Error: Duplicate key [the value is not shown]',
        ),
        (
            "Invalid Input Error: CSV Error on Line: 3\nOriginal Line: Kanari,NO",
            "Invalid Input Error: CSV Error on Line [the value is not shown]",
        ),
    ],
)
def test_what_is_said_ends_before_a_value(text: str, shown: str) -> None:
    assert faults.without_values(text) == shown


def test_of_an_unknown_error_its_kind_is_told() -> None:
    assert "Kanari" not in faults.told(KeyError("Kanari"))
    assert faults.told(KeyError("Kanari")).startswith("KeyError")
    assert faults.told(KeyboardInterrupt()) == "ended from outside: KeyboardInterrupt"
    assert faults.told(TransformError("dbt could not")) == "dbt could not"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Runtime Error in seed users (seeds/users.csv)\n  IO Error: Could not write: No space left on device", "full"),
        ("Invalid Input Error: Attempting to execute 'u1'\nError: IO Error: No space left on device", "full"),
        ("Runtime Error in seed users (seeds/users.csv)\n  Permission denied", "forbidden"),
    ],
)
def test_what_is_wrong_with_the_surroundings_is_known_behind_the_cut(settings: Settings, text: str, kind: str) -> None:
    shown = faults.without_values(text)
    assert "u1" not in shown
    explained = faults.explain(TransformError(f"dbt could not build it.\n{shown}"), settings)
    assert isinstance(explained, {"full": DiskFullError, "forbidden": NotPermittedError}[kind])


def test_a_long_value_is_cut_off_unseen() -> None:
    """In no time: whoever waits for this holds the lock of the warehouse."""
    shown = faults.without_values(f"Conversion Error: Could not convert string '{'A' * 300_000}' to INT32")
    assert shown == "Conversion Error: Could not convert string [the value is not shown]"
    assert len(faults.without_values("A" * 300_000)) == faults.LONGEST
