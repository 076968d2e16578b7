"""A batch's life in the real flow: held back at each gate, released, discarded, corrected, changed, reprocessed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from comparison import assert_tables_equal, expected_world, write_reference_data

from flows import checkpoints, gx_context, publish, quarantine, transform
from flows.decisions import reprocess_batches
from flows.domain import Decision, RunStatus, Selection
from flows.errors import BrokenGateError, GateFailedError, TransformError, WarehouseLockedError
from flows.settings import load_settings
from flows.warehouse import connect, writer_lock

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Home
from lines import event, lines

USERS = [("u1", None, "NO"), ("u2", None, None)]
EPISODES = [("e1", "p1", "One", None, 1000), ("e2", "p1", "Two", None, 0)]


GOOD = lines(*(event(m) for m in range(10)))
MALFORMED = lines(*(event(m) for m in range(10, 14)), "{", event(3, duration=77))
INVALID = lines(*(event(m) for m in range(20, 22)), event(22, duration=0), event(4, duration=88))
UNKNOWN = lines(event(5, duration=99), *(event(m, user="nobody") for m in range(30, 33)))
LANDING = {"a.json": GOOD, "b-malformed.json": MALFORMED, "c-invalid.json": INVALID, "d-unknown.json": UNKNOWN}


@pytest.fixture
def landed(home: Home) -> Home:
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    home.land(LANDING)
    return home


def check(home: Home, contents: dict[str, bytes], decisions: dict[str, Any] | None = None) -> None:
    warehouse = home.path / "warehouse" / "podcast.duckdb"
    assert_tables_equal(home.path, expected_world(warehouse, contents, USERS, EPISODES, decisions=decisions))


def ledger(home: Home) -> dict[tuple[str, int], tuple[str, str | None, str | None]]:
    rows = home.query("select filename, attempt, status, gate, reason from ops.batches")
    return {(name, attempt): tuple(rest) for name, attempt, *rest in rows}


def decide(decision: str, name: str) -> None:
    settings = load_settings()
    with writer_lock(settings, purpose="test"), connect(settings) as connection:
        chosen = quarantine.choose(connection, Decision(decision), Selection((name,)))
        quarantine.decide(connection, Decision(decision), chosen, reason="because")


def test_held_back_released_discarded(landed: Home) -> None:
    summary = landed.run()

    check(landed, LANDING)
    assert {b.filename: (b.gate, b.reason) for b in summary.quarantined} == {
        "b-malformed.json": ("raw", "malformed_share"),
        "c-invalid.json": ("validated", "invalid_share"),
        "d-unknown.json": ("cleansed", "unknown_share"),
    }
    for batch in summary.quarantined:
        folder = landed.path / "quarantine" / batch.batch_id
        failing = [json.loads(line) for line in (folder / "failing_lines.jsonl").read_text().splitlines()]
        assert batch.filename in (folder / "report.md").read_text()
        assert {
            "b-malformed.json": [(5, ["malformed_json"])],
            "c-invalid.json": [(3, ["invalid_duration"])],
            "d-unknown.json": [(2, ["unknown_user"]), (3, ["unknown_user"]), (4, ["unknown_user"])],
        }[batch.filename] == [(f["line_number"], f["codes"]) for f in failing]

    # Released, its rows win where they are the latest; discarded again, the keys go back.
    decide("release", "c-invalid.json")
    assert landed.run(load_new_files=False).published_batches == 1
    check(landed, LANDING, {"c-invalid.json": "released"})
    decide("release", "d-unknown.json")
    landed.run(load_new_files=False)
    check(landed, LANDING, {"c-invalid.json": "released", "d-unknown.json": "released"})
    decide("discard", "c-invalid.json")
    decide("discard", "a.json")
    landed.run(load_new_files=False)
    decisions = {"a.json": "discarded", "c-invalid.json": "discarded", "d-unknown.json": "released"}
    check(landed, LANDING, decisions)
    assert landed.query("select decision, decided_by is not null from ops.batches where filename = 'a.json'") == [
        ("because", True)
    ]

    # Whatever was decided, a full refresh gives the same.
    landed.run(full_refresh=True)
    check(landed, LANDING, decisions)


def test_corrected_changed_and_reprocessed(landed: Home) -> None:
    landed.run()
    corrected = LANDING | {"b-malformed.json": lines(*(event(m) for m in range(10, 14)))}
    landed.land(corrected)
    landed.run()
    check(landed, corrected)
    assert ledger(landed)["b-malformed.json", 1][0] == "superseded"
    assert ledger(landed)["b-malformed.json", 2][0] == "published"

    # A published file that changes is held back; what was published of it stays.
    facts = landed.query("from gold.fact_user_interactions order by interaction_id", published=True)
    landed.land({"a.json": lines(event(59))})
    summary = landed.run()
    assert [(b.filename, b.reason) for b in summary.quarantined] == [("a.json", "mutated_file")]
    assert ledger(landed)["a.json", 1][0] == "published"
    assert landed.query("from gold.fact_user_interactions order by interaction_id", published=True) == facts
    assert landed.run().status is RunStatus.NOTHING_NEW

    # A person takes the change: the new attempt replaces the old.
    decide("release", "a.json")
    landed.run(load_new_files=False)
    assert (ledger(landed)["a.json", 1][0], ledger(landed)["a.json", 2][0]) == ("superseded", "released")
    minutes = landed.query("""select minute("timestamp") from silver.cleansed_events where filename = 'a.json'""")
    assert minutes == [(59,)]

    # Reprocessed, the file is read again as a new attempt.
    reprocess_batches(["a.json"])
    assert (ledger(landed)["a.json", 2][0], ledger(landed)["a.json", 3][0]) == ("superseded", "published")
    check(landed, corrected | {"a.json": lines(event(59))})


def test_reference_data_that_catches_up_fills_the_inferred_rows(landed: Home) -> None:
    landed.land({"e.json": lines(*(event(m) for m in range(40, 49)), event(50, user="u9"))})
    landed.run()
    inferred = "select user_id, country, is_inferred from gold.dim_users where user_id = 'u9'"
    assert landed.query(inferred, published=True) == [("u9", None, True)]
    write_reference_data(landed.path / "seeds", [*USERS, ("u9", None, "SE")], EPISODES)
    landed.run()
    assert landed.query(inferred, published=True) == [("u9", "SE", False)]
    # dbt writes what it ran for a seed by the seed's path; the files of a person stay what they are.
    assert (landed.path / "seeds" / "users.csv").read_text().startswith("user_id,signup_date,country\n")


def test_a_run_that_fails_leaves_the_last_state_and_the_next_run_carries_on(
    landed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.run()
    facts = landed.query("from gold.fact_user_interactions order by interaction_id", published=True)
    landed.land({"f.json": lines(event(58))})

    def torn(*_: Any, **__: Any) -> None:
        raise TransformError("torn")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_replace", torn)
        with pytest.raises(TransformError):
            landed.run()
    assert landed.query("from gold.fact_user_interactions order by interaction_id", published=True) == facts
    assert landed.query("select status from ops.runs order by started_at desc limit 1") == [("failed",)]
    landed.run()
    check(landed, LANDING | {"f.json": lines(event(58))})


def test_a_broken_gate_never_passes(landed: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def suites(change: Any) -> Path:
        folder = tmp_path / "expectations"
        folder.mkdir(exist_ok=True)
        for path in gx_context.SUITES.glob("*.json"):
            suite = json.loads(path.read_text())
            change(suite)
            (folder / path.name).write_text(json.dumps(suite))
        return folder

    def broken(change: Any, error: type[Exception], message: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(gx_context, "SUITES", suites(change))
            with pytest.raises(error, match=message):
                landed.run()
        assert not (landed.path / "warehouse" / "published.duckdb").exists()
        kept = [path.read_text() for path in (landed.path / "gx").rglob("*.json")]
        assert [text for text in kept if "Traceback" in text] == [], "an error may quote a value"

    broken(lambda suite: suite.update(expectations=[]), BrokenGateError, "no expectations")
    broken(lambda suite: suite["expectations"][0]["kwargs"].update(column="absent"), BrokenGateError, "judge|evaluated")
    with monkeypatch.context() as patch:
        patch.setattr(gx_context, "SUITES", tmp_path / "nowhere")
        with pytest.raises(BrokenGateError, match="no expectations"):
            landed.run()
    # A table without the rows that it has to have, and that no batch can be blamed for.
    real = checkpoints._expected
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_expected", lambda c, g: checkpoints.Expected(4, real(c, g).rows + 1, 0))
        with pytest.raises(GateFailedError, match="no batch can be blamed"):
            landed.run()
    assert not (landed.path / "warehouse" / "published.duckdb").exists()
    landed.run()
    check(landed, LANDING)


def test_one_writer_at_a_time(landed: Home) -> None:
    import subprocess
    import sys

    holder = (
        "import sys, time; from flows.settings import load_settings; from flows.warehouse import writer_lock\n"
        "with writer_lock(load_settings(), purpose='the other'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(WarehouseLockedError, match=f"process {other.pid} .*the other"):
            landed.run()
    finally:
        other.communicate()
    assert transform.dbt_dir(load_settings()) == landed.path / "dbt"
    landed.run()
    check(landed, LANDING)
