"""The start of a run in a process of its own: the libraries that take seconds, and Prefect's server beside them."""

from __future__ import annotations

import atexit
import gc
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING

from flows import transform

if TYPE_CHECKING:
    from types import ModuleType

    from flows.settings import Settings

HOST = "127.0.0.1"

SLOW = ("dbt.cli.main", "dbt.adapters.duckdb", "great_expectations", "flows.sqlalchemy_dialect")
"""What a run would load when it comes to it."""

WHEN_USED = ("scipy.stats",)
"""What Great Expectations loads for expectations that no suite has, and which takes a good part of its own loading."""

SERVER = (sys.executable, "-m", "flows.run_server")

FOR_ONE_RUN = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""For a server that ends with its run: it need not know the blocks, for which it would load all that may have some."""


def load(module: str, settings: Settings) -> ModuleType:
    """The module with a flow; what its run needs besides is loaded while the server starts.

    So is the project of dbt, where it never was in this home: the server then makes its database, which takes longer.

    None of that is garbage before the process ends: it is not searched for any, neither now nor at the end, where both
    took a good second each.
    """
    gc.disable()
    try:
        server = _start_server()
        loaded = import_module(module)
        for name in WHEN_USED:
            _load_when_used(name)
        for name in SLOW:
            import_module(name)
        if server:
            transform.parse_first(settings)
            server.await_answer()
    finally:
        gc.freeze()
        gc.enable()
    atexit.register(gc.freeze)
    return loaded


def _load_when_used(name: str) -> None:
    """Have an import give a module that is loaded with its first attribute, as Python's importlib documents it."""
    if name in sys.modules or not (spec := find_spec(name)) or not spec.loader:
        return
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    package, _, attribute = name.rpartition(".")
    setattr(sys.modules[package], attribute, module)  # as importing it would


@dataclass(frozen=True)
class RunServer:
    """A server of the run's own, which ends when this process does, in whatever way."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def api(self) -> str:
        """The address of its API, which takes connections from the beginning and answers when it is ready."""
        return f"http://{HOST}:{self.port}/api"

    def await_answer(self) -> None:
        """Wait until it is ready.

        One that does not come up is given up: Prefect then starts its own with the first flow run, and tells what goes
        wrong.
        """
        from prefect.settings import get_current_settings

        seconds = get_current_settings().server.ephemeral.startup_timeout_seconds
        asking = HTTPConnection(HOST, self.port, timeout=seconds)
        try:
            asking.request("GET", "/api/health")
            asking.getresponse().read()
        except (OSError, HTTPException):
            self.stop()
            _use_api(None)
        finally:
            asking.close()

    def stop(self) -> None:
        """Let it end in order, and wait for that."""
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _start_server() -> RunServer | None:
    """Start the server that Prefect would start with the first flow run, unless the settings name another.

    In a process that loads Prefect's server, as this one need not then, and in a session of its own, so that Ctrl-C
    leaves it to take down how the run ended.
    """
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return None
    with socket.create_server((HOST, 0)) as listening:
        process = subprocess.Popen(
            [*SERVER, str(listening.fileno())],
            stdin=subprocess.PIPE, pass_fds=[listening.fileno()], env=FOR_ONE_RUN | os.environ, start_new_session=True,
        )  # fmt: skip
        server = RunServer(process, listening.getsockname()[1])
    atexit.register(server.stop)
    _use_api(server.api)
    return server


def _use_api(address: str | None) -> None:
    """Have everything of Prefect in this process report there, threads that are still to come included."""
    from prefect.context import refresh_global_settings_context

    if address:
        os.environ["PREFECT_API_URL"] = address
    else:
        os.environ.pop("PREFECT_API_URL", None)
    refresh_global_settings_context()
