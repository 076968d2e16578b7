"""Everything a person watches, on 127.0.0.1: the Prefect server, a worker, the deployments and the site."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import IO, Any

from flows import QUIET
from flows.deploying import POOL
from flows.errors import PipelineError
from flows.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
START_SECONDS = 180
STOP_SECONDS = 10
END_OF_LOG = 10


def serve(settings: Settings, *, port: int = 4200, site_port: int = 4201) -> None:
    """Start all of it, say where to look, and stop all of it on Ctrl-C, SIGTERM or a closed terminal.

    Raises `PipelineError` when a port is taken or one of the programs does not start.
    """
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    _say("Starting the Prefect server, the deployments, a worker and the site ...")
    with suppress(KeyboardInterrupt), running(settings, port=port, site_port=site_port) as processes:
        try:
            _say(_where_to_look(port, site_port))
            _wait(processes, settings)
        finally:
            _say("\nStopping ...")


@contextmanager
def running(settings: Settings, *, port: int, site_port: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The programs by name, all of them ready; on leaving they are stopped, the worker first."""
    if address := running_api(settings):
        raise PipelineError(f"`podcast ui` runs already for {settings.home}: {address.removesuffix('/api')}")
    check_ports({"--port": port, "--site-port": site_port})
    logs(settings).mkdir(parents=True, exist_ok=True)
    environment = _environment(settings, port, site_port)
    api = environment["PREFECT_API_URL"]
    python = [sys.executable, "-m"]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:

        def start(name: str, *command: str) -> None:
            processes[name] = stack.enter_context(_process(settings, name, [*python, *command], environment))

        start("server", "prefect", "server", "start", "--host", HOST, "--port", str(port))
        _await_server(settings, processes["server"], api)
        _call(settings, [*python, "flows.cli", "deploy"], environment)
        _close_runs(api)
        stack.callback(_close_runs_if_possible, api)
        start("site", "flows.cli", "site", "serve", "--port", str(site_port))
        start("worker", "prefect", "worker", "start", "--pool", POOL, "--limit", "1", "--name", "podcast-worker")
        start("watcher", "flows.cli", "watch")
        stack.enter_context(_announced(settings, processes["server"].pid, api))
        yield processes


def running_api(settings: Settings) -> str | None:
    """The address of the server that `serve` runs for this home, if it answers within a second."""
    try:
        address = str(json.loads(_announcement(settings).read_text())["api_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if _answers(address, seconds=1) else None


def logs(settings: Settings) -> Path:
    """Where the programs log, each into a file of its name."""
    return settings.home / "prefect" / "logs"


def _environment(settings: Settings, port: int, site_port: int) -> dict[str, str]:
    """That of this process, with every path absolute, since runs have a folder of their own.

    Without Prefect's own variables, which speak of another server, and with usage statistics switched off.
    """
    api = f"http://{HOST}:{port}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    paths = {"LOG_FILE": settings.log_file, "ENV_FILE": settings.env_file, "SECRETS_DIR": settings.secrets_dir}
    return {
        **inherited,
        **QUIET,
        **{f"PODCAST_{name}": str(path) for name, path in paths.items() if path},
        "PODCAST_HOME": str(settings.home),
        "PODCAST_LANDING": str(settings.landing_dir),
        "PODCAST_QUARANTINE": str(settings.quarantine_dir),
        "PODCAST_SEEDS": str(settings.seeds),
        "PODCAST_SITE_URL": settings.site_url or f"http://{HOST}:{site_port}",
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "NO_PROXY": ",".join(filter(None, (inherited.get("NO_PROXY"), HOST))),
        "NO_COLOR": "1",
    }


@contextmanager
def _process(
    settings: Settings, name: str, command: list[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """One program with its log, stopped by its process on leaving."""
    with (logs(settings) / f"{name}.log").open("wb") as log:
        process = _spawn(command, environment, log)
        try:
            yield process
        finally:
            _stop(process)


def _spawn(command: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own, so that Ctrl-C in the terminal reaches this process only, which stops it in order.
    return subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a program; the worker ends the run that it is in the middle of.

    That does no harm: what the run has committed is there, and the next run goes on from it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave anything behind
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close_runs(api: str) -> None:
    """Enter runs that ended with their worker as crashed; each would hold the pool's only place for ever."""
    states = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
    lost = _ask(f"{api}/flow_runs/filter", {"flow_runs": {"state": states}, "work_pools": {"name": {"any_": [POOL]}}})
    for run in lost:
        state = {"type": "CRASHED", "message": "The worker was stopped; the next run goes on from what is committed."}
        _ask(f"{api}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def _close_runs_if_possible(api: str) -> None:
    # Without a server there is nobody to tell; the next start does it.
    with suppress(OSError, ValueError, HTTPException):
        _close_runs(api)


def _await_server(settings: Settings, server: subprocess.Popen[bytes], api: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(api, seconds=2):
        if server.poll() is not None or time.monotonic() > deadline:
            raise _ended(settings, "server")
        time.sleep(0.3)


def _answers(api: str, *, seconds: float) -> bool:
    """Whether a Prefect server says there that it is healthy."""
    try:
        return bool(_ask(f"{api}/health", seconds=seconds))
    except (OSError, ValueError, HTTPException):
        return False


def _ask(url: str, body: dict[str, Any] | None = None, *, seconds: float = 30) -> Any:  # noqa: ANN401 - any JSON
    """One request to the server on this machine, whatever proxy is set for others."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http, our own
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=seconds) as answer:
        return json.load(answer)


def _ended(settings: Settings, name: str) -> PipelineError:
    log = logs(settings) / f"{name}.log"
    last = "\n".join(log.read_text(errors="replace").splitlines()[-END_OF_LOG:])
    return PipelineError(f"The {name} did not start, or ended by itself. The end of {log}:\n{last}")


def _call(settings: Settings, command: list[str], environment: dict[str, str]) -> None:
    """A command that has to succeed before the next."""
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    with (logs(settings) / "setup.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    if done.returncode:
        raise PipelineError(f"`{' '.join(command[2:])}` failed:\n{(done.stdout + done.stderr).strip()}")


@contextmanager
def _announced(settings: Settings, pid: int, api: str) -> Iterator[None]:
    """Let `podcast run` in another terminal find the server."""
    _announcement(settings).write_text(json.dumps({"api_url": api, "pid": pid}))
    try:
        yield
    finally:
        _announcement(settings).unlink(missing_ok=True)


def _announcement(settings: Settings) -> Path:
    return settings.home / "prefect" / "server.json"


def check_ports(ports: dict[str, int]) -> None:
    """Raise `PipelineError` naming the options whose ports are taken."""
    taken = [f"{port} (choose another with {option})" for option, port in ports.items() if not _is_free(port)]
    if taken:
        raise PipelineError(f"On {HOST} something else listens on port {' and '.join(taken)}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _wait(processes: dict[str, subprocess.Popen[bytes]], settings: Settings) -> None:
    """Until somebody interrupts; a program that ends by itself ends all of it."""
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise _ended(settings, name)
        time.sleep(0.5)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what a person at the terminal reads


def _where_to_look(port: int, site_port: int) -> str:
    prefect = str(Path(sys.executable).with_name("prefect"))  # of this environment: each engine has its own
    return (
        f"Prefect UI    http://{HOST}:{port}\n"
        f"Site          http://{HOST}:{site_port}\n\n"
        "Run the pipeline now, in another terminal:\n"
        f"  export PREFECT_API_URL=http://{HOST}:{port}/api\n"
        f"  {shlex.quote(prefect)} deployment run podcast-pipeline/pipeline --watch\n\n"
        "It also runs when files land, and every 15 minutes. Ctrl-C stops everything."
    )
