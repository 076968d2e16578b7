"""The server of a team: its units under systemd, Prefect on PostgreSQL with a password, two workers, and what kills do.

One story: a run is killed with its worker at the start, and what does not depend on it is tried while the
server has yet to notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx
import pytest
from team import AUTH, SERVER, Team, team

from flows.settings import PROJECT_ROOT

TOTALS = json.loads((PROJECT_ROOT / "tests/golden/sample_answers.json").read_text())["totals"]
PIPELINE = "podcast-pipeline/pipeline"
FULL_REFRESH = "podcast-pipeline/full-refresh"
UNITS = sorted(path.name for path in (PROJECT_ROOT / "deploy" / "systemd").iterdir())
CRASHED_SECONDS = 240
EVERY_SECONDS = 45


@dataclass(frozen=True)
class Killed:
    """A run that was killed in its middle, together with its worker."""

    team: Team
    run: str
    worker: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team(tmp_path_factory.mktemp("team")) as made:
        yield made


@pytest.fixture(scope="module")
def killed(server: Team) -> Killed:
    """The first run over the sample, of which nothing is left but what it had committed.

    Its schedule is on from here: whatever happens then, nobody asks for it.
    """
    run = server.start(PIPELINE)
    worker = server.worker_of(server.middle_of(run, behind="load batches"))
    server.machine.do("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", worker)
    server.schedule(PIPELINE, every=EVERY_SECONDS)
    return Killed(server, run, worker)


def test_systemd_starts_a_killed_worker_again(killed: Killed) -> None:
    machine = killed.team.machine
    killed.team.wait_for("restart", lambda: machine.show(killed.worker, "NRestarts") == "1", 60)
    # From here on as if its machine were gone: the other worker has to do.
    machine.do("systemctl", "stop", killed.worker)
    assert killed.team.flow_run(killed.run)["state_type"] == "RUNNING", "nobody has noticed yet"


def test_who_has_not_the_password_is_refused(server: Team) -> None:
    asked = f"{server.api}/flow_runs/count"
    for refused in (None, ("podcast", "wrong"), ("podcast", "")):
        assert httpx.post(asked, json={}, auth=refused).status_code == 401
    assert httpx.get(f"{server.api}/health").json() is True
    assert server.ask("POST", "/flow_runs/count", flow_runs=None) >= 1


@pytest.mark.parametrize("auth", [None, "podcast:wrong"])
def test_a_command_without_the_password_is_refused(server: Team, auth: str | None) -> None:
    refused = server.type("deployment", "run", FULL_REFRESH, auth=auth)
    assert refused.returncode == 1
    assert "401" in refused.stdout + refused.stderr


def test_a_command_with_the_password_is_answered(server: Team) -> None:
    shown = server.type("work-pool", "ls")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "podcast" in shown.stdout


def test_a_worker_with_a_wrong_password_ends(server: Team) -> None:
    refused = server.type(
        "worker", "start", "--pool", "podcast", "--type", "process", "--install-policy", "never", "--run-once",
        "--name", "stranger", auth="podcast:wrong",
    )  # fmt: skip
    assert refused.returncode != 0
    assert "401" in refused.stdout + refused.stderr
    assert "stranger" not in workers(server)


@pytest.mark.parametrize(("auth", "answer"), [(AUTH, "auth_success"), ("podcast:wrong", None), ("", None)])
def test_events_come_in_with_the_password_only(server: Team, auth: str, answer: str | None) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    address = f"{server.api.replace('http', 'ws')}/events/in"
    with connect(address, subprotocols=[Subprotocol("prefect")], proxy=None) as socket:
        socket.send(json.dumps({"type": "auth", "token": auth}))
        if answer:
            assert json.loads(socket.recv(timeout=30))["type"] == answer
        else:
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(server: Team, unit: str) -> None:
    name = unit.replace("@", "@1")
    verified = server.machine.run("systemd-analyze", "verify", name)
    assert verified.stdout + verified.stderr == ""
    server.machine.do("systemd-analyze", "security", "--offline=true", "--threshold=40", f"/etc/systemd/system/{unit}")


def test_both_workers_are_online(killed: Killed) -> None:
    machine = killed.team.machine
    host = machine.do("hostname").strip()
    assert {f"{host}-1", f"{host}-2"} <= set(workers(killed.team))


def test_the_units_run_as_their_own_user_and_the_database_is_postgresql(server: Team) -> None:
    for unit in (SERVER, "podcast-worker@1", "podcast-worker@2"):
        pid = server.machine.show(unit, "MainPID")
        if pid != "0":
            assert server.machine.do("stat", "--format=%U", f"/proc/{pid}").strip() == "podcast"
    assert not (server.home / "prefect" / "prefect.db").exists()


def test_a_killed_run_is_entered_as_crashed_and_its_work_is_taken_up(killed: Killed) -> None:
    """By the heartbeats that it no longer sends; then by the next run of the schedule, by the other worker."""
    team = killed.team
    team.wait_for("mark", lambda: team.flow_run(killed.run)["state_type"] == "CRASHED", CRASHED_SECONDS)
    first = team.wait_for("a run that publishes", lambda: completed(team, "Quarantined"), CRASHED_SECONDS)[0]
    team.schedule(PIPELINE, every=None)
    assert first["auto_scheduled"]
    assert first["state"]["message"] == "6 batches published, 1 held back"
    assert_sample_is_published(team)
    (crash,) = team.published(f"select status, message from ops.runs where run_id = '{killed.run}'")
    assert crash[0] == "crashed"
    assert "the next run goes on from what it had committed" in crash[1]
    assert team.published("select distinct attempt, run_id from ops.batches") == [(1, killed.run)], "loaded once"
    team.machine.do("systemctl", "start", killed.worker)


def test_the_ui_is_there_for_who_asks_without_a_password_and_its_data_are_not(server: Team) -> None:
    """The page itself asks for the password, and sends it with every question to the API."""
    page = httpx.get(server.api.removesuffix("/api"), follow_redirects=True)
    assert page.status_code == 200
    assert '<div id="' in page.text


def completed(team: Team, name: str) -> list[dict[str, Any]]:
    return [run for run in team.flow_runs(state={"name": {"any_": [name]}}) if run["state_type"] == "COMPLETED"]


def workers(team: Team) -> dict[str, str]:
    """The state of each worker of the pool, by name."""
    found = team.ask("POST", "/work_pools/podcast/workers/filter", limit=100)
    return {worker["name"]: worker["status"] for worker in found}


def assert_sample_is_published(team: Team) -> None:
    """The tables are as if nothing had happened."""
    facts = dict(team.published("select event_type, count(*) from gold.fact_user_interactions group by event_type"))
    assert facts == TOTALS["facts_by_event_type"]
    kinds = ("lines", "malformed", "invalid", "duplicates", "facts", "held_back")
    columns = ", ".join(f"total_{kind}" for kind in kinds)
    newest = f"select {columns} from ops.runs where status = 'passed' order by started_at"
    assert team.published(newest)[-1] == tuple(TOTALS[kind] for kind in kinds)


def test_deployments_asked_for_at_once_take_turns(killed: Killed) -> None:
    team = killed.team
    ended = team.await_end(team.start(FULL_REFRESH), team.start(PIPELINE))
    assert {run["state_type"] for run in ended} == {"COMPLETED"}
    assert_one_at_a_time(team)
    assert_sample_is_published(team)


def test_the_schedule_fires_during_a_long_run_and_no_run_is_lost(killed: Killed) -> None:
    team = killed.team
    long = team.start(FULL_REFRESH)
    process = str(team.middle_of(long, behind="build"))
    team.machine.do("kill", "-STOP", process)  # for less than the 90 seconds after which it would count as lost
    team.schedule(PIPELINE, every=5)
    waiting = team.wait_for("scheduled runs that are late", lambda: late(team), 80)
    team.schedule(PIPELINE, every=None)
    assert [run["id"] for run in team.flow_runs(state={"type": {"any_": ["RUNNING", "PENDING"]}})] == [long]
    team.machine.do("kill", "-CONT", process)
    ended = team.await_end(long, *waiting)
    assert {run["state_type"] for run in ended} == {"COMPLETED"}
    assert_one_at_a_time(team)
    assert_sample_is_published(team)


def test_the_server_may_be_killed_in_the_middle_of_a_run(killed: Killed) -> None:
    team = killed.team
    run = team.start(FULL_REFRESH)
    team.middle_of(run, behind="build")
    team.machine.do("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", SERVER)
    team.wait_for("the server again", team.is_up, 120)
    (ended,) = team.await_end(run)
    assert ended["state_type"] == "COMPLETED", ended
    assert team.published(f"select status from ops.runs where run_id = '{run}'") == [("passed",)]
    (after,) = team.await_end(team.start(FULL_REFRESH))
    assert after["state_type"] == "COMPLETED"
    for name in (PIPELINE, FULL_REFRESH):
        assert team.deployment(name)["global_concurrency_limit"]["active_slots"] == 0, "no place is lost"
    assert_one_at_a_time(team)
    assert_sample_is_published(team)


def late(team: Team) -> list[str]:
    """Runs of the schedule whose time has come, once there are two."""
    ids = [run["id"] for run in team.flow_runs(state={"name": {"any_": ["Late", "AwaitingConcurrencySlot"]}})]
    return ids if len(ids) > 1 else []


def assert_one_at_a_time(team: Team) -> None:
    """No two runs wrote at once, and none was refused for it."""
    assert team.flow_runs(state={"type": {"any_": ["FAILED"]}}) == []
    runs = team.published("select started_at, finished_at from ops.runs where status != 'crashed' order by started_at")
    assert [(a, b) for a, b in pairwise(runs) if a[1] > b[0]] == []


def test_an_operator_runs_a_command_as_the_units_do(killed: Killed) -> None:
    team = killed.team
    ran = json.loads(team.do_as_the_pipeline("run", "--full-refresh", "--json"))
    assert ran["status"] == "passed"
    assert [run["id"] for run in team.flow_runs() if run["deployment_id"] is None] == [ran["run_id"]]
    assert "quarantined" in team.do_as_the_pipeline("status")


def test_the_other_units_start_and_stay(killed: Killed) -> None:
    """Those whose command there is, side by side."""
    from flows.cli import cli

    machine = killed.team.machine
    units = [f"podcast-{name}" for name in ("site", "api", "watch") if name in cli.commands]
    machine.do("systemctl", "enable", "--now", *units)
    killed.team.wait_for("the site", lambda: answers(killed.team.site), 60)
    for unit in units:
        assert (machine.show(unit, "ActiveState"), machine.show(unit, "NRestarts")) == ("active", "0"), machine.logs()
    machine.do("systemctl", "stop", *units)


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).is_success
    except httpx.HTTPError:
        return False
