"""Faults of the surroundings in the real flow: what is said, that the rest is published, that the next run mends it.

`docs/faults.md` has a row for each fault and names the test.
"""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from conftest import Home
from strategies import EPISODES as MANY_EPISODES
from strategies import USERS as MANY_USERS
from strategies import big_landing

from flows import publish, tasks
from flows.decisions import reprocess_batches
from flows.domain import RunStatus
from flows.errors import (
    DamagedWarehouseError,
    DiskFullError,
    ReferenceDataError,
    WarehouseLockedError,
)
from flows.settings import PROJECT_ROOT, load_settings
from flows.warehouse import can_be_opened, connect

USERS = [("u1", None, "NO"), ("u2", None, None)]
EPISODES = [("e1", "p1", "One", None, 1000)]
NOBODY = 65534
MALFORMED, VALID = True, False


def event(second: int, *, more: bytes = b"") -> bytes:
    hour, minute = second // 3600, second // 60 % 60
    text = json.dumps(
        {
            "event_type": "play",
            "user_id": "u1",
            "episode_id": "e1",
            "timestamp": f"2024-01-08T{hour:02}:{minute:02}:{second % 60:02}Z",
            "duration": 60,
        }
    )
    return text.encode()[:-1] + more + b"}"


def events(first: int, count: int = 40) -> bytes:
    return b"\n".join(event(second) for second in range(first, first + count)) + b"\n"


LANDING = {"a.json": events(0), "day/b.json.gz": gzip.compress(events(100), mtime=0)}
NEW = {"c.json": events(200)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Path:  # noqa: ARG001
    """A home in which a run has passed."""
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("finished") / "home", patch)
        prepare(home)
        home.land(LANDING)
        home.run()
    return home.path


def prepare(home: Home) -> Home:
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path) -> Home:
    """A copy of that home, to do harm to."""
    shutil.copytree(finished, tmp_path / "home")
    home = Home(tmp_path / "home", monkeypatch)
    home.set(seeds=home.path / "seeds")
    return home


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect: None) -> Home:  # noqa: ARG001
    return Home(tmp_path / "home", monkeypatch)


def working(home: Home) -> Path:
    return home.path / "warehouse" / "podcast.duckdb"


def published(home: Home) -> Path:
    return home.path / "warehouse" / "published.duckdb"


def check(home: Home, contents: dict[str, bytes], users: Any = USERS, episodes: Any = EPISODES) -> None:
    assert_tables_equal(home.path, expected_world(working(home), contents, list(users), list(episodes)))


def podcast(home: Home, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as it is typed, with the settings of the home."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"COLUMNS": "400", "PYTHONPATH": str(PROJECT_ROOT), "HOME": str(home.path)}
    command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    return subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False, **options
    )


# --- 1. A full disk -----------------------------------------------------------------------------


class SmallDisk:
    """A disk that can be filled: a file system in memory, or, without the right to mount one, a limit on file sizes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", "size=48m", "podcast", str(path)]
        self.is_mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0

    def fill(self, *, leave: int) -> None:
        """Take the room away until so many bytes are left."""
        if self.is_mounted:
            free = shutil.disk_usage(self.path).free
            with (self.path / "filler").open("ab") as filler:
                filler.write(bytes(max(free - leave, 0)))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(leave, 2**20), resource.RLIM_INFINITY))

    def make_room(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self) -> None:
        self.make_room()
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.close()


@pytest.fixture
def home_on_small_disk(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path) -> Home:
    """The finished home on the small disk; its landing directory has room."""
    shutil.copytree(finished, disk.path / "home")
    shutil.copytree(finished / "landing", tmp_path / "landing")
    home = Home(disk.path / "home", monkeypatch)
    home.set(seeds=home.path / "seeds", landing=tmp_path / "landing")
    return home


def test_disk_full_at_loading(home_on_small_disk: Home, disk: SmallDisk, tmp_path: Path) -> None:
    home = home_on_small_disk
    # text that cannot be compressed away, kept whole for its further key
    filling = random.Random(1)
    large = b"\n".join(event(s, more=b', "x": "%s"' % filling.randbytes(2000).hex().encode()) for s in range(9000))
    contents = LANDING | {"large.json": large}
    (tmp_path / "landing" / "large.json").write_bytes(large)
    before = snapshot(published(home))

    disk.fill(leave=2**20)
    with pytest.raises(DiskFullError, match=r"(?s)The disk is full: .* MB free.*PODCAST_HOME.*then: podcast run"):
        home.run()
    assert snapshot(published(home)) == before
    if disk.is_mounted:
        # not even room for a lock: the command says so, before it starts anything
        disk.fill(leave=0)
        said = podcast(home, "run")
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr.startswith("error: The disk is full")
        assert " 0.0 MB free" in said.stderr
        assert "Traceback" not in said.stderr

    disk.make_room()
    if disk.is_mounted:
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk.path)], check=True)
    home.run()
    check(home, contents)


def test_disk_full_at_publishing(
    home_on_small_disk: Home, disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_on_small_disk
    (tmp_path / "landing" / "c.json").write_bytes(NEW["c.json"])
    before = snapshot(published(home))
    copy_tables = publish._copy_tables

    def on_a_full_disk(*arguments: Any) -> None:
        disk.fill(leave=2**17)
        copy_tables(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_copy_tables", on_a_full_disk)
        with pytest.raises(DiskFullError, match="a run needs room for one more of that copy"):
            home.run()
    assert snapshot(published(home)) == before
    disk.make_room()
    home.run()
    check(home, LANDING | NEW)


# --- 2. Permission denied -----------------------------------------------------------------------


PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def give_up_override() -> None:
    """Make rights count for this process as they do for other users than root."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the right to go past all rights cannot be given up")


def as_nobody() -> dict[str, Any]:
    """How to start a process that rights can be taken from; whoever is not root starts such ones anyway.

    Where the interpreter lies in a place that only root may enter, it is root without the right to go past rights.
    """
    if os.geteuid() != 0:
        return {}
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with suppress(PermissionError):
        command = [sys.executable, "-c", "import flows.cli, prefect, dbt, duckdb"]
        environment = {"PYTHONPATH": str(PROJECT_ROOT), "HOME": "/", "PATH": os.environ["PATH"]}
        if subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False, **user).returncode == 0:
            return user
    return {"preexec_fn": give_up_override}


@pytest.fixture(scope="module")
def nobody() -> dict[str, Any]:
    return as_nobody()


@pytest.fixture
def home_of_nobody(monkeypatch: pytest.MonkeyPatch, prefect: None, nobody: dict[str, Any]) -> Iterator[Home]:  # noqa: ARG001
    """A home where a user without any right but to this home runs the command."""
    root = Path(tempfile.mkdtemp(prefix="podcast-nobody-"))
    root.chmod(0o755)
    home = prepare(Home(root / "home", monkeypatch))
    home.land(LANDING)
    (home.path / "warehouse").mkdir()
    give_to(nobody, home)
    yield home
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(root)


def give_to(nobody: dict[str, Any], home: Home) -> None:
    for path in (home.path, *home.path.rglob("*")) if "user" in nobody else ():
        os.chown(path, NOBODY, NOBODY)


def test_permission_denied_in_the_landing_directory(home_of_nobody: Home, nobody: dict[str, Any]) -> None:
    home = home_of_nobody
    home.land({"locked.json": events(200), "locked-folder/d.json": events(300)})
    give_to(nobody, home)
    (home.path / "landing" / "locked.json").chmod(0)
    (home.path / "landing" / "locked-folder").chmod(0)

    said = podcast(home, "run", "--json", **nobody)
    assert said.returncode == 0, said.stderr
    summary = json.loads(said.stdout)
    assert summary["published_batches"] == 2
    assert summary["refused"] == [
        ["locked-folder", "cannot be read: Permission denied"],
        ["locked.json", "cannot be read: Permission denied"],
    ]
    check(home, LANDING)
    (home.path / "landing" / "locked.json").chmod(0o644)
    (home.path / "landing" / "locked-folder").chmod(0o755)
    home.run()
    check(home, LANDING | {"locked.json": events(200), "locked-folder/d.json": events(300)})


@pytest.mark.parametrize(
    ("where", "mode", "code", "setting"),
    [
        ("seeds/users.csv", 0o000, 1, "PODCAST_SEEDS"),
        ("seeds", 0o000, 2, "PODCAST_SEEDS"),
        ("warehouse", 0o555, 1, "PODCAST_HOME"),
        (".", 0o555, 1, "PODCAST_HOME"),
    ],
)
def test_permission_denied_at_home_and_in_the_reference_data(
    home_of_nobody: Home, nobody: dict[str, Any], where: str, mode: int, code: int, setting: str
) -> None:
    forbidden = home_of_nobody.path / where
    if where == ".":
        (home_of_nobody.path / "warehouse").rmdir()
    forbidden.chmod(mode)
    said = podcast(home_of_nobody, "run", **nobody)
    assert (said.returncode, said.stdout) == (code, ""), said.stderr
    assert "Traceback" not in said.stderr
    assert "Permission denied" in said.stderr
    assert str(forbidden) in said.stderr
    assert setting in said.stderr


# --- 3. Files that change between discovery and loading -----------------------------------------


def test_files_that_change_before_they_are_loaded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("appended", "gone", "replaced", "truncated")
    home.land({f"{name}.json": events(200 + 100 * i) for i, name in enumerate(names)} | {"untouched.json": events(900)})
    landing = home.path / "landing"
    changed = {
        "appended.json": events(200) + event(5000),
        "truncated.json": events(500)[:1000],
        "untouched.json": events(900),
    }

    def change() -> None:
        (landing / "gone.json").unlink()
        (landing / "replaced.json").unlink()
        (landing / "replaced.json").mkdir()
        for name in ("appended.json", "truncated.json"):
            (landing / name).write_bytes(changed[name])

    load_files = tasks.loading.load_files

    def late(*arguments: Any, **options: Any) -> Any:
        change()
        return load_files(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tasks.loading, "load_files", late)
        summary = home.run()
    assert summary.published_batches == 1
    assert dict(summary.refused) == {
        "appended.json": "cannot be read: it changed while it was read; it is left for the next run",
        "gone.json": "cannot be read: No such file or directory",
        "replaced.json": "cannot be read: Is a directory",
        "truncated.json": "cannot be read: it changed while it was read; it is left for the next run",
    }
    check(home, LANDING | {"untouched.json": changed["untouched.json"]})

    home.land({"replaced.json/inside.json": events(1000)})
    home.run()
    check(home, LANDING | changed | {"replaced.json/inside.json": events(1000)})


# --- 4. Damaged databases -----------------------------------------------------------------------


def overwritten(content: bytes, start: int, length: int) -> bytes:
    return content[:start] + b"\xff" * length + content[start + length :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "header": lambda content: overwritten(content, 0, 100),
    "second header": lambda content: overwritten(content, 4096, 8192),
    "first byte": lambda content: overwritten(content, 0, 1),
    "cut in half": lambda content: content[: len(content) // 2],
    "cut in the header": lambda content: content[:5000],
    "text": lambda _: b"no database at all\n" * 1000,
    "zero bytes": lambda _: b"",
    "zeros": lambda content: bytes(len(content)),
    "another database": lambda _: b"SQLite format 3\0" + bytes(5000),
}
WHAT_TO_DO = (
    r"(?s)podcast\.duckdb is damaged, or is no database: .*podcast restore --force DIR.*podcast rebuild --ledger"
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_says_what_to_do(home: Home, damage: str) -> None:
    harmed = DAMAGES[damage](working(home).read_bytes())
    working(home).write_bytes(harmed)
    with pytest.raises(DamagedWarehouseError, match=WHAT_TO_DO) as caught, connect(load_settings()):
        pass
    assert "download" not in f"{caught.value}", "the engine fetches nothing, whatever the file asks for"
    assert working(home).read_bytes() == harmed, "what is damaged is evidence, and is left as it is"


def test_a_damaged_database_in_a_run(home: Home) -> None:
    whole, before = working(home).read_bytes(), snapshot(published(home))
    home.land(NEW)
    working(home).write_bytes(overwritten(whole, 4096, 8192))
    with pytest.raises(DamagedWarehouseError, match=WHAT_TO_DO):
        home.run()
    for words in (("run",), ("status",), ("quarantine", "list")):
        said = podcast(home, *words)
        assert (said.returncode, said.stdout) == (1, "")
        assert "is damaged, or is no database" in said.stderr
        assert "Traceback" not in said.stderr

    # bytes in the middle are met only by those who read them
    for tenth in (3, 5, 7):
        working(home).write_bytes(overwritten(whole, len(whole) * tenth // 10, 4096))
        try:
            home.run()
        except DamagedWarehouseError:
            assert snapshot(published(home)) == before
        else:
            check(home, LANDING | NEW)
            before = snapshot(published(home))

    working(home).write_bytes(whole)
    home.run()
    check(home, LANDING | NEW)


def test_a_damaged_published_copy_is_made_anew(home: Home) -> None:
    whole = published(home).read_bytes()
    for damage in DAMAGES.values():
        published(home).write_bytes(damage(whole))
        assert not can_be_opened(published(home))
    published(home).write_bytes(whole)
    with holding(f"import duckdb; c = duckdb.connect({str(published(home))!r})"):
        assert can_be_opened(published(home)), "what somebody has open is not damaged"
    published(home).write_bytes(DAMAGES["cut in half"](whole))

    said = podcast(home, "status")
    assert said.returncode == 0
    assert "the next run makes the copy anew: podcast run" in said.stdout
    assert home.run().status is RunStatus.PASSED
    check(home, LANDING)
    assert home.run().status is RunStatus.NOTHING_NEW


LOADER = """
import os, sys
from flows import landing, ledger, loading
from flows.settings import load_settings
from flows.warehouse import can_be_opened, connect
with connect(load_settings()) as connection:
    connection.execute("set checkpoint_threshold = '1GB'")
    loading.TRANSACTION_FILES = 1
    loading.load_files(connection, landing.discover(load_settings(), connection).arrivals, run_id="torn")
    os._exit(0)
"""


def test_a_torn_log_loses_whole_batches_or_nothing(home: Home) -> None:
    """A batch and its entry in the ledger come back together or not at all; what is missing is loaded again."""
    new = {f"new-{number}.json": events(200 + 100 * number) for number in range(6)}
    home.land(new)
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    subprocess.run([sys.executable, "-c", LOADER], env=environment, check=True)
    log = working(home).with_name("podcast.duckdb.wal")
    whole, written = working(home).read_bytes(), log.read_bytes()
    assert len(written) > 10_000
    cut_off = [written[: len(written) * part // 7] for part in range(8)] + [written[:1], written[:-1]]
    found = {batches_after(home, whole, content) for content in cut_off}
    assert {2, 8} < found, "from nothing of what was loaded to all of it, and something between"

    damaged = [written + b"\0" * 100, written + bytes(range(256)), overwritten(written, 0, 20)]
    damaged += [overwritten(written, len(written) * part // 7, 50) for part in range(1, 7)]
    for content in damaged:
        with suppress(DamagedWarehouseError):
            batches_after(home, whole, content)

    working(home).write_bytes(whole)
    log.write_bytes(written + b"\xff" * 1000)
    with pytest.raises(DamagedWarehouseError, match=r"(?s)the log.*move podcast\.duckdb\.wal away"):
        home.run()
    log.unlink()
    home.run()
    check(home, LANDING | new)


def batches_after(home: Home, database: bytes, log: bytes) -> int:
    """The number of batches that a database with such a log has, each with all its lines and its entry."""
    working(home).write_bytes(database)
    working(home).with_name("podcast.duckdb.wal").write_bytes(log)
    with connect(load_settings()) as connection:
        lines = connection.execute(
            "select filename, count(*) from bronze.raw_events group by all order by 1"
        ).fetchall()
        entered = connection.execute("select filename, row_count from ops.batches order by 1").fetchall()
    assert lines == entered
    return len(lines)


# --- 5. Locks -----------------------------------------------------------------------------------


@contextmanager
def holding(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds something until the end of the block."""
    code += "; print('held', flush=True); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    other = subprocess.Popen(
        [sys.executable, "-c", "import sys; " + code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield other
    finally:
        other.communicate()


def test_locks_name_their_holder(home: Home) -> None:
    home.land(NEW)
    with holding(f"import duckdb; c = duckdb.connect({str(working(home))!r}, read_only=True)") as reader:
        with pytest.raises(WarehouseLockedError, match=rf"(?s)open in process {reader.pid} .*published\.duckdb beside"):
            home.run()
        said = podcast(home, "run")
        assert (said.returncode, said.stdout) == (4, "")
        assert f"process {reader.pid}" in said.stderr
    lock = (
        "from flows.settings import load_settings; from flows.warehouse import writer_lock; "
        "lock = writer_lock(load_settings(), purpose='the other'); lock.__enter__()"
    )
    with holding(lock) as writer:
        said = podcast(home, "run")
        assert (said.returncode, said.stdout) == (4, "")
        assert f"process {writer.pid}" in said.stderr
        assert "the other" in said.stderr
    home.run()
    check(home, LANDING | NEW)


# --- 6. Bombs and long lines --------------------------------------------------------------------

MEGABYTE = 2**20


def packed(suffix: str, piece: bytes, times: int, *, end: bytes = b"") -> bytes:
    """Many times the same piece, compressed without ever being whole."""
    if suffix == ".gz":
        from zlib import compressobj

        stream: Any = compressobj(6, wbits=31)
    else:
        stream = zstandard.ZstdCompressor().compressobj()
    return b"".join(stream.compress(piece) for _ in range(times)) + stream.compress(end) + stream.flush()


READER = """
import resource, sys
from flows import landing, loading
from flows.settings import load_settings
from flows.warehouse import can_be_opened, connect
with connect(load_settings()) as connection:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loading.load_files(connection, landing.discover(load_settings(), connection).arrivals, run_id="bombs")
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_and_long_lines_are_held_back_within_memory(empty_home: Home) -> None:
    home = prepare(empty_home)
    long_line = event(10, more=b', "x": "' + b"v" * (31 * MEGABYTE) + b'"')
    bombs = {
        f"{name}.json{suffix}": packed(suffix, piece, 1100, end=b"\n" + event(20))
        for suffix in (".gz", ".zst")
        for name, piece in (("one-line", b"0" * MEGABYTE), ("blank-lines", b"\n" * MEGABYTE))
    }
    hostile = bombs | {
        "100-mb-object.json": events(100) + event(20, more=b', "x": "' + b"v" * (100 * MEGABYTE) + b'"'),
        "100-mb-garbage.json": events(200) + b"\0" * (100 * MEGABYTE),
        "many-long-lines.json.gz": packed(".gz", event(30, more=b', "x": "' + b"v" * MEGABYTE + b'"') + b"\n", 400),
        "all-brackets.json.gz": gzip.compress(events(300) + b"[" * (31 * MEGABYTE), 1),
    }  # fmt: skip
    home.land(hostile | LANDING | {"long-line.json": events(400) + long_line})
    home.set(memory_limit="1500MB")

    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    reading = subprocess.run(
        [sys.executable, "-c", READER], env=environment, capture_output=True, text=True, check=True
    )
    assert int(reading.stdout) < 2000, "megabytes above what the libraries take"
    summary = home.run()

    assert {b.filename: b.gate for b in summary.quarantined} == dict.fromkeys(hostile.keys() - blank_bombs(), "load")
    details = {b.filename: b.detail for b in summary.quarantined}
    too_long = "{} is longer than 32 MB (PODCAST_MAX_LINE_MB)"
    for name, said in {
        "one-line.json.gz": too_long.format("line 1"),
        "one-line.json.zst": too_long.format("line 1"),
        "100-mb-object.json": too_long.format("line 41"),
        "100-mb-garbage.json": too_long.format("line 41"),
        "many-long-lines.json.gz": "hold more than 256 MB together (8 times PODCAST_MAX_LINE_MB)",
        "all-brackets.json.gz": "needs more memory than the engine has (PODCAST_MEMORY_LIMIT)",
    }.items():
        assert said in details[name]
    assert summary.run.facts + summary.run.duplicates == 2 * 40 + 41 + 2
    assert home.query("select filename, line_number from bronze.raw_events where contains(filename, 'blank')") == [
        (name, 1100 * MEGABYTE + 2) for name in sorted(blank_bombs())
    ]
    ((kept,),) = home.query(
        "select md5(rescued) from bronze.raw_events where filename = 'long-line.json' and line_number = 41"
    )
    assert kept == hashlib.md5(long_line, usedforsecurity=False).hexdigest()

    # what the message says: with a higher limit the file is read
    home.set(max_line_mb=128, memory_limit="4GB")
    assert reprocess_batches(["100-mb-object.json"]).published_batches == 1


def blank_bombs() -> set[str]:
    return {"blank-lines.json.gz", "blank-lines.json.zst"}


# --- 7. Lines that parsers stumble over ---------------------------------------------------------

DEEP = 1_000_000
HOSTILE_LINES: dict[str, tuple[bytes, bool]] = {
    "arrays": (b"[" * DEEP + b"]" * DEEP, MALFORMED),
    "arrays in an event": (event(50, more=b', "x": ' + b"[" * DEEP + b"]" * DEEP), VALID),
    "arrays for a user": (b'{"user_id": ' + b"[" * DEEP + b"]" * DEEP + b"}", VALID),
    "open arrays": (b"[" * DEEP, MALFORMED),
    "open arrays in an event": (event(50, more=b', "x": ' + b"[" * DEEP), MALFORMED),
    "objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, VALID),
    "objects in an event": (event(50, more=b', "x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP), VALID),
    "open objects": (b'{"a":' * DEEP, MALFORMED),
    "one bracket too few": (event(50, more=b', "x": ' + b"[" * DEEP + b"]" * (DEEP - 1)), MALFORMED),
    "arrays and objects": (event(50, more=b', "x": ' + b'[{"a":' * DEEP + b"1" + b"}]" * DEEP), VALID),
    "a million keys": (event(50, more=b"".join(b', "k%d": 1' % n for n in range(DEEP))), VALID),
    "a million times one key": (event(50, more=b', "k": 1' * DEEP), VALID),
    "a million users": (b'{"user_id": "u0"' + b', "user_id": "u1"' * DEEP + b"}", VALID),
    "a key of ten megabytes": (event(50, more=b', "' + b"k" * 10_000_000 + b'": 1'), VALID),
    "escaped backslashes": (event(50, more=b', "x": "' + b"\\\\" * DEEP + b'"'), VALID),
    "escaped quotes": (event(50, more=b', "x": "' + b'\\"' * DEEP + b'"'), VALID),
    "escapes": (event(50, more=b', "x": "' + b"\\u0041" * DEEP + b'"'), VALID),
    "open escapes": (event(50, more=b', "x": "' + b"\\" * (2 * DEEP + 1) + b'"'), MALFORMED),
    "half pairs": (event(50, more=b', "x": "' + b"\\ud800" * DEEP + b'"'), MALFORMED),
    "a number of a million digits": (b'{"duration": ' + b"9" * DEEP + b"}", VALID),
    "a million numbers": (event(50, more=b', "x": [' + b"1e3," * DEEP + b"1]"), VALID),
    "commas": (event(50, more=b', "x": [nan' + b"," * DEEP + b"]"), MALFORMED),
    "quotes": (b'"' * DEEP, MALFORMED),
    "zero bytes": (b"\0" * DEEP, MALFORMED),
    "no text": (b"\xff" * DEEP, MALFORMED),
}


def test_deep_and_wide_lines_are_classified(empty_home: Home) -> None:
    home = prepare(empty_home)
    home.land(LANDING)
    home.land({f"{name}.json": events(400) + line + b"\n" for name, (line, _) in HOSTILE_LINES.items()})
    summary = home.run()
    assert summary.quarantined == ()
    assert summary.published_batches == len(HOSTILE_LINES) + len(LANDING)
    found = home.query(
        """
        select replace(filename, '.json', ''), is_malformed, coalesce(md5(rescued), md5(rescued_bytes))
        from bronze.raw_events where line_number = 41
        """
    )
    digests = {name: hashlib.md5(line, usedforsecurity=False).hexdigest() for name, (line, _) in HOSTILE_LINES.items()}
    expected = {name: (malformed, digests[name]) for name, (_, malformed) in HOSTILE_LINES.items()}
    del expected["a number of a million digits"]  # which the columns give back
    assert {name: tuple(rest) for name, *rest in found if name in expected} == expected
    assert home.query(
        "select user_id, length(duration) from bronze.raw_events "
        "where line_number = 41 and (filename like 'a million users%' or filename like 'a number of%') order by 2"
    ) == [(None, DEEP), ("u1", None)]
    # the good lines of these files are the same in all of them, as are the hostile ones that are whole events
    assert summary.run.facts == 2 * 40 + 40 + 1
    assert summary.run.malformed == sum(malformed for _, malformed in HOSTILE_LINES.values())


# --- 8. Mutated files ---------------------------------------------------------------------------


def mutated(content: bytes, pick: random.Random) -> bytes:
    """Between one and four small damages."""
    for _ in range(pick.randint(1, 4)):
        start, end = sorted(pick.randrange(len(content) + 1) for _ in range(2))
        end = min(end, start + pick.choice((1, 4, 64, 2000)))
        match pick.randrange(6):
            case 0:
                content = content[:start] + pick.randbytes(end - start) + content[end:]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:start] + pick.randbytes(pick.choice((1, 3, 50))) + content[start:]
            case 3:
                content = content[: max(start, len(content) // 2)]
            case 4:
                content = content[:end] + content[start:end] + content[end:]
            case _:
                flipped = bytes([content[start] ^ 1 << pick.randrange(8)]) if start < len(content) else b""
                content = content[:start] + flipped + content[start + 1 :]
    return content


def test_a_thousand_mutated_files(empty_home: Home) -> None:
    pick = random.Random(20240108)
    good = [(name, content) for seed in (5, 6) for name, content in big_landing(seed, 60).items() if content]
    contents = {}
    for number in range(1000):
        name, content = pick.choice(good)
        contents[f"{number:04}-{Path(name).name}"] = mutated(content, pick)
    assert {Path(name).suffix for name in contents} >= {".json", ".gz", ".zst"}
    users, episodes = list(MANY_USERS), list(MANY_EPISODES)
    empty_home.set(seeds=write_reference_data(empty_home.path / "seeds", users, episodes))
    empty_home.land(contents)
    summary = empty_home.run()
    assert summary.run.reconciles
    assert summary.refused == ()
    states = dict(empty_home.query("select status, count(*) from ops.batches group by status"))
    assert sum(states.values()) == 1000
    assert set(states) >= {"published", "quarantined"}
    check(empty_home, contents, users, episodes)


# --- 9. Broken reference data -------------------------------------------------------------------


def test_broken_reference_data_changes_nothing(home: Home) -> None:
    before, ledger = snapshot(published(home)), home.query("from ops.batches order by batch_id")
    home.land(NEW)
    users = home.path / "seeds" / "users.csv"
    good = users.read_bytes()
    users.write_bytes(good + b"u3,yesterday,NO\nu1,,SE\n")
    with pytest.raises(ReferenceDataError) as raised:
        home.run()
    assert str(raised.value).splitlines() == [
        "The reference data is broken; nothing was changed, the last published state stays.",
        f"{users}: line 5: user_id is that of line 2; every line needs one of its own",
        f"{users}: line 4: signup_date is not a date, as in 2024-01-31",
        "Correct the files, or name another folder with PODCAST_SEEDS; then: podcast run",
    ]
    assert snapshot(published(home)) == before
    assert home.query("from ops.batches order by batch_id") == ledger
    assert home.query("select status from ops.runs order by started_at") == [("passed",), ("failed",)]
    users.write_bytes(good)
    home.run()
    check(home, LANDING | NEW)


# --- What a failing run says, and how ------------------------------------------------------------


def test_a_run_that_fails_says_why(home: Home) -> None:
    """dbt cannot write where it has to; what the libraries log about it is not for the person at the terminal."""
    home.land(NEW)
    shutil.rmtree(home.path / "dbt" / "target")
    (home.path / "dbt" / "target").write_text("in the way")
    said = podcast(home, "run")
    assert said.returncode == 1
    assert said.stderr.startswith("error: dbt could not build the raw layer; nothing was published.\n[Errno 20] ")
    assert str(home.path / "dbt" / "target") in said.stderr
    assert "Traceback" not in said.stderr
    (home.path / "dbt" / "target").unlink()
    home.run()
    check(home, LANDING | NEW)
