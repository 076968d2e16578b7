"""What is found in a landing directory, what is left alone, and what is new."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from strategies import landings

from flows import landing, ledger, loading, warehouse
from flows.domain import Arrival, Batch, BatchStatus, LandedFile, Landing, Plan, fingerprint
from flows.errors import LandingError
from flows.settings import Settings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "landing"
    path.mkdir()
    return path


def put(directory: Path, name: str, content: bytes = b"{}\n") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def find(directory: Path, *, known: dict[str, str] | None = None, settle_seconds: float = 0) -> Landing:
    return landing.find_files(directory, known=known or {}, settle_seconds=settle_seconds)


def names(found: Landing) -> list[str]:
    return [file.filename for file in found.files]


# --- Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "a.json",
        "a.ndjson",
        "a.jsonl",
        "a.json.gz",
        "a.ndjson.gz",
        "a.jsonl.zst",
        "a.b.c.json",
        "a.json.json",
        "a.csv.json",
        ".json",
        ".hidden.json",
        "a.gz.json",
        "-rf.json",
        " .json",
        "a.json.json.gz",
    ],
)
def test_event_file(name: str) -> None:
    assert landing.is_event_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "json",
        "a.JSON",
        "a.json.GZ",
        "a.json.bz2",
        "a.json.tmp",
        "a.json~",
        "a.json.gz.part",
        "a.gz",
        "a.zst",
        "a.csv",
        "a.json.",
        "a.json ",
        "a.json.gz.gz",
        "a.json.zst.zst",
        "a.json.gz.zst",
        "a.json.zst.gz",
        "ajson",
        "a.json5",
        "a.xjson",
        ".a.json.XyZ123",
        "",
    ],
)
def test_no_event_file(name: str) -> None:
    assert not landing.is_event_file(name)


def test_files_are_found_at_any_depth_in_order_of_their_names(directory: Path) -> None:
    expected = [
        "-/a.json",
        "B.json",
        "a.json",
        "a/b/c/d/e.json.gz",
        "b.json",
        "b/a.jsonl",
        "ü/日本.ndjson.zst",
    ]
    for name in reversed(expected):
        put(directory, name)
    found = find(directory)
    assert names(found) == expected
    assert (found.unsettled, found.ignored, found.refused) == ((), (), ())


HOSTILE = [
    ".hidden.json", ".git/x.json", "*.json", "?[a-z].json", "{a,b}.json", "it's.json", '"quoted".json',
    "'; drop table x; --.json", "$HOME.json", "$(id).json", "a|b&c;d.json", "new\nline.json", "tab\t.json",
    "back\\slash.json", " lead.json", "trail .json", "%2e%2e/%41.json", "{{ this }}.json", "<b>.json",
    "[link](x).json", "\u202egnp.json", "\u200b.json", "cafe\u0301.json", "caf\u00e9.json", "\U0001f3a7.json",
    "..dots.json", "...json", "folder.json/inside.json", "file:.json", "~.json", "x" * 200 + ".json",
]  # fmt: skip


def test_names_with_a_meaning_elsewhere_are_names(directory: Path) -> None:
    for number, name in enumerate(HOSTILE):
        put(directory, name, b"{}" * number)
    found = find(directory)
    assert names(found) == sorted(HOSTILE)
    for file in found.files:
        assert file.path == directory / file.filename
        assert file.size_bytes == 2 * HOSTILE.index(file.filename)
        assert file.path.read_bytes() == b"{}" * HOSTILE.index(file.filename)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(landings())
def test_every_file_of_any_landing_is_found(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    directory = tmp_path_factory.mktemp("landing")
    for name, content in files.items():
        put(directory, name, content)
    found = find(directory)
    assert {file.filename: file.path.read_bytes() for file in found.files} == files
    assert names(found) == sorted(files)
    assert (found.unsettled, found.ignored, found.refused) == ((), (), ())


def test_other_files_are_ignored_and_named(directory: Path) -> None:
    for name in ("b.csv", "a.json", "x/README.md", "a.json.tmp"):
        put(directory, name)
    (directory / "empty.json").mkdir()
    found = find(directory)
    assert names(found) == ["a.json"]
    assert found.ignored == ("a.json.tmp", "b.csv", "x/README.md")


def test_names_that_are_not_utf8_are_refused_and_shown_with_escapes(directory: Path) -> None:
    for name in (b"caf\xe9.json", b"caf\xe9.csv", b"\xff/a.json"):
        put(directory, os.fsdecode(name))
    put(directory, "a.json")
    found = find(directory)
    assert names(found) == ["a.json"]
    reason = "has a name that is not UTF-8; rename it"
    assert found.refused == (
        ("\\xff/a.json", reason),
        ("caf\\xe9.csv", reason),
        ("caf\\xe9.json", reason),
    )


# --- Links, pipes and what cannot be read -------------------------------------------------------


def test_a_link_to_a_file_in_the_landing_directory_is_a_file(directory: Path) -> None:
    put(directory, "x/a.json", b"{}")
    (directory / "b.json").symlink_to("x/a.json")
    (directory / "c.json").symlink_to(directory / "b.json")
    found = find(directory)
    assert names(found) == ["b.json", "c.json", "x/a.json"]
    assert [file.size_bytes for file in found.files] == [2, 2, 2]


def test_links_that_leave_the_landing_directory_are_refused(directory: Path, tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/a.json")
    put(tmp_path, "landing-next-door/a.json")
    (directory / "absolute.json").symlink_to(outside)
    (directory / "relative.json").symlink_to("../outside/a.json")
    (directory / "by-way-of.json").symlink_to("absolute.json")
    (directory / "neighbour.json").symlink_to("../landing-next-door/a.json")
    (directory / "folder").symlink_to(outside.parent)
    found = find(directory)
    assert names(found) == []
    assert [name for name, _ in found.refused] == [
        "absolute.json",
        "by-way-of.json",
        "folder",
        "neighbour.json",
        "relative.json",
    ]
    assert {reason for _, reason in found.refused} == {
        "is a link that leaves the landing directory; copy the file instead"
    }


def test_links_to_directories_are_not_followed(directory: Path) -> None:
    put(directory, "x/a.json")
    (directory / "again").symlink_to("x")
    (directory / "x/loop.json").symlink_to("..")
    found = find(directory)
    assert names(found) == ["x/a.json"]
    reason = "is a link to a directory, whose files are found at their own place"
    assert found.refused == (("again", reason), ("x/loop.json", reason))


def test_links_that_lead_nowhere_are_refused(directory: Path) -> None:
    (directory / "gone.json").symlink_to("nothing.json")
    (directory / "self.json").symlink_to("self.json")
    found = find(directory)
    assert names(found) == []
    assert [name for name, _ in found.refused] == ["gone.json", "self.json"]
    assert all(reason.startswith("cannot be looked at: ") for _, reason in found.refused)


def test_the_landing_directory_itself_may_be_a_link(directory: Path, tmp_path: Path) -> None:
    put(directory, "x/a.json")
    (tmp_path / "link").symlink_to(directory)
    assert names(find(tmp_path / "link")) == ["x/a.json"]


def test_a_pipe_is_refused_and_not_opened(directory: Path) -> None:
    os.mkfifo(directory / "a.json")
    os.mkfifo(directory / "other")
    put(directory, "b.json")
    found = find(directory)
    assert names(found) == ["b.json"]
    assert found.refused == (("a.json", "is not a regular file"),)
    assert found.ignored == ("other",)


def test_a_file_that_vanishes_while_it_is_looked_at_is_no_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(directory, "a.json")
    gone = put(directory, "b.json")
    scandir = os.scandir

    def slow(path: Path) -> list[os.DirEntry[str]]:
        entries = list(scandir(path))
        gone.unlink(missing_ok=True)
        return entries

    monkeypatch.setattr(landing.os, "scandir", slow)
    found = find(directory)
    assert names(found) == ["a.json"]
    assert [name for name, _ in found.refused] == ["b.json"]


def _refusing(refused: Path) -> Callable[[Path], Any]:
    """Permissions say nothing to the superuser, who may run the tests."""
    scandir = os.scandir

    def scan(path: Path) -> Any:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    return scan


def test_a_directory_that_cannot_be_read_is_refused_and_the_others_are_found(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(directory, "locked/a.json")
    put(directory, "open/b.json")
    monkeypatch.setattr(landing.os, "scandir", _refusing(directory / "locked"))
    found = find(directory)
    assert names(found) == ["open/b.json"]
    assert found.refused == (("locked", "cannot be read: Permission denied"),)


def test_a_landing_directory_that_cannot_be_read_ends_the_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing.os, "scandir", _refusing(directory))
    with pytest.raises(LandingError, match="cannot be read: Permission denied"):
        find(directory)


@pytest.mark.parametrize("is_file", [True, False])
def test_without_a_landing_directory_the_message_says_what_to_do(tmp_path: Path, *, is_file: bool) -> None:
    if is_file:
        put(tmp_path, "landing")
    with pytest.raises(LandingError, match=r"landing is not there\. Create it, or name another with PODCAST_"):
        find(tmp_path / "landing")


# --- Files that are still being written ---------------------------------------------------------


def test_a_file_that_grows_is_left_for_the_next_run(directory: Path) -> None:
    put(directory, "done.json")
    growing = put(directory, "growing.json")
    stop = threading.Event()

    def write() -> None:
        with growing.open("ab", buffering=0) as file:
            while not stop.wait(0.005):
                file.write(b"{}\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = find(directory, settle_seconds=0.1)
    finally:
        stop.set()
        writer.join()
    assert names(found) == ["done.json"]
    assert found.unsettled == ("growing.json",)
    assert names(find(directory, settle_seconds=0.02)) == ["done.json", "growing.json"]


def test_a_file_that_is_renamed_away_meanwhile_is_unsettled(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(directory, "a.json")
    monkeypatch.setattr(landing.time, "sleep", lambda _: path.rename(directory / "b.json"))
    found = find(directory, settle_seconds=60)
    assert (names(found), found.unsettled) == ([], ("a.json",))


def test_only_young_files_are_waited_for_and_all_of_them_at_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(landing.time, "sleep", waited.append)
    old = put(directory, "old.json")
    os.utime(old, (time.time() - 61, time.time() - 61))
    find(directory, settle_seconds=60)
    assert waited == []
    for name in ("b.json", "c.json"):
        put(directory, name)
    assert names(find(directory, settle_seconds=60)) == ["b.json", "c.json", "old.json"]
    assert waited == [60]


def test_a_young_file_that_the_ledger_knows_as_it_is_is_not_waited_for(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError

    monkeypatch.setattr(landing.time, "sleep", no_sleep)
    path = put(directory, "a.json")
    known = {"a.json": fingerprint(path.stat())}
    assert find(directory, known=known, settle_seconds=60) == Landing(files=(), unchanged=("a.json",))


def test_of_a_file_that_the_ledger_knows_as_it_is_only_the_name_is_kept(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {}
    for name in ("a.json", "b/c.json", "b/d.json"):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        known[name] = fingerprint(path.stat())
    made: list[str] = []
    real = landing.LandedFile
    monkeypatch.setattr(landing, "LandedFile", lambda name, *rest: made.append(name) or real(name, *rest))
    found = find(directory, known=known | {"b/d.json": "of another content"})
    assert (names(found), sorted(found.unchanged), made) == (["b/d.json"], ["a.json", "b/c.json"], ["b/d.json"])


# --- What is new --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as database:
        database.execute(warehouse.TABLES)
        yield database


@pytest.fixture
def connection(database: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    with database.cursor() as connection:
        connection.execute("truncate bronze.raw_events; truncate ops.batches")
        yield connection


@pytest.fixture
def discover(
    directory: Path, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Plan]:
    for name in [name for name in os.environ if name.startswith("PODCAST_")]:
        monkeypatch.delenv(name)
    values = Settings(landing=directory, settle_seconds=0)
    return lambda: landing.discover(values, connection)


def load(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    loading.load_files(connection, plan.arrivals, run_id="run")


def set_status(connection: duckdb.DuckDBPyConnection, status: BatchStatus) -> None:
    connection.execute("update ops.batches set status = ?, pending = false where status = 'loaded'", [status])


def content_is_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on to compare their contents."""
    read: list[str] = []
    content_hash = landing.content_hash

    def noting(path: Path) -> str:
        read.append(path.name)
        return content_hash(path)

    monkeypatch.setattr(landing, "content_hash", noting)
    return read


def brief(plan: Plan) -> list[tuple[str, int, bool]]:
    return [(a.file.filename, a.attempt, a.mutates is not None) for a in plan.arrivals]


def test_new_files_arrive_once(
    directory: Path,
    connection: duckdb.DuckDBPyConnection,
    discover: Callable[[], Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(directory, "b.json")
    put(directory, "a.json")
    put(directory, "other.txt")
    plan = discover()
    assert brief(plan) == [("a.json", 1, False), ("b.json", 1, False)]
    assert plan.ignored == ("other.txt",)
    assert plan.has_work
    load(connection, plan)
    read = content_is_read(monkeypatch)
    again = discover()
    assert (again.arrivals, again.pending_batches, read) == ((), 2, [])
    set_status(connection, BatchStatus.PUBLISHED)
    assert not discover().has_work


@pytest.mark.parametrize("status", [s for s in BatchStatus if s is not BatchStatus.SUPERSEDED])
def test_a_touched_file_is_read_once_and_is_not_new(
    directory: Path,
    connection: duckdb.DuckDBPyConnection,
    discover: Callable[[], Plan],
    monkeypatch: pytest.MonkeyPatch,
    status: BatchStatus,
) -> None:
    path = put(directory, "a.json")
    load(connection, discover())
    set_status(connection, status)
    os.utime(path, (1, 1))
    read = content_is_read(monkeypatch)
    assert brief(discover()) == []
    assert read == ["a.json"]
    assert ledger.fingerprints(connection) == {"a.json": fingerprint(path.stat())}
    assert brief(discover()) == []
    assert read == ["a.json"]


@pytest.mark.parametrize(
    ("status", "mutates"),
    [
        (BatchStatus.PUBLISHED, True),
        (BatchStatus.RELEASED, True),
        (BatchStatus.QUARANTINED, False),
        (BatchStatus.DISCARDED, False),
        (BatchStatus.EMPTY, False),
        (BatchStatus.LOADED, False),
    ],
)
def test_a_file_with_other_content_is_a_new_attempt(
    directory: Path,
    connection: duckdb.DuckDBPyConnection,
    discover: Callable[[], Plan],
    status: BatchStatus,
    *,
    mutates: bool,
) -> None:
    put(directory, "a.json")
    load(connection, discover())
    set_status(connection, status)
    put(directory, "a.json", b"[]\n")
    plan = discover()
    assert brief(plan) == [("a.json", 2, mutates)]
    if mutates:
        assert plan.arrivals[0].mutates == loading.batch_id("a.json", 1)


def test_a_published_file_that_is_restored_after_its_change_is_not_new(
    directory: Path, connection: duckdb.DuckDBPyConnection, discover: Callable[[], Plan]
) -> None:
    put(directory, "a.json", b"{}")
    load(connection, discover())
    set_status(connection, BatchStatus.PUBLISHED)
    put(directory, "a.json", b"[]")
    load(connection, discover())
    set_status(connection, BatchStatus.QUARANTINED)
    put(directory, "a.json", b"{}")
    assert brief(discover()) == []
    put(directory, "a.json", b"{ }")
    assert brief(discover()) == [("a.json", 3, True)]


def test_a_discarded_content_that_comes_back_after_another_is_a_new_attempt(
    directory: Path, connection: duckdb.DuckDBPyConnection, discover: Callable[[], Plan]
) -> None:
    for content in (b"{}", b"[]", b"{}"):
        put(directory, "a.json", content)
        load(connection, discover())
        set_status(connection, BatchStatus.DISCARDED)
    past = ledger.attempts(connection, ["a.json"])["a.json"]
    assert [batch.attempt for batch in past] == [1, 2, 3]


def test_a_removed_file_keeps_its_batch_and_comes_back_unchanged(
    directory: Path, connection: duckdb.DuckDBPyConnection, discover: Callable[[], Plan]
) -> None:
    path = put(directory, "a.json")
    load(connection, discover())
    path.unlink()
    assert brief(discover()) == []
    put(directory, "a.json")
    assert brief(discover()) == []


def batch(filename: str, attempt: int, status: BatchStatus) -> Batch:
    now = warehouse.utc_now()
    return Batch(
        batch_id=f"{filename} {attempt}", filename=filename, attempt=attempt, content_hash="", size_bytes=0,
        fingerprint="", status=status, gate=None, reason=None, detail=None, decision=None, decided_by=None,
        row_count=1, malformed_count=0, invalid_count=None, mutates=None, pending=False, run_id="",
        load_at=now, updated_at=now,
    )  # fmt: skip


def test_landed_again_is_the_next_attempt_and_takes_a_change_as_correction(directory: Path) -> None:
    path = put(directory, "a.json", b"{}")
    past = [batch("a.json", 1, BatchStatus.PUBLISHED), batch("a.json", 2, BatchStatus.QUARANTINED)]
    assert landing.landed_again(directory, [past]) == (
        Arrival(LandedFile("a.json", path, 2, fingerprint(path.stat())), attempt=3),
    )


def test_landed_again_wants_every_file(directory: Path) -> None:
    put(directory, "b.json", b"{}")
    past = [[batch(name, 1, BatchStatus.PUBLISHED)] for name in ("a.json", "b.json", "c.json")]
    with pytest.raises(LandingError, match=r"cannot be read again(?s:.*)a\.json: No such file(?s:.*)c\.json: No such"):
        landing.landed_again(directory, past)


def test_files_that_are_gone_are_noted_once_and_taken_back_when_they_come_again(directory: Path) -> None:
    settings = Settings(home=directory.parent, landing=directory, settle_seconds=0)
    for name in ("a.json", "folder/b.json", "empty.json"):
        put(directory, name, b"" if name == "empty.json" else b"{}")
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        plan = landing.discover(settings, connection)
        loading.load_files(connection, plan.arrivals, run_id="run")
        assert landing.discover(settings, connection).missing == ()
        for path in (directory / "a.json", directory / "folder" / "b.json", directory / "empty.json"):
            path.unlink()
        assert landing.discover(settings, connection).missing == ("a.json", "folder/b.json")
        assert landing.discover(settings, connection).missing == ()
        assert ledger.missing(connection) == {"a.json", "folder/b.json", "empty.json"}
        put(directory, "a.json", b"{}")
        landing.discover(settings, connection)
        assert ledger.missing(connection) == {"folder/b.json", "empty.json"}
