"""Decisions about many batches, rules that change, runs that end in the middle, and what may be forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from browser import dead_links
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from lines import event, lines
from prefect.exceptions import CrashedRun
from prefect.settings import PREFECT_API_URL

from flows import checkpoints, ledger, publish, retention, transform, versions, warehouse
from flows.decisions import discard_batches, release_batches, reprocess_batches, revalidate_batches
from flows.domain import Layer, RunStatus, RunSummary
from flows.errors import LandingError, LedgerError, PublishError, ReferenceDataError
from flows.settings import Settings, load_settings
from flows.site import build as site
from flows.warehouse import connect, utc_now, writer_lock

if TYPE_CHECKING:
    from conftest import Home

BIN = Path(sys.executable).parent
USERS = [("u1", None, "NO"), ("u2", None, None)]
EPISODES = [("e1", "p1", "One", None, 1000)]


LANDING = {
    "mon/a.json": lines(*(event(m) for m in range(10))),
    "mon/b.json": lines(event(3, duration=77), *(event(m, duration=0) for m in range(20, 22)), event(23)),
    "tue/c.json": lines(event(4, duration=88), event(30, duration=900), event(31, duration=900)),
    "tue/d.json": lines(event(5, duration=99), event(40, duration=0)),
}


@pytest.fixture
def landed(home: Home) -> Home:
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    home.land(LANDING)
    return home


def check(home: Home, contents: dict[str, bytes] = LANDING, decisions: dict[str, Any] | None = None) -> None:
    warehouse = home.path / "warehouse" / "podcast.duckdb"
    assert_tables_equal(home.path, expected_world(warehouse, contents, USERS, EPISODES, decisions=decisions))


def statuses(home: Home) -> dict[tuple[str, int], str]:
    return {(n, a): s for n, a, s in home.query("select filename, attempt, status from ops.batches")}


def ledger_rows(home: Home) -> list[tuple[Any, ...]]:
    return home.query("select batch_id, status, pending, decision from ops.batches order by all")


def test_many_batches_are_chosen_by_pattern_and_day_and_a_dry_run_changes_nothing(landed: Home) -> None:
    landed.run()
    today = utc_now().date()
    before = ledger_rows(landed)

    rehearsed = release_batches("x", filename_pattern="*", arrived_from=today, dry_run=True)
    assert rehearsed.status is RunStatus.DRY_RUN
    assert [b.filename for b in rehearsed.selected] == ["mon/b.json", "tue/d.json"]
    assert ledger_rows(landed) == before
    for nothing in ({"filename_pattern": "wed/*"}, {"arrived_before": today}, {}):
        with pytest.raises(LedgerError):
            release_batches("x", **nothing)
    # One that cannot be released: none is.
    with pytest.raises(LedgerError, match=r"mon/a\.json\) is published"):
        release_batches("x", ["tue/d.json", "mon/a.json"])
    assert ledger_rows(landed) == before

    release_batches("known gap", filename_pattern="*", arrived_from=today, arrived_before=today + timedelta(days=1))
    check(landed, decisions={"mon/b.json": "released", "tue/d.json": "released"})
    # The keys of what leaves go to the next best rows.
    discard_batches("wrong client", filename_pattern="tue/*", decided_by="Kim")
    check(landed, decisions={"mon/b.json": "released", "tue/c.json": "discarded", "tue/d.json": "discarded"})
    assert landed.query("select distinct decided_by, decision from ops.batches where filename like 'tue/%'") == [
        ("Kim", "wrong client")
    ]
    # A backfill reads the files again; the new attempts are judged, and those that fail replace nothing.
    summary = reprocess_batches(arrived_from=today)
    assert [b.filename for b in summary.selected] == sorted(LANDING)
    assert statuses(landed) == {
        ("mon/a.json", 1): "superseded", ("mon/a.json", 2): "published",
        ("mon/b.json", 1): "released", ("mon/b.json", 2): "quarantined",
        ("tue/c.json", 1): "superseded", ("tue/c.json", 2): "published",
        ("tue/d.json", 1): "discarded", ("tue/d.json", 2): "quarantined",
    }  # fmt: skip


def test_a_file_that_is_gone_cannot_be_read_again(landed: Home) -> None:
    landed.run()
    for name in ("mon/a.json", "tue/c.json"):
        (landed.path / "landing" / name).unlink()
    before = ledger_rows(landed)
    with pytest.raises(LandingError, match=r"mon/a\.json: No such file(?s:.*)tue/c\.json: No such file"):
        reprocess_batches(filename_pattern="*")
    assert ledger_rows(landed) == before
    # And its rows stay.
    summary = landed.run()
    assert summary.missing == ("mon/a.json", "tue/c.json")
    assert landed.run().missing == ()
    landed.run(full_refresh=True)
    check(landed)


def test_the_same_content_under_another_name_is_reported_and_adds_nothing(landed: Home) -> None:
    landed.run()
    facts = landed.query("select interaction_id from gold.fact_user_interactions order by 1")
    copied = LANDING | {"mon/copy of a.json": LANDING["mon/a.json"]}
    landed.land(copied)
    summary = landed.run()
    (warning,) = summary.warnings
    assert warning.startswith("mon/copy of a.json: ")
    assert "same_content_as mon/a.json" in warning
    assert landed.query("select interaction_id from gold.fact_user_interactions order by 1") == facts
    assert summary.warehouse.duplicates == 11  # ten of the copy, or of the original, and one that was there
    check(landed, copied)


def revalidated(**parameters: Any) -> tuple[RunSummary, dict[str, tuple[str, str, int | None]]]:
    summary = revalidate_batches(**parameters)
    return summary, {c.filename: (c.before, c.after, c.rows_changed) for c in summary.changes}


def test_changed_rules_judge_again_and_say_what_changed_before_it_is_published(landed: Home) -> None:
    landed.run()
    before = snapshot(landed.path / "warehouse" / "published.duckdb")
    versions = landed.query("select distinct rules_version from ops.validation_results")
    assert len(versions) == 1
    assert landed.query("select distinct rules_version from ops.batches") == versions

    # Two of three rows of c are now too long; half of b and d are allowed to be invalid.
    landed.set(max_duration_seconds=800, max_invalid_share=0.5)
    expected = {
        "mon/b.json": ("quarantined (invalid_share)", "published", None),
        "tue/c.json": ("published", "quarantined (invalid_share)", 2),
        "tue/d.json": ("quarantined (invalid_share)", "published", None),
    }
    ledger_before = ledger_rows(landed)
    rehearsed, changes = revalidated(dry_run=True)
    assert (rehearsed.status, changes) == (RunStatus.DRY_RUN, expected)
    assert ledger_rows(landed) == ledger_before
    assert snapshot(landed.path / "warehouse" / "published.duckdb") == before
    assert not (landed.path / "rehearsal").exists()

    # An ordinary run leaves the old verdicts, and says so.
    assert any("3 batches" in w or "4 batches" in w for w in landed.run().warnings)
    assert statuses(landed)["tue/c.json", 1] == "published"

    summary, changes = revalidated()
    assert (summary.status, summary.rejudged_batches, changes) == (RunStatus.PASSED, 4, expected)
    assert {n: s for (n, _), s in statuses(landed).items()} == {
        "mon/a.json": "published", "mon/b.json": "published", "tue/c.json": "quarantined", "tue/d.json": "published",
    }  # fmt: skip
    assert landed.query("select count(*) from ops.revalidations where judged_at is null", published=True) == [(0,)]
    assert len(landed.query("select distinct rules_version from ops.validation_results")) == 2
    assert landed.run().status is RunStatus.NOTHING_NEW

    # Back to the first rules, the first tables are back too.
    landed.set(max_duration_seconds=86400, max_invalid_share=0.2)
    revalidated()
    check(landed)
    assert snapshot(landed.path / "warehouse" / "published.duckdb") == before


def test_an_earlier_attempt_that_takes_the_place_is_judged_by_every_gate(landed: Home) -> None:
    """The later attempt fails at the last of the gates that judge batches, the earlier one at the first."""
    first = lines(*(event(m) for m in range(9)), "{")
    landed.set(max_malformed_share=0.5)
    landed.land({"mon/a.json": first})
    landed.run()
    assert statuses(landed)["mon/a.json", 1] == "published"
    landed.land({"mon/a.json": lines(*(event(m, user="nobody") for m in range(9)))})
    reprocess_batches(["mon/a.json"])
    assert statuses(landed)["mon/a.json", 2] == "quarantined"

    landed.set(max_malformed_share=0.05)
    _, changes = revalidated()
    assert changes["mon/a.json"] == ("published", "quarantined (malformed_share)", 0)
    assert statuses(landed)["mon/a.json", 1] == "quarantined"
    assert statuses(landed)["mon/a.json", 2] == "quarantined"
    assert landed.query("select count(*) from silver.cleansed_events where filename = 'mon/a.json'") == [(0,)]


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (checkpoints, "validate", 2),
        (publish, "_copy_tables", 1),
        (site, "build", 1),
    ],
)
def test_a_run_that_fails_leaves_the_last_state_and_the_next_goes_on_with_its_batches(
    landed: Home, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int
) -> None:
    landed.run()
    before = snapshot(landed.path / "warehouse" / "published.duckdb")
    new = {"wed/e.json": lines(event(50), event(51, duration=5)), "wed/f.json": lines(event(52, duration=0))}
    landed.land(new)
    real, calls = getattr(module, name), 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise PublishError("out of order")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, failing)
        with pytest.raises(PublishError):
            landed.run()
    if name != "build":  # by then the tables are published
        assert snapshot(landed.path / "warehouse" / "published.duckdb") == before
        assert_is_on_the_overview(landed)
    assert landed.query("select run_id from ops.runs group by run_id having count(*) > 1") == []
    loaded = landed.query("select filename, attempt, load_at from ops.batches order by all")
    landed.run()
    assert landed.query("select filename, attempt, load_at from ops.batches order by all") == loaded
    check(landed, LANDING | new)


@pytest.mark.parametrize("built", [None, "fact_user_interactions"])
def test_events_that_left_under_other_rules_leave_gold_however_often_silver_is_built(
    landed: Home, monkeypatch: pytest.MonkeyPatch, built: str | None
) -> None:
    """By the new rules they are no events at all, and the first build has taken them out of silver."""
    long = {"tue/g.json": lines(event(50, user="u2", duration=900))}
    landed.land(long)
    landed.run()
    landed.set(max_duration_seconds=100)
    real = transform.build_layer

    def ended(settings: Settings, layer: Layer, **options: Any) -> Any:
        if layer is not Layer.GOLD:
            return real(settings, layer, **options)
        if built:
            transform._build(settings, f"tag:gold,{built}", what=built, full_refresh=False)
        raise PublishError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(transform, "build_layer", ended)
        with pytest.raises(PublishError):
            discard_batches("wrong client", ["tue/c.json", "tue/g.json"])
    landed.run()
    check(landed, LANDING | long, decisions={"tue/c.json": "discarded", "tue/g.json": "discarded"})


def test_an_event_under_the_key_of_another_is_held_back_with_its_batch(
    landed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys stay unique, and as many as before."""
    real, spoiled = transform.build_layer, []

    def spoiling(settings: Settings, layer: Layer, **options: Any) -> Any:
        built = real(settings, layer, **options)
        if layer is Layer.SILVER and not spoiled:
            with connect(settings) as connection:
                of_batch = "select interaction_id from silver.cleansed_events where filename = 'tue/c.json' order by 1"
                (gone,), (wrong,), *_ = connection.execute(of_batch).fetchall()
                connection.execute("delete from silver.cleansed_events where interaction_id = ?", [gone])
                spoiled.append(gone)
                change = "update silver.cleansed_events set interaction_id = ? where interaction_id = ?"
                connection.execute(change, [gone, wrong])
        return built

    monkeypatch.setattr(transform, "build_layer", spoiling)
    landed.run()
    assert spoiled
    assert statuses(landed)["tue/c.json", 1] == "quarantined"
    ((reason, detail),) = landed.query("select reason, detail from ops.batches where filename = 'tue/c.json'")
    assert (reason, "The key of a row is that of its user" in detail) == ("failed_expectation", True)
    assert landed.query("from silver.cleansed_events where filename = 'tue/c.json'", published=True) == []


@pytest.mark.parametrize("is_built", [False, True])
def test_rules_of_listening_that_were_tried_in_vain_leave_nothing_behind(
    landed: Home, monkeypatch: pytest.MonkeyPatch, *, is_built: bool
) -> None:
    landed.run()

    def failing(*_: Any, **__: Any) -> None:
        raise PublishError("out of order")

    landed.set(session_gap_minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(*((publish, "_copy_tables") if is_built else (versions, "mark_gold")), failing)
        with pytest.raises(PublishError):
            landed.run()
    listens = "select count(*) from gold.fact_listens"
    assert landed.query(listens) > landed.query(listens, published=True)
    landed.set(session_gap_minutes=30)
    new = {"wed/e.json": lines(event(59, user="u2"))}
    landed.land(new)
    landed.run()
    check(landed, LANDING | new)


def test_reference_data_that_changes_during_a_run_is_met_by_the_next(
    landed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = landed.path / "seeds" / "users.csv"

    def then_append(real: Any, row: str) -> Any:
        def changed(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            with users.open("a") as file:
                file.write(row)
            return result

        return changed

    known = "select count(*) from gold.dim_users where not is_inferred"
    with monkeypatch.context() as patch:  # unchecked, it would be built as if it had been
        patch.setattr(transform, "build_reference", then_append(transform.build_reference, "u3,,SE\n"))
        with pytest.raises(ReferenceDataError, match=r"changed while the run was reading it.* run again"):
            landed.run()
    with monkeypatch.context() as patch:  # too late for this run, it would never be built
        patch.setattr(publish, "_copy_tables", then_append(publish._copy_tables, "u4,,SE\n"))
        landed.run()
    assert landed.query(known, published=True) == [(3,)]
    landed.run()
    assert landed.query(known, published=True) == [(4,)]
    assert landed.run().status is RunStatus.NOTHING_NEW


def assert_is_on_the_overview(home: Home) -> None:
    """The newest run, which failed, with its message and a page of its own."""
    ((run_id, message),) = home.query("select run_id, message from ops.runs order by started_at desc limit 1")
    overview = (home.path / "site" / "index.html").read_text()
    assert "The run failed; the last published state stays" in overview
    assert message in overview
    assert message in (home.path / "site" / "runs" / f"{run_id}.html").read_text()
    assert dead_links(home.path / "site") == []


@pytest.mark.parametrize("gate", ["raw", "gold"])
def test_a_first_run_that_fails_is_on_the_overview(landed: Home, monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    real = checkpoints.validate

    def failing(settings: Any, at: str, **kwargs: Any) -> Any:
        if at == gate:
            raise PublishError("out of order")
        return real(settings, at, **kwargs)

    landed.land({"bad.json": b"{\n"})
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "validate", failing)
        with pytest.raises(PublishError):
            landed.run()
    assert_is_on_the_overview(landed)


def podcast(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    """The command, at the tests' own server: one that it started itself would outlive a kill."""
    environment = os.environ | {"PODCAST_HOME": str(home.path), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    with (home.path / "errors.txt").open("wb") as errors:
        return subprocess.Popen(
            [BIN / "podcast", *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )


def test_a_run_that_takes_too_long_ends_its_process(landed: Home) -> None:
    landed.set(run_timeout_minutes=0.01)
    process = podcast(landed, "run")
    assert process.wait(timeout=200) not in (0, 3)
    errors = (landed.path / "errors.txt").read_text()
    assert "took longer than 0.01 minutes (PODCAST_RUN_TIMEOUT_MINUTES)" in errors
    assert not (landed.path / "warehouse" / "published.duckdb").exists()
    landed.set(run_timeout_minutes="")
    landed.run()
    check(landed)


def test_a_killed_run_is_recognised_and_entered_as_crashed(landed: Home) -> None:
    process = podcast(landed, "run")
    holder = landed.path / "warehouse" / "writer.json"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if holder.exists() and '"flow run' in (text := holder.read_text()):
            break
        time.sleep(0.05)
    held = json.loads(text)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (held["pid"], held["run"] is not None, held["host"] != "") == (process.pid, True, True)
    with writer_lock(load_settings(), purpose="what is no run, and must not lose the note of the one before"):
        pass
    landed.run()
    (crashed,) = landed.query(f"select status, message from ops.runs where run_id = '{held['run']}'")
    assert crashed[0] == "crashed"
    assert f"process {process.pid} on {held['host']} (flow run" in crashed[1]
    assert not holder.exists()
    check(landed)


def end_from_outside(*_: Any, **__: Any) -> None:
    """The process is told to end, and Python hears it."""
    raise KeyboardInterrupt


def end_within_the_engine(*_: Any, **__: Any) -> None:
    """The process is told to end while the engine works, which makes an error of its own of it."""
    heard: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        duckdb.connect().execute("select count(*) from range(100_000_000) as t(i) where hash(i) % 7 = 1")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        assert heard


@pytest.mark.parametrize("ending", [end_from_outside, end_within_the_engine])
@pytest.mark.parametrize(("module", "name"), [(publish, "catch_up"), (warehouse, "open_database"), (ledger, "settle")])
def test_a_run_that_is_ended_from_outside_is_entered_wherever_it_was(
    landed: Home, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, ending: Callable[..., None]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, name, ending)
        with pytest.raises((KeyboardInterrupt, CrashedRun, RuntimeError)):
            landed.run()
    landed.run()
    assert sorted(landed.query("select status, count(*) from ops.runs group by status")) in (
        [("crashed", 1), ("passed", 1)],
        [("failed", 1), ("passed", 1)],
    )


def test_a_run_that_is_ended_within_dbt_is_told_as_ended_and_not_as_a_model_that_failed(
    landed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbt.task.build import BuildTask

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BuildTask, "get_runner", interrupted)
        with pytest.raises((KeyboardInterrupt, CrashedRun)):
            landed.run()
    landed.run()
    runs = landed.query("select status, message from ops.runs order by started_at")
    assert runs[0] == ("failed", "ended from outside: KeyboardInterrupt")
    assert runs[1][0] == "passed"


def test_what_may_be_forgotten_goes_and_nothing_public_loses_its_lines(landed: Home) -> None:
    landed.run()
    corrected = LANDING | {"mon/b.json": lines(*(event(m) for m in range(20, 24)))}
    landed.land(corrected)
    landed.run()
    discard_batches("not ours", ["tue/c.json"])
    before = snapshot(landed.path / "warehouse" / "published.duckdb")

    def prune(*, dry_run: bool = False) -> retention.Pruned:
        settings = load_settings()
        with writer_lock(settings, purpose="test"), connect(settings) as connection:
            return retention.prune(settings, connection, dry_run=dry_run)

    assert prune() == retention.Pruned()
    landed.set(keep_raw_days=0, keep_evidence_days=0, keep_results_days=0)
    results = landed.query("select count(*) from ops.validation_results")[0][0]
    expected = retention.Pruned(raw_batches=2, raw_lines=7, evidence=1, results=results)
    assert prune(dry_run=True) == expected
    assert landed.query("select count(*) from ops.batches where raw_pruned_at is not null") == [(0,)]
    assert prune() == expected
    assert prune() == retention.Pruned()
    rows = landed.query("select filename, attempt from ops.batches where raw_pruned_at is not null order by all")
    assert rows == [("mon/b.json", 1), ("tue/c.json", 1)]
    # What is in quarantine keeps its evidence, and what is public its lines: all can be made anew.
    (held,) = landed.query("select batch_id from ops.batches where status = 'quarantined'")
    assert [path.name for path in (landed.path / "quarantine").iterdir()] == list(held)
    landed.run(full_refresh=True)
    revalidate_batches()
    assert snapshot(landed.path / "warehouse" / "published.duckdb") == before
    totals = "select total_lines, total_facts from ops.runs order by started_at desc limit 1"
    assert landed.query(totals, published=True) == [(4 + sum(c.count(b"\n") for c in corrected.values()), 14)]


def test_a_warehouse_from_before_the_latest_columns_is_brought_up_to_date(landed: Home) -> None:
    landed.run()
    with duckdb.connect(str(landed.path / "warehouse" / "podcast.duckdb")) as connection:
        connection.execute("drop view ops.accepted_batches cascade")
        for column in ("rules_version", "missing_since", "raw_pruned_at"):
            connection.execute(f"alter table ops.batches drop column {column}")
        connection.execute("drop table ops.revalidations")
        connection.execute("drop table ops.gold_versions")
        connection.execute("alter table ops.touched_keys drop column batch_id")
    landed.land({"wed/e.json": lines(event(50))})
    landed.run()
    check(landed, LANDING | {"wed/e.json": lines(event(50))})
