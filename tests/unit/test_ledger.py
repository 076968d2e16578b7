"""The state machine of batches: each transition, each refusal, and what stays as it was."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import duckdb
import pytest

from flows import ledger, warehouse
from flows.domain import Batch, BatchStatus, Gate
from flows.errors import LedgerError

Connection = duckdb.DuckDBPyConnection

LOAD_AT = datetime(2026, 6, 1, 12)  # noqa: DTZ001 - UTC without a zone, as everywhere
NOW = datetime(2026, 6, 2, 12)  # noqa: DTZ001
LOADED, PUBLISHED, QUARANTINED, RELEASED, DISCARDED, SUPERSEDED, EMPTY = BatchStatus


@pytest.fixture(scope="module")
def database() -> Iterator[Connection]:
    with duckdb.connect() as database:
        database.execute(warehouse.TABLES)
        yield database


@pytest.fixture
def connection(database: Connection) -> Iterator[Connection]:
    with database.cursor() as connection:
        connection.execute("truncate ops.batches")
        yield connection


def batch(batch_id: str, filename: str = "a.json", attempt: int = 1, **changes: Any) -> Batch:
    plain = Batch(
        batch_id=batch_id,
        filename=filename,
        attempt=attempt,
        content_hash=f"hash of {batch_id}",
        size_bytes=100,
        fingerprint=f"fingerprint of {batch_id}",
        status=LOADED,
        gate=None,
        reason=None,
        detail=None,
        decision=None,
        decided_by=None,
        row_count=10,
        malformed_count=1,
        invalid_count=None,
        mutates=None,
        pending=True,
        run_id="run",
        load_at=LOAD_AT,
        updated_at=LOAD_AT,
    )
    return replace(plain, **changes)


def settled(batch_id: str, status: BatchStatus, filename: str = "a.json", attempt: int = 1) -> Batch:
    return batch(batch_id, filename, attempt, status=status, pending=False)


def put(connection: Connection, *batches: Batch) -> None:
    """Enter batches in whatever state they are."""
    for one in batches:
        values = list(asdict(one).values())
        marks = ", ".join("?" * len(values))
        connection.execute(f"insert into ops.batches ({', '.join(ledger.COLUMNS)}) values ({marks})", values)


def state(connection: Connection) -> dict[str, tuple[BatchStatus, bool]]:
    rows = connection.execute("select batch_id, status, pending from ops.batches").fetchall()
    return {batch_id: (BatchStatus(status), pending) for batch_id, status, pending in rows}


def one(connection: Connection, batch_id: str) -> Batch:
    return ledger.find(connection, batch_id)


# --- Entering -----------------------------------------------------------------------------------


def test_the_ledger_has_a_column_for_each_field(connection: Connection) -> None:
    columns = connection.execute("select column_name from (describe ops.batches)").fetchall()
    assert {name for (name,) in columns} == set(ledger.COLUMNS)


def test_what_is_recorded_is_read_back(connection: Connection) -> None:
    batches = [
        batch("1", "it's [1]\n日本.json", gate="load", reason="r", detail='d"', invalid_count=3, mutates="0"),
        batch("2", "b.json", status=EMPTY, pending=False, row_count=0, size_bytes=2**40),
    ]
    ledger.record(connection, batches)
    assert [one(connection, "1"), one(connection, "2")] == batches
    assert ledger.recorded(connection, ["1", "3"]) == {"1"}


def test_recording_nothing_does_nothing(connection: Connection) -> None:
    ledger.record(connection, [])
    assert state(connection) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (settled("1", PUBLISHED), (PUBLISHED, True)),
        (settled("1", RELEASED), (RELEASED, True)),
        (batch("1"), (SUPERSEDED, True)),
        (settled("1", QUARANTINED), (QUARANTINED, False)),
        (settled("1", DISCARDED), (DISCARDED, False)),
        (settled("1", SUPERSEDED), (SUPERSEDED, False)),
        (settled("1", EMPTY), (EMPTY, False)),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Batch) else "",
)
def test_a_new_attempt_takes_what_was_accepted_along(
    connection: Connection, before: Batch, after: tuple[BatchStatus, bool]
) -> None:
    put(connection, before, settled("other", PUBLISHED, "other.json"))
    ledger.record(connection, [batch("2", attempt=2)])
    assert state(connection) == {"1": after, "2": (LOADED, True), "other": (PUBLISHED, False)}


def test_attempts_fingerprints_and_pending_are_in_order(connection: Connection) -> None:
    put(
        connection,
        batch("b2", "b.json", 2),
        settled("b10", PUBLISHED, "b.json", 10),
        settled("b1", SUPERSEDED, "b.json", 1),
        batch("a1", "a.json"),
    )
    assert {name: [b.attempt for b in past] for name, past in _attempts(connection).items()} == {
        "a.json": [1],
        "b.json": [1, 2, 10],
    }
    assert ledger.attempts(connection, []) == {}
    assert ledger.fingerprints(connection) == {
        "a.json": "fingerprint of a1",
        "b.json": "fingerprint of b10",
    }
    assert [b.batch_id for b in ledger.pending(connection)] == ["a1", "b2"]


def _attempts(connection: Connection) -> dict[str, list[Batch]]:
    return ledger.attempts(connection, ["a.json", "b.json", "c.json"])


def test_touch_changes_the_fingerprint_only(connection: Connection) -> None:
    put(connection, settled("1", PUBLISHED), settled("2", PUBLISHED, "b.json"))
    ledger.touch(connection, [])
    ledger.touch(connection, iter([("1", "new")]))
    assert one(connection, "1") == replace(settled("1", PUBLISHED), fingerprint="new")
    assert one(connection, "2") == settled("2", PUBLISHED, "b.json")


def test_empty_files_of_a_run(connection: Connection) -> None:
    put(
        connection,
        batch("2", "b.json", status=EMPTY),
        batch("1", "a.json", status=EMPTY),
        batch("3", "c.json", status=EMPTY, run_id="an earlier run"),
        batch("4", "d.json"),
    )
    assert [b.batch_id for b in ledger.empty_of_run(connection, "run")] == ["1", "2"]


# --- Finding ------------------------------------------------------------------------------------


@pytest.fixture
def some(connection: Connection) -> Connection:
    put(
        connection,
        batch("abc1", "x/a.json", 1, status=SUPERSEDED),
        batch("abd2", "x/a.json", 2),
        batch("b%_3", "abc", 1),
    )
    return connection


@pytest.mark.parametrize(
    ("name", "batch_id"),
    [
        ("abc1", "abc1"),
        ("abd", "abd2"),
        ("b", "b%_3"),
        ("b%", "b%_3"),
        ("x/a.json", "abd2"),
        ("abc", "b%_3"),  # a file of that name, before a batch that begins so
    ],
)
def test_find(some: Connection, name: str, batch_id: str) -> None:
    assert ledger.find(some, name).batch_id == batch_id


@pytest.mark.parametrize("name", ["", "x", "a.json", "%", "_", "ABC1", "abc1 ", "'; drop table x; --"])
def test_find_nothing(some: Connection, name: str) -> None:
    with pytest.raises(LedgerError) as raised:
        ledger.find(some, name)
    assert f"No batch has the id or file name {name!r}" in str(raised.value)
    assert "podcast status" in str(raised.value)


def test_find_several(some: Connection) -> None:
    with pytest.raises(LedgerError) as raised:
        ledger.find(some, "ab")
    assert str(raised.value) == (
        "'ab' is the beginning of 2 batch ids: abc1 (x/a.json), abd2 (x/a.json). Type more of it."
    )


# --- Quarantine and decisions -------------------------------------------------------------------


def test_quarantine_takes_loaded_batches_with_their_reasons(connection: Connection) -> None:
    put(connection, batch("1"), batch("2", "b.json"), settled("3", PUBLISHED, "c.json"), batch("4", "d.json"))
    reasons = {"1": ("code", "first.", "second."), "2": ("other",), "3": ("code", "too late.")}
    ledger.quarantine(connection, Gate.VALIDATED, reasons, rules_version="v1")
    assert state(connection) == {
        "1": (QUARANTINED, True),
        "2": (QUARANTINED, True),
        "3": (PUBLISHED, False),
        "4": (LOADED, True),
    }
    first, second, published = (one(connection, batch_id) for batch_id in "123")
    assert (first.gate, first.reason, first.detail) == ("validated", "code", "first.; second.")
    assert (second.gate, second.reason, second.detail) == ("validated", "other", "")
    assert published == settled("3", PUBLISHED, "c.json")
    assert first.updated_at > LOAD_AT


def test_release(connection: Connection) -> None:
    held = replace(settled("2", QUARANTINED, attempt=2), gate="raw", reason="mutated_file", detail="d")
    put(connection, settled("1", PUBLISHED), held, settled("3", PUBLISHED, "b.json"))
    ledger.release(connection, held, reason="it is right", who="me")
    assert state(connection) == {"1": (PUBLISHED, True), "2": (RELEASED, True), "3": (PUBLISHED, False)}
    released = one(connection, "2")
    assert (released.decision, released.decided_by) == ("it is right", "me")
    assert (released.gate, released.reason, released.detail) == ("raw", "mutated_file", "d")
    assert released.updated_at > LOAD_AT


def test_release_of_a_batch_without_rows_is_refused(connection: Connection) -> None:
    held = replace(settled("1", QUARANTINED), row_count=0, detail="the compressed data is broken")
    put(connection, held)
    with pytest.raises(LedgerError) as raised:
        ledger.release(connection, held, reason="r", who="me")
    assert str(raised.value) == (
        "Batch 1 (a.json) has no rows to release: the compressed data is broken. "
        "Land a corrected file under the same name, or discard the batch."
    )
    assert one(connection, "1") == held


@pytest.mark.parametrize("status", [s for s in BatchStatus if s is not QUARANTINED])
def test_release_from_another_state_is_refused(connection: Connection, status: BatchStatus) -> None:
    _assert_refused(
        connection,
        settled("1", status),
        ledger.release,
        f"Batch 1 (a.json) is {status}; only a batch that is quarantined can become released.",
    )


@pytest.mark.parametrize("status", [LOADED, DISCARDED, SUPERSEDED, EMPTY])
def test_discard_from_another_state_is_refused(connection: Connection, status: BatchStatus) -> None:
    _assert_refused(
        connection,
        settled("1", status),
        ledger.discard,
        f"Batch 1 (a.json) is {status}; "
        "only a batch that is published or quarantined or released can become discarded.",
    )


def _assert_refused(connection: Connection, refused: Batch, decide: Callable[..., None], message: str) -> None:
    put(connection, refused)
    with pytest.raises(LedgerError) as raised:
        decide(connection, refused, reason="r", who="me")
    assert str(raised.value) == message
    assert one(connection, "1") == refused


@pytest.mark.parametrize("status", [QUARANTINED, PUBLISHED, RELEASED])
def test_discard(connection: Connection, status: BatchStatus) -> None:
    put(connection, settled("1", status), settled("2", PUBLISHED, "b.json"))
    ledger.discard(connection, one(connection, "1"), reason="a test's", who="me")
    assert state(connection) == {"1": (DISCARDED, True), "2": (PUBLISHED, False)}
    assert (one(connection, "1").decision, one(connection, "1").decided_by) == ("a test's", "me")


# --- The end of a run ---------------------------------------------------------------------------


def settle(connection: Connection, *batch_ids: str) -> None:
    (catalog,) = connection.execute("select current_catalog()").fetchone() or ("",)
    ledger.settle(connection, catalog, batch_ids, rules_version="v1", now=NOW)


def test_settle_publishes_what_is_loaded_and_leaves_the_other_states(connection: Connection) -> None:
    statuses = list(BatchStatus)
    put(connection, *(batch(s, f"{s}.json", status=s) for s in statuses), batch("later", "later.json"))
    settle(connection, *statuses)
    assert state(connection) == {
        **{s: (PUBLISHED if s is LOADED else s, False) for s in statuses},
        "later": (LOADED, True),
    }
    assert one(connection, "loaded").updated_at == NOW
    assert {one(connection, s).updated_at for s in statuses if s is not LOADED} == {LOAD_AT}


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        (PUBLISHED, SUPERSEDED),
        (RELEASED, SUPERSEDED),
        (QUARANTINED, SUPERSEDED),
        (DISCARDED, SUPERSEDED),
        (SUPERSEDED, SUPERSEDED),
        (EMPTY, EMPTY),
    ],
)
@pytest.mark.parametrize("new", [LOADED, RELEASED])
def test_settle_supersedes_earlier_attempts(
    connection: Connection, old: BatchStatus, new: BatchStatus, expected: BatchStatus
) -> None:
    put(
        connection,
        settled("1", old),
        batch("2", attempt=2, status=new),
        settled("3", DISCARDED, attempt=3),
        settled("other", PUBLISHED, "other.json"),
    )
    settle(connection, "2")
    assert state(connection) == {
        "1": (expected, False),
        "2": (PUBLISHED if new is LOADED else new, False),
        "3": (DISCARDED, False),
        "other": (PUBLISHED, False),
    }


@pytest.mark.parametrize("new", [QUARANTINED, DISCARDED, EMPTY])
def test_an_attempt_that_is_not_accepted_supersedes_nothing(connection: Connection, new: BatchStatus) -> None:
    put(connection, replace(settled("1", PUBLISHED), pending=True), batch("2", attempt=2, status=new))
    settle(connection, "1", "2")
    assert state(connection) == {"1": (PUBLISHED, False), "2": (new, False)}


def test_settle_twice_is_settle_once(connection: Connection) -> None:
    put(connection, settled("1", PUBLISHED), batch("2", attempt=2), batch("3", "b.json"))
    settle(connection, "2", "3")
    before = connection.execute("from ops.batches order by batch_id").fetchall()
    settle(connection, "2", "3")
    assert connection.execute("from ops.batches order by batch_id").fetchall() == before


def test_a_whole_life(connection: Connection) -> None:
    """Held back, corrected, published, changed behind our back, released, discarded."""
    ledger.record(connection, [batch("1")])
    ledger.quarantine(connection, Gate.RAW, {"1": ("malformed_share",)}, rules_version="v1")
    settle(connection, "1")
    ledger.record(connection, [batch("2", attempt=2)])
    settle(connection, "2")
    ledger.record(connection, [batch("3", attempt=3, mutates="2")])
    ledger.quarantine(connection, Gate.RAW, {"3": ("mutated_file",)}, rules_version="v1")
    settle(connection, "2", "3")
    assert state(connection) == {"1": (SUPERSEDED, False), "2": (PUBLISHED, False), "3": (QUARANTINED, False)}
    ledger.release(connection, one(connection, "3"), reason="r", who="me")
    settle(connection, "2", "3")
    assert state(connection) == {"1": (SUPERSEDED, False), "2": (SUPERSEDED, False), "3": (RELEASED, False)}
    ledger.discard(connection, one(connection, "3"), reason="r", who="me")
    settle(connection, "3")
    assert state(connection) == {"1": (SUPERSEDED, False), "2": (SUPERSEDED, False), "3": (DISCARDED, False)}


# --- The whole ledger ---------------------------------------------------------------------------


def test_mark_all_pending_takes_every_batch_that_has_rows(connection: Connection) -> None:
    put(connection, *(settled(s, s, f"{s}.json") for s in BatchStatus if s is not EMPTY))
    put(connection, replace(settled("empty", EMPTY, "e.json"), row_count=0))
    put(connection, replace(settled("unreadable", QUARANTINED, "u.json"), row_count=0))
    ledger.mark_all_pending(connection)
    assert {batch_id for batch_id, (_, pending) in state(connection).items() if not pending} == {
        "empty",
        "unreadable",
    }


def test_by_status_is_newest_first(connection: Connection) -> None:
    put(
        connection,
        replace(settled("1", QUARANTINED), load_at=LOAD_AT),
        replace(settled("2", QUARANTINED, "b.json"), load_at=NOW),
        replace(settled("3", DISCARDED, "c.json"), load_at=NOW),
        settled("4", PUBLISHED, "d.json"),
    )
    assert [b.batch_id for b in ledger.by_status(connection, QUARANTINED)] == ["2", "1"]
    both = ledger.by_status(connection, QUARANTINED, DISCARDED)
    assert {b.batch_id for b in both} == {"1", "2", "3"}
    assert all(newer.load_at >= older.load_at for newer, older in pairwise(both))


def test_count_by_status(connection: Connection) -> None:
    assert ledger.count_by_status(connection) == {}
    put(connection, settled("1", PUBLISHED), settled("2", PUBLISHED, "b.json"), batch("3", "c.json"))
    assert ledger.count_by_status(connection) == {"loaded": 1, "published": 2}
    assert ledger.count_by_status(connection, "memory") == {"loaded": 1, "published": 2}
