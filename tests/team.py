"""A team's server as `deploy/` describes it: units, environment files, user and database, on a machine of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from machine import PATHS, Machine, machine

from flows import QUIET
from flows.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
PREFECT = [sys.executable, "-m", "prefect"]
AUTH = "podcast:a pass:word with %, # and $"
DATABASE_PASSWORD = "another@one/with:signs?"  # noqa: S105 - of a database that ends with the test
SERVER = "podcast-prefect-server"
AS_THE_UNITS = ("--quiet", "--pipe", "--wait", "--uid=podcast", "--working-directory=/opt/podcast", *PATHS)
START_SECONDS = 300
RUN_SECONDS = 600


@dataclass(frozen=True)
class Team:
    """The server of a team, seen by somebody who has its password."""

    machine: Machine
    api: str
    site: str
    scratch: Path

    @property
    def home(self) -> Path:
        """What the units know as `/var/lib/podcast`."""
        return self.machine.lib("podcast")

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """One request to the API of the server."""
        answer = httpx.request(method, f"{self.api}{path}", json=body or None, auth=_user(AUTH), timeout=30)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"/deployments/name/{name}")

    def flow_runs(self, **flow_runs: Any) -> list[dict[str, Any]]:
        """Flow runs that a filter lets through, in the order of their start."""
        return self.ask("POST", "/flow_runs/filter", flow_runs=flow_runs or None, sort="START_TIME_ASC")

    def flow_run(self, run_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/flow_runs/{run_id}")

    def start(self, deployment: str) -> str:
        """Ask for a run, as the button in the UI does; its id."""
        created = self.ask("POST", f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", name=None)
        return str(created["id"])

    def schedule(self, deployment: str, *, every: float | None) -> None:
        """Let a deployment run every so many seconds, or only when asked for."""
        schedules = [{"schedule": {"interval": every}, "active": True}] if every else []
        self.ask("PATCH", f"/deployments/{self.deployment(deployment)['id']}", schedules=schedules)

    def type(self, *words: str, auth: str | None = AUTH) -> subprocess.CompletedProcess[str]:
        """What a person types after `prefect`, in a terminal of this machine."""
        environment = {**os.environ, **QUIET, "PREFECT_HOME": str(self.scratch / "person"), "PREFECT_API_URL": self.api}
        environment |= {"NO_COLOR": "1"} | ({"PREFECT_API_AUTH_STRING": auth} if auth else {})
        return subprocess.run(
            [*PREFECT, *words], env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def writer(self, run_id: str) -> int | None:
        """The process, as the machine counts, that writes the warehouse for a run, if it does."""
        try:
            note = json.loads((self.home / "warehouse" / "writer.json").read_text())
        except (OSError, ValueError):
            return None
        return int(note["pid"]) if note["run"] == run_id else None

    def worker_of(self, process: int) -> str:
        """The unit of the worker that a process of a run belongs to."""
        found = re.search(r"podcast-worker@\d+\.service", self.machine.do("cat", f"/proc/{process}/cgroup"))
        assert found
        return found[0]

    def finished_task(self, run_id: str, name: str) -> bool:
        """Whether a run has a step behind it."""
        tasks = self.ask("POST", "/task_runs/filter", flow_runs={"id": {"any_": [run_id]}}, limit=200)
        return any(t["name"].startswith(name) and t["state_type"] == "COMPLETED" for t in tasks)

    def middle_of(self, run_id: str, *, behind: str) -> int:
        """Wait until a run has a step behind it and is at work; its process."""
        self.wait_for(f"run {run_id} at work", lambda: self.writer(run_id), RUN_SECONDS)
        self.wait_for(f"the end of {behind}", lambda: self.finished_task(run_id, behind), RUN_SECONDS)
        process = self.writer(run_id)
        assert process, "the run has ended before it could be met in its middle"
        return process

    def do_as_the_pipeline(self, *words: str) -> str:
        """What an operator types on the machine to run `podcast` as the units do; what it prints."""
        told = (*AS_THE_UNITS, "--property=EnvironmentFile=/etc/podcast/podcast.env")
        return self.machine.do("systemd-run", *told, "/opt/podcast/.venv/bin/python", "-m", "flows.cli", *words)

    def wait_for(self, what: str, look: Callable[[], Any], seconds: float, *, every: float = 0.3) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(every)
        pytest.fail(f"not within {seconds} s: {what}\n{self.machine.logs()}")

    def await_end(self, *run_ids: str) -> list[dict[str, Any]]:
        """The runs, once none of them can go on."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        def ended() -> list[dict[str, Any]] | None:
            runs = [self.flow_run(run_id) for run_id in run_ids]
            return runs if {run["state_type"] for run in runs} <= final else None

        return self.wait_for(f"the end of {run_ids}", ended, RUN_SECONDS)

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False


def _user(auth: str) -> tuple[bytes, bytes]:
    name, _, password = auth.encode().partition(b":")
    return name, password


@contextmanager
def team(scratch: Path) -> Iterator[Team]:
    """The server of a team with two workers, set up as the page for operators says, without files or runs."""
    port, database, site = (_free_port() for _ in range(3))
    with machine(scratch, postgresql_port=database) as made:
        _make_database(made, database)
        _install(made, port=port, database=database, site=site)
        made_team = Team(made, f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{site}", scratch)
        made.do("systemctl", "enable", "--now", SERVER)
        made_team.wait_for("the server", made_team.is_up, START_SECONDS)
        made.do("systemctl", "start", "podcast-deploy", seconds=START_SECONDS)
        for deployment in ("podcast-pipeline/pipeline", "podcast-prune/prune"):
            made_team.schedule(deployment, every=None)  # what runs, and when, is the tests' affair
        made.do("systemctl", "enable", "--now", "podcast-worker@1", "podcast-worker@2")
        yield made_team


def _make_database(made: Machine, port: int) -> None:
    """A role and a database for Prefect, as `docs/operations/team-server.md` makes them."""
    told = ("runuser", "--user=postgres", "--", "psql", f"--port={port}", "--set=ON_ERROR_STOP=1")
    made.do(*told, "--command", f"create role prefect login password '{DATABASE_PASSWORD}'")
    made.do(*told, "--command", "create database prefect owner prefect")


def _install(made: Machine, *, port: int, database: int, site: int) -> None:
    """User, units and environment files."""
    made.do("useradd", "--system", "--home-dir", "/var/lib/podcast", "--shell", "/usr/sbin/nologin", "podcast")
    made.do("sh", "-c", "cp /opt/podcast/deploy/systemd/*.service /etc/systemd/system/")
    made.do("mkdir", "-m", "750", "/etc/podcast")
    folder = made.scratch / "etc" / "podcast"
    shared = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": AUTH}
    of_tests = {"PODCAST_SETTLE_SECONDS": "0", "PREFECT_WORKER_QUERY_SECONDS": "2", "SITE_PORT": str(site)}
    (folder / "podcast.env").write_text(_filled_in("podcast.env.example", shared) + _lines(of_tests))
    server = {
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_SERVER_DATABASE_PORT": str(database),
        "PREFECT_SERVER_DATABASE_PASSWORD": DATABASE_PASSWORD,
    }
    soon_late = {"PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5"}
    (folder / "prefect-server.env").write_text(_filled_in("prefect-server.env.example", server) + _lines(soon_late))
    for path in folder.iterdir():
        path.chmod(0o600)
    home = made.lib("podcast")
    shutil.copytree(PROJECT_ROOT / "data" / "landing", home / "landing")
    made.do("chown", "--recursive", "podcast:podcast", "/var/lib/podcast")
    made.do("systemctl", "daemon-reload")


def _filled_in(example: str, values: dict[str, str]) -> str:
    """An example of an environment file with other values; each name has to be in it."""
    text = (DEPLOY / example).read_text()
    for name, value in values.items():
        replacement = _lines({name: value}).rstrip("\n").replace("\\", r"\\")
        text, found = re.subn(f"^{name}=.*$", replacement, text, flags=re.MULTILINE)
        assert found == 1, f"{name} is not in {example}"
    return text


def _lines(values: dict[str, str]) -> str:
    return "".join(f'{name}="{value}"\n' for name, value in values.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
