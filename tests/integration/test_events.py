"""What a run tells Prefect of batches and of itself: each once, whatever was retried, killed or failed before."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import duckdb
import pytest
from comparison import write_reference_data
from lines import event, lines

from flows import lost_runs, publish, tasks, transitions
from flows.decisions import backfill_batches, discard_batches, release_batches
from flows.errors import EvidenceError, GateFailedError, LandingError, ReferenceDataError
from flows.maintenance import checkpoint_warehouse
from flows.settings import load_settings
from flows.warehouse import connect, utc_now, writer_lock

if TYPE_CHECKING:
    from conftest import Home

USERS = [("u1", None, "NO")]
EPISODES = [("e1", "p1", "One", None, 1000)]
GOOD = lines(*(event(m) for m in range(10)))
MALFORMED = lines(*(event(m) for m in range(10, 14)), "{")
SECONDS = 30


@pytest.fixture
def landed(home: Home) -> Home:
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    home.land({"good.json": GOOD, "bad.json": MALFORMED})
    return home


def told(run_id: str, count: int) -> list[dict[str, Any]]:
    """What was told of a run, as the server has it, once it has so many events; a little later still."""
    deadline = time.monotonic() + SECONDS
    while len(_ask(run_id)) < count and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(0.5)
    return _ask(run_id)


def _ask(run_id: str) -> list[dict[str, Any]]:
    from prefect.client.orchestration import get_client

    about = {"any_resource": {"id": [f"prefect.flow-run.{run_id}"]}, "event": {"prefix": ["podcast."]}}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": about, "limit": 50})
    return list(answer.json()["events"])


def kinds(found: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((e["event"], e["resource"]["prefect.resource.name"]) for e in found)


def test_a_run_tells_of_each_batch_and_once_of_each_reason(landed: Home) -> None:
    landed.land({"worse.json": MALFORMED})
    run_id = landed.run().run_id
    found = told(run_id, 4)
    assert kinds(found) == {
        ("podcast.batch.published", "good.json"): 1,
        ("podcast.batch.quarantined", "bad.json"): 1,
        ("podcast.batch.quarantined", "worse.json"): 1,
        ("podcast.run.quarantined", f"run {run_id}"): 1,
    }
    (held_back,) = [e["payload"] for e in found if e["event"] == "podcast.run.quarantined"]
    assert (held_back["gate"], held_back["reason"], held_back["batches"]) == ("raw", "malformed_share", 2)
    assert "bad.json (5 lines): podcast quarantine show " in held_back["body"]
    (published,) = [e["payload"] for e in found if e["event"] == "podcast.batch.published"]
    assert (published["lines"], published["attempt"], published["run_id"]) == (10, 1, run_id)


def test_nothing_is_told_twice(landed: Home) -> None:
    landed.run()
    assert told(landed.run().run_id, 0) == [], "nothing new"
    assert told(landed.run(full_refresh=True).run_id, 0) == [], "the same batches once more"


def test_decisions_are_told(landed: Home) -> None:
    landed.run()
    released = release_batches("as it is", ["bad.json"])
    assert kinds(told(released.run_id, 1)) == {("podcast.batch.released", "bad.json"): 1}
    again = landed.run(full_refresh=True)
    discarded = discard_batches("wrong", ["good.json"])
    assert kinds(told(discarded.run_id, 1)) == {("podcast.batch.discarded", "good.json"): 1}
    assert told(again.run_id, 0) == []


def test_a_backfill_tells_what_took_the_place_of_what(landed: Home) -> None:
    landed.run()
    today = utc_now().date()
    summary = backfill_batches(today, today + timedelta(days=2), "good*")
    assert kinds(told(summary.run_id, 2)) == {
        ("podcast.batch.published", "good.json"): 1,
        ("podcast.batch.superseded", "good.json"): 1,
    }
    assert landed.query("select attempt, status from ops.batches where filename = 'good.json' order by 1") == [
        (1, "superseded"),
        (2, "published"),
    ]


@pytest.mark.parametrize("place", ["before it was settled", "after it was settled"])
def test_what_a_run_could_not_tell_any_more_the_next_one_tells(
    landed: Home, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if place == "before it was settled":
            patched.setattr(publish, "_replace", lambda copy, target, **_: (copy.replace(target), end()))
        else:
            patched.setattr(tasks.events, "announce", end)
        with pytest.raises(KeyboardInterrupt):
            landed.run()
    (run_id,) = [run for (run,) in landed.query("select run_id from ops.batches where filename = 'good.json'")]
    assert told(run_id, 0) == []
    landed.run()
    assert kinds(told(run_id, 3)) == {
        ("podcast.batch.published", "good.json"): 1,
        ("podcast.batch.quarantined", "bad.json"): 1,
        ("podcast.run.quarantined", f"run {run_id}"): 1,
    }


def test_a_publication_that_is_tried_again_is_entered_once(landed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be away just when the task says that it is done."""
    reported = tasks.progress.report
    troubles = iter([ConnectionError("the server is away")])

    def report(step: str, message: str, **fields: Any) -> None:
        if step == "publish" and (trouble := next(troubles, None)):
            raise trouble
        reported(step, message, **fields)

    monkeypatch.setattr(tasks.progress, "report", report)
    run_id = landed.run().run_id
    assert next(troubles, "used up") == "used up"
    for published in (True, False):
        assert landed.query("select run_id, status from ops.runs", published=published) == [(run_id, "passed")]


def test_evidence_that_a_run_could_not_write_the_next_one_writes(landed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EvidenceError("the bucket does not answer")

    landed.land({"broken.json.gz": b"\x1f\x8b\x08 broken"})
    with monkeypatch.context() as patched:
        patched.setattr(tasks.quarantine, "write_evidence_of_unreadable", refuse)
        with pytest.raises(EvidenceError):
            landed.run()
    ((batch_id,),) = landed.query("select batch_id from ops.batches where reason = 'unreadable_file'")
    assert not (landed.path / "quarantine" / batch_id).exists()
    landed.run()
    assert any((landed.path / "quarantine" / batch_id).iterdir())


def test_an_announcement_that_fails_does_not_fail_the_data(landed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr("prefect.events.emit_event", refuse)
    assert landed.run().published_batches == 1


def test_a_failure_is_told_once_until_a_run_passes_or_another_comes(landed: Home) -> None:
    landed.run()
    landed.land({"more.json": lines(event(50))})
    reference = landed.path / "seeds" / "users.csv"
    content = reference.read_bytes()

    def fail() -> str:
        before = set(landed.query("select run_id from ops.runs"))
        with pytest.raises((ReferenceDataError, LandingError)):
            landed.run()
        ((run_id,),) = set(landed.query("select run_id from ops.runs")) - before
        return str(run_id)

    landed.set(metrics_file=landed.path / "podcast.prom")
    reference.write_bytes(content + b"u9,no date,NO\n")
    first, second = fail(), fail()
    figures = (landed.path / "podcast.prom").read_text()
    assert 'podcast_last_run_status{status="failed"} 1.0' in figures
    assert "podcast_writing 0.0" in figures
    reference.write_bytes(content)
    landing = landed.path / "landing"
    landing.rename(landed.path / "away")
    other = fail()
    (landed.path / "away").rename(landing)
    landed.run()
    reference.write_bytes(content + b"u9,no date,NO\n")
    later = fail()
    counts = {run: [e["event"] for e in told(run, run != second)] for run in (first, second, other, later)}
    assert counts == {
        first: ["podcast.run.failed"],
        second: [],
        other: ["podcast.run.failed"],
        later: ["podcast.run.failed"],
    }


def test_a_gate_that_fails_with_nobody_to_blame_is_told_as_such(landed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = tasks.checkpoints.validate

    def nobody_to_blame(*arguments: Any, **options: Any) -> Any:
        from dataclasses import replace

        return replace(verdicts(*arguments, **options), unblamed=("rows without a batch",))

    monkeypatch.setattr(tasks.checkpoints, "validate", nobody_to_blame)
    with pytest.raises(GateFailedError):
        landed.run()
    ((run_id,),) = landed.query("select run_id from ops.runs")
    (failed,) = told(run_id, 1)
    assert failed["event"] == "podcast.gate.failed"
    assert "rows without a batch" in failed["payload"]["body"]


def test_an_older_warehouse_has_nothing_to_tell_of_what_is_long_known(landed: Home) -> None:
    landed.run()
    settings = load_settings()
    with connect(settings) as connection:
        connection.execute("drop table ops.batch_transitions")
    with connect(settings) as connection:
        assert connection.execute("select count(*) from ops.batch_transitions").fetchone() == (2,)
        assert transitions.unannounced(connection) == []
    assert told(landed.run(full_refresh=True).run_id, 0) == []


def test_an_event_of_the_same_cause_has_the_same_id(landed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is retried after it told of something tells of it again, and the server keeps one."""
    marks = iter([ConnectionError("the disk is away"), None])

    def fail_once(connection: Any) -> None:
        if error := next(marks):
            raise error
        mark(connection)

    mark = transitions.mark_announced
    monkeypatch.setattr(transitions, "mark_announced", fail_once)
    run_id = landed.run().run_id
    assert sum(kinds(told(run_id, 3)).values()) == 3
    assert next(marks, "used up") == "used up"


def flow_run(pool: str, *, state: str) -> str:
    """A run of a deployment in the pool that Prefect takes for begun, and at which nobody works."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.states import State

    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        flow_id = client.create_flow_from_name("lost")
        deployment = client.create_deployment(flow_id, f"of {pool}", work_pool_name=pool)
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, State(type=StateType(state)), force=True)
    return str(run.id)


def state_of(run_id: str) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run_id)).state
    assert state is not None
    return str(state.type.value)


def has_heartbeat(run_id: str) -> bool:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return lost_runs._has_heartbeat(client, UUID(run_id), datetime.now(UTC) - timedelta(minutes=1))


def enter_as_crashed(patience: float) -> list[str]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return lost_runs.enter_as_crashed(client, load_settings(), patience=timedelta(seconds=patience))


@pytest.mark.usefixtures("home")
def test_a_run_that_lives_for_the_server_only_is_entered_as_crashed() -> None:
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    lost, pending = flow_run("podcast", state="RUNNING"), flow_run("podcast", state="PENDING")
    theirs, planned = flow_run("theirs", state="RUNNING"), flow_run("podcast", state="SCHEDULED")
    writing, beating = flow_run("podcast", state="RUNNING"), flow_run("podcast", state="RUNNING")
    assert enter_as_crashed(60) == [], "all of them began a moment ago"
    time.sleep(16)
    emit_event("prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{beating}"})
    EventsWorker.instance().wait_until_empty()
    while not has_heartbeat(beating):  # which the server keeps some seconds after it has taken it
        time.sleep(0.2)
    with writer_lock(load_settings(), purpose="backup"):
        assert enter_as_crashed(15) == [], "it may be one of these"
    with writer_lock(load_settings(), purpose="flow run x", run_id=writing):
        assert len(enter_as_crashed(15)) >= 2
    found = [state_of(run) for run in (lost, pending, theirs, planned, writing, beating)]
    assert found == ["CRASHED", "CRASHED", "RUNNING", "SCHEDULED", "RUNNING", "RUNNING"]
    assert len(enter_as_crashed(0)) == 2, "none writes any more, and without patience every heartbeat is too old"
    assert state_of(writing) == state_of(beating) == "CRASHED"


def test_a_checkpoint_makes_the_working_database_one_file(landed: Home) -> None:
    landed.run()
    settings = load_settings()
    log = settings.warehouse_path.with_name("podcast.duckdb.wal")
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        connection.execute("pragma disable_checkpoint_on_shutdown")
        connection.execute("update ops.batches set detail = 'noted'")
    assert log.stat().st_size > 0
    checkpointed = checkpoint_warehouse()
    assert not log.exists()
    assert checkpointed.after == settings.warehouse_path.stat().st_size
    assert landed.query("select distinct detail from ops.batches") == [("noted",)]


def test_an_unknown_run_has_no_events(landed: Home) -> None:
    """What the other tests ask with would find anything only if it asks for the right thing."""
    landed.run()
    assert told(str(uuid4()), 0) == []
