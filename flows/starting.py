"""The start of a run in a process of its own: the libraries that take seconds, and Prefect's server beside them."""

from __future__ import annotations

import atexit
import gc
import os
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from prefect.server.api.server import SubprocessASGIServer

SLOW = ("dbt.cli.main", "dbt.adapters.duckdb", "great_expectations", "flows.sqlalchemy_dialect")
"""What a run would load when it comes to it."""

WITHOUT_BLOCKS = {
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""For a server that ends with its run: it need not know the blocks, for which it would load all that may have some."""


def load(module: str) -> ModuleType:
    """The module with a flow; what its run needs besides is loaded while the server starts.

    None of that is garbage before the process ends: it is not searched for any, neither now nor at the end, where both
    took a good second each.
    """
    gc.disable()
    try:
        loaded = import_module(module)
        starting = _start_server()
        for name in SLOW:
            import_module(name)
        if starting:
            starting.join()
    finally:
        gc.freeze()
        gc.enable()
    atexit.register(gc.freeze)
    return loaded


def _start_server() -> Thread | None:
    """Have the server started that Prefect would start with the first flow run, unless the settings name another."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return None
    from prefect.server.api.server import SubprocessASGIServer

    os.environ |= WITHOUT_BLOCKS | os.environ
    thread = Thread(target=_start, args=[SubprocessASGIServer()], daemon=True)
    thread.start()
    return thread


def _start(server: SubprocessASGIServer) -> None:
    """What goes wrong here, goes wrong again, and is told, when the flow run begins."""
    with suppress(Exception):
        server.start()
