"""Everything a person watches, on 127.0.0.1: the Prefect server, a worker, the deployments and the site."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from flows.errors import PipelineError
from flows.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
POOL = "podcast"
START_SECONDS = 180
STOP_SECONDS = 15


def serve(settings: Settings, *, port: int = 4200, site_port: int = 4201) -> None:
    """Start all of it, say where to look, and stop all of it on Ctrl-C or SIGTERM.

    Raises `PipelineError` when a port is taken or one of the programs does not start.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running(settings, port=port, site_port=site_port) as processes:
            _say_where(port, site_port)
            _wait(processes, settings)
    except KeyboardInterrupt:
        print("\nStopped.")  # noqa: T201 - the last word to the terminal


@contextmanager
def running(settings: Settings, *, port: int, site_port: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The programs by name, all of them ready; on leaving they are stopped, the worker first."""
    _check_ports({"--port": port, "--site-port": site_port})
    settings.site_dir.mkdir(parents=True, exist_ok=True)
    logs(settings).mkdir(parents=True, exist_ok=True)
    environment = _environment(settings, port, site_port)
    python = [sys.executable, "-m"]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:

        def start(name: str, *command: str) -> None:
            processes[name] = stack.enter_context(_process(settings, name, [*python, *command], environment))

        start("server", "prefect", "server", "start", "--host", HOST, "--port", str(port))
        _await_server(settings, processes["server"], port)
        for command in (
            ("work-pool", "create", POOL, "--type", "process", "--overwrite"),
            ("work-pool", "set-concurrency-limit", POOL, "1"),
            ("--no-prompt", "deploy", "--all"),
        ):
            _call(settings, [*python, "prefect", *command], environment)
        start("site", "http.server", str(site_port), "--bind", HOST, "--directory", str(settings.site_dir))
        start("worker", "prefect", "worker", "start", "--pool", POOL, "--limit", "1", "--name", "podcast-worker")
        stack.enter_context(_announced(settings, processes["server"].pid, port))
        yield processes


def running_api(settings: Settings) -> str | None:
    """The address of the server that `serve` runs for this home, if it answers."""
    try:
        address = json.loads(_announcement(settings).read_text())["api_url"]
        with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:  # noqa: S310 - our own loopback address
            return str(address) if answer.status == 200 else None  # noqa: PLR2004
    except (OSError, ValueError, KeyError):
        return None


def logs(settings: Settings) -> Path:
    """Where the programs log, each into a file of its name."""
    return settings.home / "prefect" / "logs"


def _environment(settings: Settings, port: int, site_port: int) -> dict[str, str]:
    """That of this process, with the server's address and every path absolute: the worker has its own folder."""
    paths = {
        "PODCAST_HOME": settings.home,
        "PODCAST_LANDING": settings.landing_dir,
        "PODCAST_SEEDS": settings.seeds,
        "PREFECT_HOME": settings.home / "prefect",
    }
    return {
        **os.environ,
        **{name: str(path) for name, path in paths.items()},
        "PODCAST_SITE_URL": settings.site_url or f"http://{HOST}:{site_port}",
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
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
    """End a program and what it started (its session); by force if it takes too long."""
    for signal_, seconds in (
        (signal.SIGINT, STOP_SECONDS),
        (signal.SIGTERM, STOP_SECONDS),
        (signal.SIGKILL, None),
    ):
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal_)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _await_server(settings: Settings, server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise _not_started(settings, "server")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise _not_started(settings, "server")


def _not_started(settings: Settings, name: str) -> PipelineError:
    log = logs(settings) / f"{name}.log"
    last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    return PipelineError(f"The {name} did not start. The end of {log}:\n{last}")


def _call(settings: Settings, command: list[str], environment: dict[str, str]) -> None:
    """A command that has to succeed before the next."""
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    with (logs(settings) / "setup.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    if done.returncode:
        raise PipelineError(f"`{' '.join(command[2:])}` failed:\n{(done.stdout + done.stderr).strip()}")


@contextmanager
def _announced(settings: Settings, pid: int, port: int) -> Iterator[None]:
    """Let `podcast run` in another terminal find the server."""
    _announcement(settings).write_text(json.dumps({"api_url": f"http://{HOST}:{port}/api", "pid": pid}))
    try:
        yield
    finally:
        _announcement(settings).unlink(missing_ok=True)


def _announcement(settings: Settings) -> Path:
    return settings.home / "prefect" / "server.json"


def _check_ports(ports: dict[str, int]) -> None:
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
                raise PipelineError(f"The {name} ended by itself. Its log: {logs(settings) / name}.log")
        time.sleep(0.5)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_where(port: int, site_port: int) -> None:
    print(  # noqa: T201 - this is what the command is for
        f"Prefect UI    http://{HOST}:{port}\n"
        f"Site          http://{HOST}:{site_port}\n\n"
        "Run the pipeline now, in another terminal:\n"
        f"  export PREFECT_API_URL=http://{HOST}:{port}/api\n"
        "  .venv/bin/prefect deployment run podcast-pipeline/pipeline --watch\n\n"
        "It also runs every 15 minutes. Ctrl-C stops everything.",
        flush=True,
    )
