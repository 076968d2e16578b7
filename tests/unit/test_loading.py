"""Loading against the hand-made cases and the oracle: every line of every file, as the contract reads it."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import oracle
import pytest
import zstandard
from cases import CASES, Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import big_landing, landings

from flows import filling, landing, ledger, loading, reading, warehouse
from flows.domain import Arrival, Batch, BatchStatus, Loaded
from flows.errors import UnreadableFileError
from flows.landing import find_files

Connection = duckdb.DuckDBPyConnection

ROWS = """
    select filename, line_number, event_type, user_id, episode_id, "timestamp", duration, rescued,
        rescued_bytes, is_malformed, load_at
    from bronze.raw_events
    order by filename, line_number
"""
EVENT = (
    b'{"event_type": "play", "user_id": "u1", "episode_id": "e1", "timestamp": "2026-01-02T03:04:05Z", "duration": 5}'
)


@pytest.fixture(scope="module")
def database() -> Iterator[Connection]:
    with duckdb.connect() as database:
        database.execute("set preserve_insertion_order = false")
        database.execute(warehouse.TABLES)
        yield database


@pytest.fixture
def connection(database: Connection) -> Iterator[Connection]:
    with emptied(database) as connection:
        yield connection


@contextmanager
def emptied(database: Connection) -> Iterator[Connection]:
    """A connection to the warehouse with nothing in it."""
    with database.cursor() as connection:
        connection.execute("truncate bronze.raw_events; truncate ops.batches")
        yield connection


def arrivals(directory: Path, files: Mapping[str, bytes]) -> list[Arrival]:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [
        Arrival(file, attempt=1)
        for file in landing.find_files(directory, known={}, settle_seconds=0).files
        if file.filename in files
    ]


def load(connection: Connection, directory: Path, files: Mapping[str, bytes]) -> Loaded:
    return loading.load_files(connection, arrivals(directory, files), run_id="run")


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(ROWS).fetchall()


def lines(connection: Connection) -> list[tuple[int, str | None]]:
    """Line number and user of each row; the tests below number their users by line."""
    return [(row[1], row[3]) for row in rows(connection)]


def batches(connection: Connection) -> dict[str, Batch]:
    return {past[-1].filename: past[-1] for past in ledger.attempts(connection, _names(connection)).values()}


def _names(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("select filename from ops.batches").fetchall()]


def numbered(numbers: Iterable[int]) -> list[bytes]:
    return [b'{"user_id": "%d"}' % number for number in numbers]


def expected_rows(files: Mapping[str, bytes], loaded: Mapping[str, Batch]) -> list[tuple[Any, ...]]:
    """The oracle's rows of every file that can be read."""
    found = []
    for name, content in files.items():
        try:
            raw = oracle.read_lines(name, content, loaded[name].load_at)
        except oracle.Unreadable:
            continue
        found += [
            (
                r.filename, r.line_number, r.event_type, r.user_id, r.episode_id, r.timestamp, r.duration,
                r.rescued, r.rescued_bytes, r.malformed, r.load_at,
            )
            for r in raw
        ]  # fmt: skip
    return sorted(found, key=lambda row: row[:2])


def expected_status(name: str, content: bytes) -> BatchStatus:
    try:
        has_rows = bool(oracle.read_lines(name, content, datetime.now(UTC)))
    except oracle.Unreadable:
        return BatchStatus.QUARANTINED
    return BatchStatus.LOADED if has_rows else BatchStatus.EMPTY


def assert_as_the_oracle(connection: Connection, files: Mapping[str, bytes]) -> None:
    loaded = batches(connection)
    assert {name: batch.status for name, batch in loaded.items()} == {
        name: expected_status(name, content) for name, content in files.items()
    }
    found = rows(connection)
    assert found == expected_rows(files, loaded)
    assert {name: batch.row_count for name, batch in loaded.items()} == {
        name: sum(row[0] == name for row in found) for name in files
    }


# --- The hand-made cases ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case_rows(
    database: Connection, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[str, int], tuple[Any, ...]]:
    """All cases in one file; those that are UTF-8 in another, which takes the statement for text."""
    all_of_them = b"\n".join([EVENT, *(case.line for case in CASES)])
    text_only = b"\n".join([EVENT, *(b"" if case.rescued_bytes else case.line for case in CASES)])
    with emptied(database) as connection:
        load(connection, tmp_path_factory.mktemp("cases"), {"all.json": all_of_them, "text.json": text_only})
        return {row[:2]: row[2:] for row in rows(connection)}


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES, start=2)), ids=[case.id for case in CASES])
def test_case(case_rows: Mapping[tuple[str, int], tuple[Any, ...]], number: int, case: Case) -> None:
    expected = (
        *case.raw,
        case.text.decode() if case.rescued else None,
        case.text if case.rescued_bytes else None,
        case.codes == ("malformed_json",),
    )
    assert case_rows["all.json", number][:-1] == expected
    if case.rescued_bytes:
        assert ("text.json", number) not in case_rows
    else:
        assert case_rows["text.json", number][:-1] == expected


def test_every_line_of_the_cases_is_a_row(case_rows: Mapping[tuple[str, int], tuple[Any, ...]]) -> None:
    in_bytes = sum(case.rescued_bytes for case in CASES)
    assert in_bytes > 0
    assert len(case_rows) == 2 * (len(CASES) + 1) - in_bytes


# --- Lines --------------------------------------------------------------------------------------


def test_byte_order_mark_at_the_start_is_dropped_and_only_there(connection: Connection, tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    load(connection, tmp_path, {"a.json": mark + EVENT + b"\n" + mark + EVENT, "b.json": mark * 2 + EVENT})
    assert [(row[0], row[1], row[9]) for row in rows(connection)] == [
        ("a.json", 1, False),
        ("a.json", 2, True),
        ("b.json", 1, True),
    ]


def test_a_file_without_a_line_is_an_empty_batch(connection: Connection, tmp_path: Path) -> None:
    contents = [b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b" \t\n\xe3\x80\x80\n\xc2\x85"]
    load(connection, tmp_path, {f"{number}.json": content for number, content in enumerate(contents)})
    found = [(batch.status, batch.row_count, batch.pending) for batch in batches(connection).values()]
    assert found == [(BatchStatus.EMPTY, 0, False)] * len(contents)
    assert rows(connection) == []


def test_line_endings(connection: Connection, tmp_path: Path) -> None:
    endings, last = (b"\n", b"\r\n"), (b"", b"\n", b"\r\n", b"\n\n")
    contents = [ending.join(numbered([1, 2, 3])) + end for ending in endings for end in last]
    load(connection, tmp_path, {f"{number}.json": content for number, content in enumerate(contents)})
    assert lines(connection) == [(1, "1"), (2, "2"), (3, "3")] * len(contents)
    assert {row[7] for row in rows(connection)} == {None}


def test_a_carriage_return_ends_no_line_and_stays_out_of_what_is_rescued(
    connection: Connection, tmp_path: Path
) -> None:
    load(connection, tmp_path, {"a.json": b"{oops\r\n{}\r{}\r\n\xff\r\n"})
    assert [(row[1], row[7], row[8]) for row in rows(connection)] == [
        (1, "{oops", None),
        (2, "{}\r{}", None),
        (3, None, b"\xff"),
    ]


@pytest.mark.parametrize(
    "broken", [b"", b"\n\xff"], ids=["all of it is UTF-8", "one line is not"]
)  # each has a statement of its own
def test_blank_lines_are_counted_and_not_kept(connection: Connection, tmp_path: Path, broken: bytes) -> None:
    blanks = [b"", b" \t", b"\r", "\u2028\u3000".encode(), b"\v\f"]
    first, second = numbered([1, 7])
    load(connection, tmp_path, {"a.json": b"\n".join([first, *blanks, second]) + broken})
    assert lines(connection)[:2] == [(1, "1"), (7, "7")]


def test_rows_carry_batch_file_and_time(connection: Connection, tmp_path: Path) -> None:
    before = warehouse.utc_now()
    load(connection, tmp_path, {"b/2.json": EVENT, "a.json": EVENT + b"\n" + EVENT})
    after = warehouse.utc_now()
    found = connection.execute(
        "select distinct batch_id, filename, load_at from bronze.raw_events order by filename"
    ).fetchall()
    ledger_says = [(b.batch_id, b.filename, b.load_at) for b in batches(connection).values()]
    assert found == sorted(ledger_says, key=lambda row: row[1])
    assert [filling.batch_id("a.json", 1), filling.batch_id("b/2.json", 1)] == [row[0] for row in found]
    assert before <= found[0][2] <= found[1][2] <= after


def test_a_clock_that_is_set_back_does_not_let_load_at_decrease(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([datetime(2026, 6, 1, 12), datetime(2026, 6, 1, 11), datetime(2026, 6, 1, 13)])  # noqa: DTZ001
    monkeypatch.setattr(loading, "utc_now", lambda: next(times))
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 1)
    load(connection, tmp_path, {"a.json": EVENT, "b.json": EVENT, "c.json": EVENT})
    assert [row[10].hour for row in rows(connection)] == [12, 12, 13]


# --- Compressed files ---------------------------------------------------------------------------


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def _zstd_of_unknown_size(content: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(content) + stream.flush()


COMPRESSIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": (".gz", lambda content: gzip.compress(content, mtime=0)),
    "zstd": (".zst", _zstd),
    "zstd of unknown size": (".zst", _zstd_of_unknown_size),
}
compressed = pytest.mark.parametrize(("suffix", "compress"), COMPRESSIONS.values(), ids=COMPRESSIONS)


@compressed
def test_compressed_file(
    connection: Connection, tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    content = compress(b"\n".join(numbered(range(1, 5001))))
    load(connection, tmp_path, {f"a.json{suffix}": content})
    assert lines(connection) == [(number, str(number)) for number in range(1, 5001)]
    batch = batches(connection)[f"a.json{suffix}"]
    assert batch.content_hash == landing.content_hash(tmp_path / f"a.json{suffix}")
    assert (batch.size_bytes, batch.row_count) == (len(content), 5000)


@compressed
@pytest.mark.parametrize("cuts", [1, 3, 40], ids="{} members".format)
def test_several_members_are_one_text(
    connection: Connection, tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes], cuts: int
) -> None:
    text = b"\n".join(numbered(range(1, 100)))
    step = len(text) // cuts + 1
    members = [compress(text[start : start + step]) for start in range(0, len(text), step)]
    members.insert(len(members) // 2, compress(b""))
    load(connection, tmp_path, {f"a.json{suffix}": b"".join(members)})
    assert lines(connection) == [(number, str(number)) for number in range(1, 100)]


def test_zero_bytes_after_a_gzip_member_are_padding(connection: Connection, tmp_path: Path) -> None:
    first, second = (gzip.compress(line + b"\n") for line in numbered([1, 2]))
    load(connection, tmp_path, {"a.json.gz": first + b"\0" * 512 + second + b"\0" * 2**15})
    assert lines(connection) == [(1, "1"), (2, "2")]


def test_a_skippable_zstd_frame_is_skipped(connection: Connection, tmp_path: Path) -> None:
    """Parallel compressors put one before each frame."""
    frame = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"size"
    content = b"".join(frame + _zstd(line + b"\n") for line in numbered([1, 2]))
    load(connection, tmp_path, {"a.json.zst": content})
    assert lines(connection) == [(1, "1"), (2, "2")]


def _damaged(content: bytes, position: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 0xFF
    return bytes(damaged)


_GZIP = gzip.compress(b"\n".join(numbered(range(1, 2001))), mtime=0)
_ZSTD = _zstd(b"\n".join(numbered(range(1, 2001))))
BROKEN = {
    "cut off in the check sum.json.gz": _GZIP[:-3],
    "cut off in the data.json.gz": _GZIP[: len(_GZIP) // 2],
    "cut off in the header.json.gz": _GZIP[:5],
    "wrong check sum.json.gz": _damaged(_GZIP, -8),
    "wrong length.json.gz": _damaged(_GZIP, -1),
    "damaged data.json.gz": _damaged(_GZIP, len(_GZIP) // 2),
    "garbage behind.json.gz": _GZIP + b"garbage",
    "second member cut off.json.gz": _GZIP + _GZIP[:-3],
    "no gzip.json.gz": EVENT,
    "zstd in fact.json.gz": _ZSTD,
    "zlib without a header.json.gz": zlib.compress(EVENT),
    "cut off in the check sum.json.zst": _ZSTD[:-3],
    "cut off in the data.json.zst": _ZSTD[: len(_ZSTD) // 2],
    "cut off in the header.json.zst": _ZSTD[:2],
    "wrong check sum.json.zst": _damaged(_ZSTD, -1),
    "garbage behind.json.zst": _ZSTD + b"garbage",
    "second frame cut off.json.zst": _ZSTD + _ZSTD[:-3],
    "no zstd.json.zst": EVENT,
    "gzip in fact.json.zst": _GZIP,
}


@pytest.fixture(scope="module")
def beside_broken_files(
    database: Connection, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Loaded, list[str], dict[str, Batch]]:
    """All broken files between two good ones: what was loaded, the files of the rows, and the batches."""
    files = {"a.json": EVENT, **BROKEN, "z.json.gz": gzip.compress(EVENT)}
    with emptied(database) as connection:
        loaded = load(connection, tmp_path_factory.mktemp("broken"), files)
        return loaded, [row[0] for row in rows(connection)], batches(connection)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_held_back_whole(
    beside_broken_files: tuple[Loaded, list[str], dict[str, Batch]], name: str
) -> None:
    _, _, found = beside_broken_files
    batch = found[name]
    assert (batch.status, batch.gate, batch.reason) == (BatchStatus.QUARANTINED, "load", "unreadable_file")
    assert (batch.row_count, batch.pending) == (0, True)
    assert batch.detail
    assert "compressed data" in batch.detail
    assert batch.content_hash == hashlib.sha256(BROKEN[name]).hexdigest()
    assert batch.size_bytes == len(BROKEN[name])


def test_files_beside_broken_ones_are_loaded(
    beside_broken_files: tuple[Loaded, list[str], dict[str, Batch]],
) -> None:
    loaded, files_of_rows, found = beside_broken_files
    assert (loaded.batches, loaded.rows, loaded.left_out) == (len(BROKEN) + 2, 2, ())
    assert files_of_rows == ["a.json", "z.json.gz"]
    assert {name for name, batch in found.items() if batch.status is BatchStatus.LOADED} == {
        "a.json",
        "z.json.gz",
    }


def test_rows_written_before_the_break_are_taken_back(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 64)
    monkeypatch.setattr(filling, "STATEMENT_BYTES", 1)
    deleted = []
    take_back = filling.Writer.take_back

    def counting(writer: filling.Writer, batch_id: str) -> None:
        (count,) = connection.execute("select count(*) from bronze.raw_events").fetchone() or (0,)
        deleted.append(count)
        take_back(writer, batch_id)

    monkeypatch.setattr(filling.Writer, "take_back", counting)
    first = gzip.compress(b"\n".join(numbered(range(15))))
    load(connection, tmp_path, {"a.json.gz": first + _damaged(_GZIP, -8), "b.json": EVENT})
    assert deleted == [14]
    assert [row[0] for row in rows(connection)] == ["b.json"]


# --- Blocks, statements, transactions -----------------------------------------------------------


@pytest.mark.parametrize(("block", "statement"), [(1, 1), (7, 300), (150, 1000), (4096, 5000)])
def test_block_and_statement_limits_do_not_show(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, statement: int
) -> None:
    some = [case.line for case in CASES if len(case.line) < 1000][::29]
    text = b"\r\n".join([EVENT, *some, b"", b"\xff", b" ", EVENT])
    files = {"a.json.gz": gzip.compress(text), "b.json": b"\xef\xbb\xbf" + text + b"\n\n"}
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    monkeypatch.setattr(filling, "STATEMENT_BYTES", statement)
    load(connection, tmp_path, files)
    assert_as_the_oracle(connection, files)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\0", b"\n")), max_size=12),
    st.integers(1, 30),
)
def test_blocks_are_whole_lines_in_order(chunks: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK_BYTES", size)
        blocks = list(reading.read_blocks(iter(chunks)))
    whole = b"".join(chunks).removeprefix(b"\xef\xbb\xbf")
    expected = dict(enumerate(whole.split(b"\n"), start=1))
    found = {
        number: line
        for first_line, content in blocks
        for number, line in enumerate(content.split(b"\n"), start=first_line)
    }
    assert sum(content.count(b"\n") + 1 for _, content in blocks) == len(found)
    assert {n: line for n, line in found.items() if line} == {n: line for n, line in expected.items() if line}


def test_a_line_longer_than_a_block(connection: Connection, tmp_path: Path) -> None:
    text = b'{"user_id": "' + b"u" * (reading.BLOCK_BYTES + 10) + b'"}'
    load(connection, tmp_path, {"a.json": b"{}\n" + text + b"\n" + EVENT})
    assert [(row[1], len(row[3] or "")) for row in rows(connection)] == [
        (1, 0),
        (2, reading.BLOCK_BYTES + 10),
        (3, 2),
    ]


@pytest.mark.parametrize("limit", ["TRANSACTION_FILES", "TRANSACTION_BYTES"])
def test_progress_is_told_after_each_transaction(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(loading, limit, 2 if limit == "TRANSACTION_FILES" else len(EVENT) + 1)
    told: list[tuple[int, int]] = []
    loading.load_files(
        connection,
        arrivals(tmp_path, {f"{n}.json": EVENT for n in range(5)}),
        run_id="run",
        progress=lambda loaded: told.append((loaded.batches, loaded.rows)),
    )
    assert told == [(2, 2), (4, 4), (5, 5)]


# --- Against the oracle -------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(landings())
def test_any_landing_is_read_as_the_oracle_reads_it(
    database: Connection, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    with emptied(database) as connection:
        load(connection, tmp_path_factory.mktemp("landing"), files)
        assert_as_the_oracle(connection, files)


def test_a_large_landing_is_read_as_the_oracle_reads_it(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(filling, "STATEMENT_BYTES", 30_000)
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 17)
    files = big_landing(seed=7, files=80)
    loaded = load(connection, tmp_path, files)
    assert loaded.batches == len(files)
    assert_as_the_oracle(connection, files)
    by_name = [batch.load_at for _, batch in sorted(batches(connection).items())]
    assert by_name == sorted(by_name)


# --- Side by side -------------------------------------------------------------------------------


@pytest.fixture
def side_by_side(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """Each file in a transaction of its own, and three at a time, on any machine."""
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 1)
    monkeypatch.setattr(loading, "_engine_threads", lambda _: 3)
    return connection


def test_times_and_commits_are_in_order_of_file_name(side_by_side: Connection, tmp_path: Path) -> None:
    """The first files are the largest, so that those behind them are done before."""
    files = {f"{n}.json": b"\n".join(numbered(range(1, 20_000 >> n))) for n in range(8)}
    seen: list[list[str]] = []
    loading.load_files(
        side_by_side,
        arrivals(tmp_path, files),
        run_id="run",
        progress=lambda _: seen.append(sorted(batches(side_by_side))),
    )
    assert seen == [sorted(files)[: n + 1] for n in range(8)]
    times = [batch.load_at for _, batch in sorted(batches(side_by_side).items())]
    assert times == sorted(times)
    assert_as_the_oracle(side_by_side, files)


def test_a_large_landing_side_by_side_is_read_as_the_oracle_reads_it(
    side_by_side: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 3)
    files = big_landing(seed=11, files=40)
    load(side_by_side, tmp_path, files)
    assert_as_the_oracle(side_by_side, files)


def test_what_cannot_be_read_stops_none_of_the_others(side_by_side: Connection, tmp_path: Path) -> None:
    found = arrivals(tmp_path, {f"{n}.json": EVENT for n in range(6)} | {"7.json.gz": b"broken"})
    (tmp_path / "1.json").unlink()
    (tmp_path / "4.json").write_bytes(EVENT * 2)
    loaded = loading.load_files(side_by_side, found, run_id="run")
    assert (loaded.batches, loaded.rows) == (5, 4)
    assert [name for name, _ in loaded.left_out] == ["1.json", "4.json"]
    assert [row[0] for row in rows(side_by_side)] == ["0.json", "2.json", "3.json", "5.json"]
    assert batches(side_by_side)["7.json.gz"].status is BatchStatus.QUARANTINED


def test_an_error_beside_others_leaves_what_stands_before_it(
    side_by_side: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ledger.record

    def failing(cursor: Connection, entered: list[Batch]) -> None:
        if entered[0].filename == "3.json":
            raise RuntimeError
        record(cursor, entered)

    found = arrivals(tmp_path, {f"{n}.json": EVENT for n in range(7)})
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record", failing)
        with pytest.raises(RuntimeError):
            loading.load_files(side_by_side, found, run_id="run")
    assert [row[0] for row in rows(side_by_side)] == sorted(batches(side_by_side)) == ["0.json", "1.json", "2.json"]
    assert loading.load_files(side_by_side, found, run_id="run").batches == 4
    assert len(rows(side_by_side)) == 7


def test_new_attempts_prepare_the_earlier_ones(side_by_side: Connection, tmp_path: Path) -> None:
    names = [f"{n}.json" for n in range(9)]
    loading.load_files(side_by_side, arrivals(tmp_path, dict.fromkeys(names, EVENT)), run_id="run")
    again = arrivals(tmp_path, dict.fromkeys(names, EVENT + b"\n" + EVENT))
    loading.load_files(side_by_side, [replace(a, attempt=2) for a in again], run_id="run")
    found = ledger.attempts(side_by_side, names)
    assert [[batch.status for batch in found[name]] for name in names] == [["superseded", "loaded"]] * 9


def test_too_little_memory_for_several_is_enough_for_one_after_the_other(
    side_by_side: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed stays, and no file is held back for what others beside it took."""
    load_group = loading._load_group

    def without_memory(writer: Any, group: Any, run_id: str, **options: Any) -> Loaded:
        if writer.ended and group[0][0].file.filename >= "2.json":
            raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")
        return load_group(writer, group, run_id, **options)

    monkeypatch.setattr(loading, "_load_group", without_memory)
    files = {f"{n}.json": EVENT for n in range(6)}
    assert load(side_by_side, tmp_path, files).batches == 6
    assert_as_the_oracle(side_by_side, files)
    times = [batch.load_at for _, batch in sorted(batches(side_by_side).items())]
    assert times == sorted(times)


def test_what_fits_into_one_transaction_is_loaded_without_threads(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(loading.side_by_side, "committed")
    assert load(connection, tmp_path, {f"{n}.json": EVENT for n in range(20)}).batches == 20


# --- Once and only once -------------------------------------------------------------------------


def test_loading_twice_loads_once(connection: Connection, tmp_path: Path) -> None:
    files = {"a.json": EVENT, "b.json.gz": b"broken", "c.json": b""}
    assert load(connection, tmp_path, files).batches == 3
    before = rows(connection), batches(connection)
    again = loading.load_files(connection, arrivals(tmp_path, files), run_id="another run")
    assert again == Loaded()
    assert (rows(connection), batches(connection)) == before


def test_a_retry_goes_on_behind_what_was_committed(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arrivals(tmp_path, {"a.json": EVENT, "b.json": EVENT, "c.json": EVENT})
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 1)

    def crash_after_two(loaded: Loaded) -> None:
        if loaded.batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading.load_files(connection, found, run_id="run", progress=crash_after_two)
    assert loading.load_files(connection, found, run_id="run").batches == 1
    assert [row[0] for row in rows(connection)] == ["a.json", "b.json", "c.json"]


def test_an_error_in_a_transaction_leaves_nothing_of_it(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(ledger, "record", failing)
    with pytest.raises(RuntimeError):
        load(connection, tmp_path, {"a.json": EVENT})
    assert rows(connection) == []
    assert batches(connection) == {}


def test_a_new_attempt_has_an_id_of_its_own_and_keeps_the_rows_of_the_old_one(
    connection: Connection, tmp_path: Path
) -> None:
    (first,) = arrivals(tmp_path, {"a.json": EVENT})
    loading.load_files(connection, [first], run_id="run")
    (second,) = arrivals(tmp_path, {"a.json": EVENT + b"\n" + EVENT})
    loading.load_files(connection, [replace(second, attempt=2)], run_id="run")
    counts = connection.execute("select batch_id, count(*) from bronze.raw_events group by 1").fetchall()
    assert dict(counts) == {filling.batch_id("a.json", 1): 1, filling.batch_id("a.json", 2): 2}


def test_an_empty_file_in_the_place_of_a_published_one_is_not_let_go(connection: Connection, tmp_path: Path) -> None:
    (found,) = arrivals(tmp_path, {"a.json": b""})
    loading.load_files(connection, [replace(found, attempt=2, mutates="0123")], run_id="run")
    batch = batches(connection)["a.json"]
    assert (batch.status, batch.mutates, batch.pending) == (BatchStatus.LOADED, "0123", True)


# --- Files that will not be read ----------------------------------------------------------------


def test_a_file_that_changed_since_it_was_found_is_left_out(connection: Connection, tmp_path: Path) -> None:
    found = arrivals(tmp_path, {"a.json": EVENT, "b.json": EVENT, "c.json": EVENT})
    (tmp_path / "b.json").write_bytes(EVENT + b"\n" + EVENT)
    loaded = loading.load_files(connection, found, run_id="run")
    assert loaded.batches == 2
    ((name, reason),) = loaded.left_out
    assert name == "b.json"
    assert "changed while it was read" in reason
    assert [row[0] for row in rows(connection)] == ["a.json", "c.json"]
    assert set(batches(connection)) == {"a.json", "c.json"}


def test_a_file_that_changes_while_it_is_read_is_left_out(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_blocks = filling.read_blocks

    def growing(chunks: Iterator[bytes], **limits: Any) -> Iterator[tuple[int, bytes]]:
        yield from read_blocks(chunks, **limits)
        with (tmp_path / "b.json").open("ab") as file:
            file.write(EVENT)

    found = arrivals(tmp_path, {"a.json": EVENT, "b.json": b"\n".join(numbered(range(9)))})
    monkeypatch.setattr(filling, "read_blocks", growing)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1)
    monkeypatch.setattr(filling, "STATEMENT_BYTES", 1)
    loaded = loading.load_files(connection, found, run_id="run")
    assert [name for name, _ in loaded.left_out] == ["b.json"]
    assert [row[0] for row in rows(connection)] == ["a.json"]


def test_a_file_that_is_gone_is_left_out_and_named(connection: Connection, tmp_path: Path) -> None:
    found = arrivals(tmp_path, {"a.json": EVENT, "b.json": EVENT})
    (tmp_path / "a.json").unlink()
    loaded = loading.load_files(connection, found, run_id="run")
    assert loaded.left_out == (("a.json", "cannot be read: No such file or directory"),)
    assert [row[0] for row in rows(connection)] == ["b.json"]
    assert set(batches(connection)) == {"b.json"}


@pytest.mark.parametrize("block_bytes", [4, 50, 4 * 2**20])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_a_line_that_is_too_long_is_named(monkeypatch: pytest.MonkeyPatch, block_bytes: int, chunk_bytes: int) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block_bytes)

    def read(content: bytes) -> bytes:
        chunks = (content[i : i + chunk_bytes] for i in range(0, len(content), chunk_bytes))
        return b"\n".join(block for _, block in reading.read_blocks(chunks, max_line_bytes=30))

    fits = b"ab\n\n" + b"x" * 30 + b"\ncd"
    assert read(fits) == fits
    for content in (b"ab\n\n" + b"x" * 31 + b"\ncd", b"ab\n\n" + b"x" * 31):
        with pytest.raises(UnreadableFileError, match=r"^line 3 is longer than .* MB \(PODCAST_MAX_LINE_MB\); land it"):
            read(content)


@pytest.mark.parametrize("name", ["bomb.json.gz", "bomb.json.zst"])
def test_a_file_that_passes_a_limit_is_held_back_and_the_others_are_loaded(tmp_path: Path, name: str) -> None:
    content = (b"{}" + b" " * 98 + b"\n") * 1000
    packed = gzip.compress(content) if name.endswith(".gz") else zstandard.compress(content)
    (tmp_path / name).write_bytes(packed)
    (tmp_path / "long.json").write_bytes(b"{}\n" + b"x" * 2000 + b"\n{}\n")
    (tmp_path / "fine.json").write_bytes(b"{}\n")
    arrivals = [Arrival(file, 1) for file in find_files(tmp_path, known={}, settle_seconds=0).files]
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        limits = reading.Limits(line=1000, unpacked=50_000)
        loading.load_files(connection, arrivals, run_id="run", limits=limits)
        rows = dict(connection.execute("select filename, detail from ops.batches").fetchall())
        assert connection.execute("select distinct filename from bronze.raw_events").fetchall() == [("fine.json",)]
    assert rows["fine.json"] is None
    assert rows["long.json"].startswith("line 2 is longer than")
    assert "it unpacks to more than" in rows[name]
    assert "PODCAST_MAX_UNPACKED_MB" in rows[name]


@pytest.mark.parametrize(("length", "first_refused"), [(100, None), (500, 601)])
def test_many_long_lines_in_a_row_are_refused(
    monkeypatch: pytest.MonkeyPatch, length: int, first_refused: int | None
) -> None:
    """No more than a window of lines counts, wherever in the file it is: here 10 lines and 4,000 bytes."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 200)
    monkeypatch.setattr(reading, "TOGETHER_LINES", 10)
    content = b"x" * 100 + b"\n" + b"\n".join([b"y" * 100] * 599) + b"\n" + b"\n".join([b"z" * length] * 30)
    blocks = reading.bearable(
        reading.read_blocks(iter([content[i : i + 50] for i in range(0, len(content), 50)])), max_bytes=4000
    )
    if first_refused is None:
        assert b"\n".join(block for _, block in blocks) == content
    else:
        with pytest.raises(UnreadableFileError, match=r"hold more than .* together \(8 times PODCAST_MAX_LINE_MB\)"):
            list(blocks)


@pytest.mark.parametrize("transaction_files", [1000, 1], ids=["in one transaction", "side by side"])
def test_a_file_that_takes_too_much_memory_is_held_back_and_the_others_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transaction_files: int
) -> None:
    """Two and a half million empty arrays in one line, at a hundred bytes of memory each."""
    monkeypatch.setattr(loading, "TRANSACTION_FILES", transaction_files)
    files = {"a.json": EVENT, "b.json": EVENT + b'\n{"x": [' + b"[]," * 2_500_000 + b"[]]}", "c.json": EVENT}
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        connection.execute("set memory_limit = '300MB'")
        connection.execute("set preserve_insertion_order = false")
        loaded = load(connection, tmp_path, files)
        found = batches(connection)
        assert [row[0] for row in rows(connection)] == ["a.json", "c.json"]
    assert (loaded.batches, loaded.rows, loaded.left_out) == (3, 2, ())
    assert [found[name].status for name in files] == ["loaded", "quarantined", "loaded"]
    assert (found["b.json"].gate, found["b.json"].reason) == ("load", "unreadable_file")
    assert "PODCAST_MEMORY_LIMIT" in (found["b.json"].detail or "")
    assert found["b.json"].content_hash == hashlib.sha256(files["b.json"]).hexdigest()
    assert found["a.json"].load_at <= found["b.json"].load_at <= found["c.json"].load_at


@pytest.mark.parametrize(
    ("name", "compress"), [("a.json.gz", gzip.compress), ("a.json.zst", zstandard.ZstdCompressor().compress)]
)
def test_a_bomb_comes_out_in_pieces(tmp_path: Path, name: str, compress: Callable[[bytes], bytes]) -> None:
    content = b"\n" * (200 * 2**20)
    (tmp_path / name).write_bytes(compress(content))
    with (tmp_path / name).open("rb") as file:
        pieces = reading.decompressed(name, reading.HashedFile(file), max_bytes=2**40)
        sizes = [len(piece) for piece in pieces]
    assert sum(sizes) == len(content)
    assert max(sizes) <= 33 * 2**20
