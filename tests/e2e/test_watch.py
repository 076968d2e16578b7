"""Files that land start runs: a real server, worker and watcher, as `podcast ui` starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from flows import QUIET
from flows.settings import Settings
from flows.ui import logs, running

PODCAST = Path(sys.executable).with_name("podcast")
SETTLE_SECONDS = 2
RUN_SECONDS = 300
EVENT = {"event_type": "play", "user_id": "u000001", "episode_id": "e0001", "duration": 60}
FIRST_EVENT = datetime(2024, 1, 10, tzinfo=UTC)


@dataclass
class Watched:
    """What `podcast ui` runs, its watcher among it, until a test has one of its own."""

    settings: Settings
    api: str
    processes: dict[str, subprocess.Popen[bytes]]
    environment: dict[str, str]
    events: int = 0

    def event(self) -> dict[str, Any]:
        """One that no other file has."""
        self.events += 1
        return EVENT | {"timestamp": (FIRST_EVENT + timedelta(seconds=self.events)).isoformat()}

    def land(self, name: str, *, lines: int = 1) -> None:
        """As it should be done: written beside, and renamed into place."""
        path = self.settings.landing_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.part")
        beside.write_text("".join(json.dumps(self.event()) + "\n" for _ in range(lines)))
        beside.rename(path)

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The runs of the deployment that the watcher asked for, oldest first; in one of the states, or in any."""
        body = {
            "flow_runs": {"tags": {"all_": ["files-landed"]}}
            | ({"state": {"type": {"any_": states}}} if states else {}),
            "deployments": {"name": {"any_": ["pipeline"]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        answer = httpx.post(f"{self.api}/flow_runs/filter", json=body, timeout=120)
        assert answer.is_success, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def published(self) -> dict[str, int]:
        """The number of facts of each file, in the published copy."""
        facts = """
            select filename, count(*) from gold.fact_user_interactions join ops.batches using (batch_id)
            group by filename
        """
        if not self.settings.published_path.exists():
            return {}
        with duckdb.connect(str(self.settings.published_path), read_only=True) as connection:
            return dict(connection.execute(facts).fetchall())

    def quiet(self, *names: str) -> None:
        """Wait until the files are published and no run is on its way any more."""
        unfinished = ("SCHEDULED", "PENDING", "RUNNING")
        self.wait(f"{names} published", lambda: self.published().keys() >= set(names) and not self.runs(*unfinished))

    def wait(self, what: str, look: Callable[[], Any], seconds: float = RUN_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.5)
        files = sorted(logs(self.settings).glob("*.log"))
        ends = "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in files)
        pytest.fail(f"not within {seconds} s: {what}\n{ends}")

    def log(self) -> str:
        return (logs(self.settings) / "watcher.log").read_text()

    @contextmanager
    def watcher(self) -> Iterator[subprocess.Popen[bytes]]:
        """A watcher of the test's own, ended by SIGTERM."""
        with (logs(self.settings) / "watcher.log").open("ab") as log:
            process = subprocess.Popen([PODCAST, "watch"], env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            end(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One server and worker for all tests of the module, which build on each other in their order."""
    home = tmp_path_factory.mktemp("watch") / "home"
    (home / "landing").mkdir(parents=True)
    settings = Settings(home=home)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    ours = {
        "PODCAST_HOME": str(home),
        "PODCAST_SETTLE_SECONDS": str(SETTLE_SECONDS),
        "PODCAST_WATCH_POLL_SECONDS": "3600",  # what is seen in time was not seen by this
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": api,
    }
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in ours.items():
            patch.setenv(name, value)
        processes = stack.enter_context(running(settings, port=port, site_port=free_port()))
        pause_schedule(api)
        yield Watched(settings, api, processes, {**os.environ, **QUIET, **ours})


def pause_schedule(api: str) -> None:
    """So that every run of these tests is one that files started."""
    deployment = httpx.get(f"{api}/deployments/name/podcast-pipeline/pipeline", timeout=30).json()
    assert httpx.post(f"{api}/deployments/{deployment['id']}/pause_deployment", timeout=30).is_success


def test_a_file_that_lands_starts_a_run_that_says_so_and_is_published(watched: Watched) -> None:
    watched.land("first.json", lines=3)
    watched.quiet("first.json")
    assert watched.published() == {"first.json": 3}
    (run,) = watched.runs()
    assert run["name"].startswith("1 new file, ")
    assert {"files-landed", "podcast"} <= set(run["tags"])
    assert run["state_type"] == "COMPLETED"


def test_a_second_watcher_is_refused(watched: Watched) -> None:
    second = subprocess.run([PODCAST, "watch"], env=watched.environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "Another watcher runs" in second.stderr


def test_many_files_in_a_burst_are_one_run_and_those_that_land_during_it_one_more(watched: Watched) -> None:
    earlier = len(watched.runs())
    names = [f"burst/{number}.json" for number in range(20)]
    for name in names:
        watched.land(name)
        time.sleep(0.05)
    watched.wait("the run to begin", lambda: watched.runs("RUNNING"))
    assert [run["name"].split(",")[0] for run in watched.runs()[earlier:]] == ["20 new files"]
    discovered = logs(watched.settings) / "worker.log"
    watched.wait("its look at the directory", lambda: "discover: 20 new files" in discovered.read_text())
    during = [f"during/{number}.json" for number in range(3)]
    for name in during:
        watched.land(name)
        time.sleep(0.05)
    watched.quiet(*names, *during)
    assert [run["name"].split(",")[0] for run in watched.runs()[earlier:]] == ["20 new files", "3 new files"]


def test_what_lands_while_the_watcher_is_dead_starts_a_run_when_it_is_back(watched: Watched) -> None:
    earlier = len(watched.runs())
    watched.processes["watcher"].send_signal(signal.SIGKILL)
    watched.processes["watcher"].wait(10)
    watched.land("meanwhile.json")
    with watched.watcher():
        watched.quiet("meanwhile.json")
        assert len(watched.runs()) == earlier + 1
        # the same content with another fingerprint is nothing new, and only the working database learns of it
        os.utime(watched.settings.landing_dir / "first.json")
        watched.wait("a run for it", lambda: len(watched.runs("COMPLETED")) == earlier + 2)
        watched.wait("that it is told", lambda: "did not take 1 file: first.json" in watched.log())
        written = watched.log().count("being written")
        (watched.settings.landing_dir / "folder").mkdir()
        watched.wait("another look", lambda: watched.log().count("being written") > written)
        time.sleep(SETTLE_SECONDS + 3)
        assert len(watched.runs()) == earlier + 2, "it is not asked for again"


def test_while_the_server_is_away_nothing_is_lost(watched: Watched) -> None:
    """The last one with the server: the worker goes on with the one that comes back."""
    earlier, begun = len(watched.runs()), watched.log().count("Watching")
    with watched.watcher() as watcher:
        watched.wait("the watcher", lambda: watched.log().count("Watching") > begun)
        server = watched.processes["server"]
        command = [part.decode() for part in Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")[:-1]]
        environment = dict(
            part.decode().split("=", 1) for part in Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")[:-1]
        )
        end(server)
        watched.land("server-away.json")
        watched.wait("that it is said", lambda: "does not answer" in watched.log())
        with (logs(watched.settings) / "server.log").open("ab") as log:
            again = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            watched.wait("the server", lambda: is_healthy(watched.api))
            watched.quiet("server-away.json")
            assert len(watched.runs()) == earlier + 1
            assert watched.log().count("does not answer") == 1
            assert "Going on" in watched.log()
            watcher.send_signal(signal.SIGINT)
            assert watcher.wait(30) == 0
            assert watched.log().endswith("Stopped\n")
        finally:
            end(again)


def end(process: subprocess.Popen[bytes]) -> None:
    """By SIGTERM, and at once where that takes too long."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_without_a_landing_directory_it_does_not_start(tmp_path: Path) -> None:
    environment = {**os.environ, "PODCAST_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    refused = subprocess.run([PODCAST, "watch"], env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "landing directory" in refused.stderr
    assert str(tmp_path / "landing") in refused.stderr.replace("\n", "")


def test_it_ends_at_once_while_it_waits_for_a_server(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    environment = {**os.environ, "PODCAST_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    watcher = subprocess.Popen([PODCAST, "watch"], env=environment, stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    seen = iter(watcher.stdout.readline, "")
    assert any("does not answer" in line for line in seen)
    began = time.monotonic()
    watcher.send_signal(signal.SIGTERM)
    assert any("Stopped" in line for line in seen)
    assert time.monotonic() - began < 2
    assert watcher.wait(30) == 0
