"""Runs of the pipeline as processes of their own, and the Prefect server that they report to.

The heavy libraries take seconds to import. So this process imports them once, opens no database and starts
no thread, and each run is a fork of it: as fresh as a new process, and there at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows import QUIET

HOST = "127.0.0.1"
START_SECONDS = 180
RUN_SECONDS = 300
"""A run that takes longer hangs: a person would have to end it."""
BROKEN = 70


@dataclass(frozen=True)
class Fate:
    """How a process ended: its exit code, or the signal that ended it as a negative number."""

    code: int
    seconds: float

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


@contextmanager
def prefect_server(scratch: Path) -> Iterator[dict[str, str]]:
    """A real Prefect server with a home of its own; gives the environment that leads a run to it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    api = f"http://{HOST}:{port}/api"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = {**QUIET, "PREFECT_HOME": str(scratch / "prefect"), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    environment["NO_PROXY"] = HOST
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)],
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            _await_server(server, api, scratch / "server.log")
            yield environment | {"PREFECT_API_URL": api}
        finally:
            _stop(server)


def _await_server(server: subprocess.Popen[bytes], api: str, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            direct.open(f"{api}/health", timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise RuntimeError(f"The Prefect server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def import_heavy_libraries() -> None:
    """Everything that a run imports; none of it may start a thread, which a fork would not take along."""
    import dbt.adapters.duckdb.connections
    import dbt.cli.main
    import duckdb
    import great_expectations

    import flows.pipeline  # noqa: F401

    del dbt, duckdb, great_expectations
    _have_one_thread("An import")


def _have_one_thread(who: str) -> None:
    if threading.active_count() > 1:
        raise RuntimeError(f"{who} started threads, so no run can be forked: {threading.enumerate()}")


def read_project(home: Path) -> None:
    """What dbt reads of the project, which is the same in every home and which the forks then have already."""
    from flows import transform
    from flows.settings import load_settings

    transform.parse_first(load_settings().model_copy(update={"home": home}))
    _have_one_thread("Reading the project")


def fork(work: Callable[[], int], *, log: Path | None = None, environment: Mapping[str, str] | None = None) -> int:
    """A child that does the work and exits with what it returns; returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if log:
            _send_output_to(log)
        os.environ.update(environment or {})
        code = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, a child never returns into its parent's code
        traceback.print_exc()
        code = getattr(error, "exit_code", BROKEN)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def spawn(command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> int:
    """A command with its output in a file; returns its process id."""
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.posix_spawn(
        command[0],
        command,
        {**os.environ, **environment},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), output, (os.POSIX_SPAWN_DUP2, 1, 2)],
    )


def podcast_command() -> str:
    """The command that people type, of the environment that runs this."""
    beside = Path(sys.executable).with_name("podcast")
    return str(beside if beside.exists() else shutil.which("podcast"))


def wait(
    child: int, *, events: Sequence[tuple[float, Callable[[], None]]] = (), limit: float | None = RUN_SECONDS
) -> Fate:
    """Wait for a child's end, doing each thing when its time (seconds from now) has come, if the child still runs."""
    started, parent = time.monotonic(), os.getppid()
    waiting = sorted([*events, *([(limit, partial(terminate, child))] if limit else [])], key=lambda event: event[0])
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return Fate(os.waitstatus_to_exitcode(status), time.monotonic() - started)
            while waiting and waiting[0][0] <= time.monotonic() - started:
                waiting.pop(0)[1]()
            _check_parent(parent)
            time.sleep(0.002)
    except BaseException:
        kill(child)
        os.waitpid(child, 0)
        raise


def _check_parent(parent: int) -> None:
    if os.getppid() != parent:
        raise RuntimeError("Whoever asked for this is gone.")


def kill(child: int) -> None:
    """End a child as `kill -9` does."""
    os.kill(child, signal.SIGKILL)


def terminate(child: int) -> None:
    """End a child that hangs, in such a way that nobody takes it for one that was to be killed."""
    os.kill(child, signal.SIGTERM)


def _send_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
