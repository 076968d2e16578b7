"""`podcast ui` and `prefect.yaml`: a real server, worker and schedule, and what they leave to look at."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deployed
import duckdb
import httpx
import pytest
from deployed import RUN_SECONDS, STOP_SECONDS, logs, start_ui, wait_for
from filelock import FileLock
from receiver import Receiver, receiving

from flows import QUIET
from flows.settings import PROJECT_ROOT, Settings
from flows.ui import running_api

BIN = Path(sys.executable).parent
BAD_FILE = "2024-01-11/events-0004.json"
TOTALS = json.loads((PROJECT_ROOT / "tests/golden/sample_answers.json").read_text())["totals"]
DEPLOYMENTS = (
    "podcast-pipeline/pipeline",
    "podcast-pipeline/full-refresh",
    "podcast-release/release",
    "podcast-discard/discard",
    "podcast-reprocess/reprocess",
    "podcast-revalidate/revalidate",
    "podcast-prune/prune",
    "podcast-backup/backup",
    "podcast-backfill/backfill",
    "podcast-checkpoint/checkpoint",
)
CANARY = "canary-of-the-webhook"
HELD_BACK = "Podcast pipeline: 1 batch held back by gate validated: invalid_share"
STALE = "Podcast pipeline: nothing new for 0.005 hours"
STALE_AFTER = timedelta(hours=0.005)
AUTOMATIONS = {
    "podcast: lost runs",
    "podcast: runs that never began",
    "podcast: batches held back",
    "podcast: gate failed",
    "podcast: run failed",
    "podcast: maintenance failed",
    "podcast: run lost",
    "podcast: no new events",
}


@dataclass(frozen=True)
class Ui(deployed.Ui):
    """After one run over the sample."""

    webhook: Receiver


def environment(home: Path) -> dict[str, str]:
    ours = {"PODCAST_HOME": str(home), "PODCAST_SETTLE_SECONDS": "0", "PREFECT_HOME": str(home / "prefect")}
    return {**os.environ, **QUIET, **ours}


def alerting(webhook: Receiver) -> dict[str, str]:
    """Settings by which notifications go to a webhook, and nothing new for 18 seconds is worth one."""
    return {"PODCAST_ALERT_URL": f"{webhook.url}/{CANARY}".replace("http:", "json:"), "PODCAST_STALE_HOURS": "0.005"}


@pytest.fixture(scope="module")
def webhook() -> Iterator[Receiver]:
    """Where notifications go."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, webhook: Receiver) -> Iterator[Ui]:
    """Everything started with one command, one run over the sample, and everything gone after SIGTERM."""
    home = tmp_path_factory.mktemp("ui") / "home"
    shutil.copytree(PROJECT_ROOT / "data" / "landing", home / "landing")
    with start_ui(home, BIN, environment(home) | alerting(webhook)) as started:
        watched = started.run("podcast-pipeline/pipeline", "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr + logs(home)
        yield Ui(**vars(started), webhook=webhook)


def test_the_run_over_the_sample_completes_and_publishes_the_known_facts(ui: Ui) -> None:
    (run,) = ui.runs("podcast-pipeline/pipeline", "Quarantined")
    assert run["state_type"] == "COMPLETED"
    assert run["state"]["message"] == "6 batches published, 1 held back"
    assert "podcast" in run["tags"]
    assert ui.published("select count(*) from gold.fact_user_interactions") == [(TOTALS["facts"],)]


@pytest.fixture(scope="module")
def stuck(ui: Ui) -> str:
    """A run that was about to begin, and at which nobody works."""
    (run,) = ui.runs("podcast-pipeline/pipeline", "Quarantined")
    made = ui.ask("POST", "/flow_runs/", flow_id=run["flow_id"], name="stuck", tags=["podcast"])
    ui.ask("POST", f"/flow_runs/{made['id']}/set_state", state={"type": "PENDING"})
    return str(made["id"])


@pytest.mark.usefixtures("stuck")
def test_every_gate_leaves_its_verdict(ui: Ui) -> None:
    artifacts = ui.artifacts()
    gates = {key for key in artifacts if key.startswith("gate-")}
    assert gates == {"gate-raw", "gate-validated", "gate-cleansed", "gate-gold"}
    assert {artifacts[key]["type"] for key in gates} == {"markdown"}
    assert BAD_FILE in artifacts["gate-validated"]["data"]
    assert BAD_FILE not in artifacts["gate-gold"]["data"]


def test_the_run_leaves_its_summary_and_what_is_in_quarantine(ui: Ui) -> None:
    artifacts = ui.artifacts()
    assert f"{TOTALS['facts']:,}" in artifacts["run-summary"]["data"]
    assert artifacts["quarantine"]["type"] == "table"
    (row,) = json.loads(artifacts["quarantine"]["data"])
    assert row["file"].replace("\\", "") == BAD_FILE


def test_each_build_says_how_long_each_model_took(ui: Ui) -> None:
    (run,) = ui.runs("podcast-pipeline/pipeline", "Quarantined")
    tasks = ui.ask("POST", "/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}, limit=200)
    (gold,) = [task["id"] for task in tasks if task["name"] == "build gold"]
    lines = [
        line
        for log in ui.ask("POST", "/logs/filter", logs={"task_run_id": {"any_": [gold]}}, limit=200)
        for line in log["message"].splitlines()
    ]
    assert [line for line in lines if re.fullmatch(r" +\d+\.\d\d s  fact_listens", line)], lines


def test_the_link_to_the_site_leads_to_the_served_site(ui: Ui) -> None:
    link = f"{ui.site}/index.html"
    assert link in ui.artifacts()["site"]["data"]
    assert BAD_FILE in httpx.get(link).text
    assert httpx.get(f"{ui.site}/data_docs/index.html").status_code == 200


@pytest.mark.parametrize("path", ["/../warehouse/podcast.duckdb", "/%2e%2e/warehouse/podcast.duckdb", "/..%2fprefect"])
def test_the_site_shows_nothing_else(ui: Ui, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(ui.site.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert b" 404 " in connection.makefile("rb").readline()


def test_deployments_run_one_at_a_time_and_say_what_they_are_for(ui: Ui) -> None:
    for name in DEPLOYMENTS:
        deployment = ui.deployment(name)
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert deployment["description"]
        assert deployment["tags"]
        assert deployment["work_pool_name"] == "podcast"
        assert (
            deployment["job_variables"]["env"].items() <= {**QUIET, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}.items()
        )
        assert str(PROJECT_ROOT) not in json.dumps(deployment), "runs do not depend on where the project stands"
    assert ui.ask("GET", "/work_pools/podcast")["concurrency_limit"] == 1


def test_what_has_a_schedule_and_what_has_none(ui: Ui) -> None:
    found = {name: ui.deployment(name)["schedules"] for name in DEPLOYMENTS}
    assert all(schedule["active"] for schedules in found.values() for schedule in schedules)
    crons = {name: [(s["schedule"]["cron"], s["schedule"]["timezone"]) for s in found[name]] for name in found}
    assert {name: cron for name, cron in crons.items() if cron} == {
        "podcast-pipeline/pipeline": [("*/15 * * * *", "UTC")],
        "podcast-prune/prune": [("40 3 * * *", "UTC")],
    }
    assert ui.deployment("podcast-pipeline/full-refresh")["parameters"]["full_refresh"] is True


def test_the_backup_deployment_makes_a_backup(ui: Ui) -> None:
    watched = ui.run("podcast-backup/backup", "--watch")
    assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)
    (made,) = (ui.home / "backups").iterdir()
    assert json.loads((made / "manifest.json").read_text())["tables"]["podcast.duckdb"]["ops.batches"] > 0
    assert ui.deployment("podcast-backup/backup")["parameters"] == {"keep": 7}


def test_a_second_ui_is_refused_with_the_way_out(ui: Ui, tmp_path: Path) -> None:
    port = ui.api.removesuffix("/api").rsplit(":", 1)[1]
    for home, way_out in ((ui.home, "runs already"), (tmp_path, f"{port} (choose another with --port)")):
        second = subprocess.run(
            [BIN / "podcast", "ui", "--port", port],
            env=environment(home), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert way_out in " ".join(second.stderr.split())
    assert running_api(Settings(home=ui.home)) == ui.api
    assert running_api(Settings(home=tmp_path)) is None


def test_a_batch_that_is_held_back_is_notified_once(ui: Ui) -> None:
    (notified,) = wait_for(
        "the notification", lambda: ui.webhook.titles().count(HELD_BACK) and [HELD_BACK], RUN_SECONDS
    )
    bodies = [body["message"] for body in ui.webhook.bodies if body["title"] == notified]
    assert len(bodies) == 1
    assert bodies[0].startswith(f"{BAD_FILE} (892 lines): podcast quarantine show ")
    assert f"{ui.site}/quarantine/index.html" in bodies[0]


def test_a_deployment_says_what_its_parameters_are(ui: Ui) -> None:
    for name in DEPLOYMENTS:
        properties = ui.deployment(name)["parameter_openapi_schema"]["properties"]
        assert all(p.get("description") and (p.get("type") or p.get("anyOf")) for p in properties.values()), name
    backfill = ui.deployment("podcast-backfill/backfill")["parameter_openapi_schema"]
    assert backfill["required"] == ["arrived_from", "arrived_before"]
    assert backfill["properties"]["arrived_from"]["format"] == "date"


def test_runs_that_come_together_wait_for_each_other_and_reprocessing_makes_an_attempt(ui: Ui) -> None:
    assert ui.run("podcast-pipeline/full-refresh").returncode == 0
    watched = ui.run("podcast-reprocess/reprocess", "--param", f'batches=["{BAD_FILE}"]', "--watch")
    assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)
    wait_for("end of the full refresh", lambda: ui.runs("podcast-pipeline/full-refresh", "Completed"), RUN_SECONDS)
    attempts = ui.published(f"select attempt, status from ops.batches where filename = '{BAD_FILE}' order by attempt")
    assert [attempt for attempt, _ in attempts] == [1, 2]
    assert attempts[1][1] == "quarantined"
    assert ui.published("select count(*) from gold.fact_user_interactions") == [(TOTALS["facts"],)]


def test_an_alert_that_fails_does_not_fail_the_data(ui: Ui) -> None:
    ui.webhook.status = 500
    try:
        tried = ui.webhook.titles().count(HELD_BACK)
        watched = ui.run("podcast-reprocess/reprocess", "--param", f'batches=["{BAD_FILE}"]', "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)
        wait_for("the attempt to notify", lambda: ui.webhook.titles().count(HELD_BACK) > tried, RUN_SECONDS)
        failed = {"filter": {"event": {"name": ["prefect.automation.action.failed"]}}}
        wait_for("its failure", lambda: ui.ask("POST", "/events/filter", **failed)["events"], RUN_SECONDS)
    finally:
        ui.webhook.status = 200
    assert ui.runs("podcast-reprocess/reprocess", "Quarantined")
    assert ui.published("select count(*) from gold.fact_user_interactions") == [(TOTALS["facts"],)]


def test_nothing_new_for_the_set_time_is_notified_once(ui: Ui) -> None:
    """Of all the time since a batch was published; a first run that takes longer is worth one of its own before."""
    of_batches = {"filter": {"event": {"name": ["podcast.batch.published"]}}}
    events = ui.ask("POST", "/events/filter", **of_batches)["events"]
    since = max(datetime.fromisoformat(event["occurred"]) for event in events) + STALE_AFTER

    def told() -> list[datetime]:
        titled = zip(ui.webhook.titles(), ui.webhook.moments, strict=False)
        return [moment for title, moment in titled if title == STALE and moment >= since]

    first = wait_for("the notification", told, RUN_SECONDS)[0]
    enough = first + 3 * STALE_AFTER + timedelta(seconds=10)
    wait_for("the time of another one", lambda: datetime.now(UTC) > enough, RUN_SECONDS)
    assert told() == [first]


def test_deploying_again_changes_nothing_and_keeps_what_is_not_ours(ui: Ui) -> None:
    theirs = {
        "name": "theirs",
        "trigger": {"type": "event", "posture": "Reactive", "expect": ["x"], "threshold": 1, "within": 0},
        "actions": [],
    }
    ui.ask("POST", "/automations/", **theirs, enabled=False)
    before = {automation["name"]: automation for automation in ui.ask("POST", "/automations/filter", limit=50)}
    assert set(before) == AUTOMATIONS | {"theirs"}
    deployments = {name: ui.deployment(name)["id"] for name in DEPLOYMENTS}

    def deploy(*options: str, **settings: str) -> str:
        done = subprocess.run(
            [BIN / "podcast", "deploy", *options],
            env=environment(ui.home) | {"PREFECT_API_URL": ui.api, "PODCAST_STALE_HOURS": "0.005"} | settings,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert CANARY not in done.stdout + done.stderr
        return done.stdout

    def automations() -> dict[str, Any]:
        return {automation["name"]: automation for automation in ui.ask("POST", "/automations/filter", limit=50)}

    yearly = {"schedule": {"cron": "0 4 1 1 *", "timezone": "UTC"}, "active": True}
    for name in ("podcast-backup/backup", "podcast-pipeline/pipeline"):
        ui.ask("PATCH", f"/deployments/{deployments[name]}", schedules=[yearly])
    assert "8; notifications go out" in deploy(), "the address that the server has stays"
    crons = {name: [s["schedule"]["cron"] for s in ui.deployment(name)["schedules"]] for name in DEPLOYMENTS}
    assert crons["podcast-backup/backup"] == ["0 4 1 1 *"], "one that has none in prefect.yaml keeps its own"
    assert crons["podcast-pipeline/pipeline"] == ["*/15 * * * *"]
    assert automations() == before, "what is not changed keeps what it waits for"
    assert {name: ui.deployment(name)["id"] for name in DEPLOYMENTS} == deployments

    ui.ask("POST", "/automations/", **{n: before["podcast: run lost"][n] for n in ("name", "trigger", "actions")})
    ui.ask("PATCH", f"/automations/{before['podcast: no new events']['id']}", enabled=False)
    deploy(PODCAST_STALE_HOURS="2")
    assert automations()["podcast: no new events"]["enabled"] is False, "a person paused it"
    assert set(automations()) == set(before)
    assert len(ui.ask("POST", "/automations/filter", limit=50)) == len(before), "a double goes"
    assert automations()["podcast: no new events"]["trigger"]["within"] == 7200

    assert "2; no notifications go out: as asked for" in deploy("--no-alerts")
    assert set(automations()) == {"theirs", "podcast: lost runs", "podcast: runs that never began"}
    assert "2; no notifications go out: PODCAST_ALERT_URL is not set" in deploy()
    deploy(**alerting(ui.webhook))
    assert set(automations()) == set(before)


def test_a_dry_run_of_a_decision_reports_its_choice_and_changes_nothing(ui: Ui) -> None:
    before = ui.published("select batch_id, status, pending from ops.batches order by all")
    watched = ui.run(
        "podcast-discard/discard", "--param", "filename_pattern=2024-01-1[01]/*", "--param", "reason=wrong client",
        "--param", "dry_run=true", "--watch",
    )  # fmt: skip
    assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)
    selection = ui.artifacts()["selection"]
    files = {row["file"].replace("\\", "") for row in json.loads(selection["data"])}
    assert files == {"2024-01-10/events-0003.json", BAD_FILE}
    assert "would be discarded" in selection["description"]
    assert ui.published("select batch_id, status, pending from ops.batches order by all") == before


def test_a_cancelled_run_ends_its_process_and_leaves_nothing_writing(ui: Ui) -> None:
    name = "podcast-pipeline/full-refresh"
    earlier = len(ui.runs(name, "Completed"))
    assert ui.run(name).returncode == 0
    holder = ui.home / "warehouse" / "writer.json"
    (run,) = wait_for("a run", lambda: ui.runs(name, "Running"), RUN_SECONDS)
    held = json.loads(wait_for("the lock", lambda: holder.exists() and holder.read_text(), RUN_SECONDS))
    assert held["run"] == run["id"]

    ui.ask("POST", f"/flow_runs/{run['id']}/set_state", state={"type": "CANCELLING"})
    wait_for("the end of the run", lambda: ui.runs(name, "Cancelled"), RUN_SECONDS)
    wait_for("the end of its process", lambda: not Path(f"/proc/{held['pid']}").exists(), STOP_SECONDS)
    with FileLock(ui.home / "warehouse" / "writer.lock", timeout=0):
        duckdb.connect(str(ui.home / "warehouse" / "podcast.duckdb")).close()
    assert ui.published("select count(*) from gold.fact_user_interactions") == [(TOTALS["facts"],)]

    watched = ui.run(name, "--watch")
    assert watched.returncode == 0, watched.stdout + watched.stderr + logs(ui.home)
    assert len(ui.runs(name, "Completed")) == earlier + 1
    assert ui.published("select count(*) from gold.fact_user_interactions") == [(TOTALS["facts"],)]
    ended = ui.published(f"select status from ops.runs where run_id = '{run['id']}'")
    assert ended in ([("failed",)], [("crashed",)])


def test_a_run_that_never_began_is_entered_as_crashed(ui: Ui, stuck: str) -> None:
    def ended() -> bool:
        return ui.ask("GET", f"/flow_runs/{stuck}")["state_type"] == "CRASHED"

    wait_for("the automation", ended, RUN_SECONDS)


def test_a_schedule_starts_runs_by_itself(ui: Ui) -> None:
    """The last one: the schedule goes on, so that the stop of everything meets a run in its middle."""
    name = "podcast-pipeline/pipeline"
    every_five_seconds = [{"schedule": {"interval": 5}, "active": True}]
    ui.ask("PATCH", f"/deployments/{ui.deployment(name)['id']}", schedules=every_five_seconds)

    def started_by_schedule(state: str) -> list[dict[str, Any]]:
        return [run for run in ui.runs(name, state) if run["auto_scheduled"]]

    wait_for("a run that the schedule started", lambda: started_by_schedule("Nothing new"), RUN_SECONDS)
    wait_for("the next one", lambda: started_by_schedule("Running"), RUN_SECONDS)
