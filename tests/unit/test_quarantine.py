"""Holding a batch back: its evidence, its state, and the decisions about it."""

import base64
import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows import evidence, ledger, loading, quarantine, warehouse
from flows.domain import Arrival, BatchStatus, Decision, Gate, Selection, Verdict
from flows.errors import LedgerError
from flows.landing import find_files
from flows.settings import Settings

Connection = duckdb.DuckDBPyConnection

# Stands for the dbt models, which say the same of these files.
FAILING_LINES = """
    create view ops.failing_lines as
    select
        batch_id, filename, line_number, ['malformed_json'] as codes, event_type, user_id, episode_id,
        "timestamp", duration, rescued, rescued_bytes, load_at
    from bronze.raw_events
    where is_malformed
"""
FILES = {"a.json": b"{}\noops\n\xff\n", "b.json": b"{}\n", "it's.json.gz": b"broken"}
A, B, BROKEN = (loading.batch_id(name, 1) for name in FILES)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "it's home")


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    """Three files that have just been loaded and validated."""
    settings.landing_dir.mkdir(parents=True)
    for name, content in FILES.items():
        (settings.landing_dir / name).write_bytes(content)
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        connection.execute(FAILING_LINES)
        landing = find_files(settings.landing_dir, known={}, settle_seconds=0)
        loading.load_files(connection, [Arrival(file, 1) for file in landing.files], run_id="run")
        connection.execute("create table bronze.validated_events as from bronze.raw_events")
        yield connection


def held_back(gate: Gate = Gate.VALIDATED, batch_id: str = A) -> Verdict:
    return Verdict(gate, (), failing={batch_id: ("invalid_share", "Most rows are valid.", "And more.")})


def validated(connection: Connection) -> set[str]:
    rows = connection.execute("select batch_id from bronze.validated_events").fetchall()
    return {batch_id for (batch_id,) in rows}


def test_a_batch_that_is_held_back_leaves_the_validated_rows_and_keeps_its_raw_ones(
    settings: Settings, connection: Connection
) -> None:
    quarantine.hold_back(settings, connection, held_back())
    batch = ledger.find(connection, A)
    assert (batch.status, batch.gate, batch.reason) == (BatchStatus.QUARANTINED, "validated", "invalid_share")
    assert batch.detail == "Most rows are valid.; And more."
    assert validated(connection) == {B}
    assert connection.execute("select count(*) from bronze.raw_events").fetchone() == (4,)
    assert ledger.find(connection, B).status is BatchStatus.LOADED


def test_at_the_raw_gate_there_are_no_validated_rows_to_take_out(settings: Settings, connection: Connection) -> None:
    connection.execute("drop table bronze.validated_events")
    quarantine.hold_back(settings, connection, held_back(Gate.RAW))
    assert ledger.find(connection, A).gate == "raw"


def test_nobody_is_held_back_by_a_gate_that_passed(settings: Settings, connection: Connection) -> None:
    quarantine.hold_back(settings, connection, Verdict(Gate.VALIDATED, ()))
    assert validated(connection) == {A, B}
    assert not settings.quarantine_dir.exists()


def test_evidence_has_the_report_and_the_failing_lines(settings: Settings, connection: Connection) -> None:
    quarantine.hold_back(settings, connection, held_back())
    folder = evidence.folder(settings, A)
    assert sorted(path.name for path in folder.iterdir()) == [
        "failing_lines.jsonl",
        "report.json",
        "report.md",
    ]
    assert [path.name for path in settings.quarantine_dir.iterdir()] == [A]
    assert (folder / "report.md").read_text().startswith("# `a.json`: invalid\\_share\n")
    report = json.loads((folder / "report.json").read_text())
    assert report == {
        "batch_id": A,
        "filename": "a.json",
        "attempt": 1,
        "content_hash": ledger.find(connection, A).content_hash,
        "gate": "validated",
        "reason": "invalid_share",
        "findings": ["Most rows are valid.", "And more."],
        "row_count": 3,
        "load_at": ledger.find(connection, A).load_at.isoformat(),
    }
    lines = [json.loads(line) for line in (folder / "failing_lines.jsonl").read_text().splitlines()]
    assert [(line["line_number"], line["codes"]) for line in lines] == [
        (2, ["malformed_json"]),
        (3, ["malformed_json"]),
    ]
    assert lines[0]["rescued"] == "oops"
    assert base64.b64decode(lines[1]["rescued_base64"]) == b"\xff"


def test_old_evidence_is_replaced(settings: Settings, connection: Connection) -> None:
    folder = evidence.folder(settings, A)
    folder.mkdir(parents=True)
    (folder / "from an earlier time").touch()
    quarantine.hold_back(settings, connection, held_back())
    assert not (folder / "from an earlier time").exists()


def test_without_evidence_no_batch_is_held_back(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run finds the batch as it was and judges it again."""

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quarantine, "write_evidence", full_disk)
    with pytest.raises(OSError, match="No space"):
        quarantine.hold_back(settings, connection, held_back())
    assert ledger.find(connection, A).status is BatchStatus.LOADED
    assert validated(connection) == {A, B}


def test_an_unreadable_file_has_a_report_and_no_lines(settings: Settings, connection: Connection) -> None:
    quarantine.write_evidence_of_unreadable(settings, connection)
    assert [path.name for path in settings.quarantine_dir.iterdir()] == [BROKEN]
    folder = evidence.folder(settings, BROKEN)
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    report = json.loads((folder / "report.json").read_text())
    assert (report["gate"], report["reason"], report["row_count"]) == ("load", "unreadable_file", 0)
    assert "compressed data is broken" in report["findings"][0]


def act(connection: Connection, decision: Decision, *names: str, reason: str) -> None:
    batches = quarantine.choose(connection, decision, Selection(names))
    quarantine.decide(connection, decision, batches, reason=reason)


def test_decisions_record_who_and_why(settings: Settings, connection: Connection) -> None:
    quarantine.hold_back(settings, connection, held_back())
    act(connection, Decision.RELEASE, "a.json", reason="looked at it")
    released = ledger.find(connection, A)
    assert (released.status, released.decision, released.pending) == (
        BatchStatus.RELEASED,
        "looked at it",
        True,
    )
    assert released.decided_by == getpass.getuser()
    act(connection, Decision.DISCARD, A[:10], reason="on second thoughts")
    discarded = ledger.find(connection, A)
    assert (discarded.status, discarded.decision) == (BatchStatus.DISCARDED, "on second thoughts")


def test_a_refused_decision_changes_nothing(settings: Settings, connection: Connection) -> None:
    quarantine.hold_back(settings, connection, held_back())
    before = connection.execute("from ops.batches order by all").fetchall()
    with pytest.raises(LedgerError, match=rf"a batch that is quarantined can be chosen here: {B} .* is loaded"):
        act(connection, Decision.RELEASE, A, B, reason="r")
    with pytest.raises(LedgerError, match="has no rows to release: the compressed data is broken"):
        act(connection, Decision.RELEASE, A, BROKEN, reason="r")
    with pytest.raises(LedgerError, match="No batch has the id"):
        act(connection, Decision.DISCARD, "nobody", reason="r")
    with pytest.raises(LedgerError, match="Name batches, or give a pattern"):
        act(connection, Decision.DISCARD, reason="r")
    assert connection.execute("from ops.batches order by all").fetchall() == before


def test_a_decision_for_many_leaves_out_what_it_cannot_concern(settings: Settings, connection: Connection) -> None:
    quarantine.hold_back(settings, connection, held_back())

    def chosen(decision: Decision, **selection: Any) -> list[str]:
        return [b.batch_id for b in quarantine.choose(connection, decision, Selection(**selection))]

    assert chosen(Decision.RELEASE, pattern="*") == [A]
    assert sorted(chosen(Decision.DISCARD, pattern="*")) == sorted([A, BROKEN])
    assert sorted(chosen(Decision.REPROCESS, pattern="?.json")) == sorted([A, B])
    with pytest.raises(LedgerError, match="No batch that is quarantined answers to that"):
        chosen(Decision.RELEASE, pattern="b*")
