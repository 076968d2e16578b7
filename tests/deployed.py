"""`podcast ui` as a person starts it: server, worker, deployments, watcher and site, and what can be asked of them."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from flows.settings import Settings
from flows.ui import running_api

START_SECONDS = 300
RUN_SECONDS = 300
STOP_SECONDS = 120


@dataclass(frozen=True)
class Ui:
    """What `podcast ui` runs, until it is stopped."""

    home: Path
    api: str
    site: str
    programs: Path
    """The folder of `podcast` and `prefect`."""
    environment: Mapping[str, str]

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """One request to the API of the server."""
        answer = httpx.request(method, f"{self.api}{path}", json=body or None, timeout=30)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"/deployments/name/{name}")

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        """Runs of a deployment in any of the states, oldest first."""
        return self.ask(
            "POST",
            "/flow_runs/filter",
            deployments={"id": {"any_": [self.deployment(deployment)["id"]]}},
            flow_runs={"state": {"name": {"any_": list(states)}}},
            sort="START_TIME_ASC",
        )

    def artifacts(self) -> dict[str, dict[str, Any]]:
        """The newest artifact of each key."""
        return {artifact["key"]: artifact for artifact in self.ask("POST", "/artifacts/latest/filter", limit=100)}

    def run(self, deployment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a person types to run a deployment."""
        return subprocess.run(
            [self.programs / "prefect", "deployment", "run", deployment, *arguments],
            env={**self.environment, "PREFECT_API_URL": self.api},
            capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
        )  # fmt: skip

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "warehouse" / "published.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def start_ui(home: Path, programs: Path, environment: Mapping[str, str]) -> Iterator[Ui]:
    """Everything started with one command, and everything gone after SIGTERM."""
    port, site_port = free_port(), free_port()
    process = subprocess.Popen(
        [programs / "podcast", "ui", "--port", str(port), "--site-port", str(site_port)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        settings = Settings(home=home)
        wait_for("server", lambda: running_api(settings) or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, process.communicate()[0]
        yield Ui(home, str(running_api(settings)), f"http://127.0.0.1:{site_port}", programs, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, output
    (prefect,) = re.findall(r"^  (\S+)/prefect deployment run podcast-pipeline/pipeline --watch$", output, re.MULTILINE)
    assert Path(prefect).samefile(programs)
    assert not (home / "prefect" / "server.json").exists()
    assert unfinished_runs(home) == [], "a run that nobody works at would hold the pool's only place"
    for stopped in (port, site_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", stopped)) != 0, f"something still listens on {stopped}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, look: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.5)
    pytest.fail(f"not within {seconds} s: {what}")


def logs(home: Path) -> str:
    """The end of every log, to say why something did not happen."""
    return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in home.rglob("logs/*.log"))


def unfinished_runs(home: Path) -> list[Any]:
    """Runs that have begun and not ended, in the database of the server."""
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as connection:
        unfinished = "select name, state_type from flow_run where state_type in ('PENDING', 'RUNNING', 'CANCELLING')"
        return connection.execute(unfinished).fetchall()
