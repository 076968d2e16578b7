"""Prefect's server for one run: on the socket that it is handed, and no longer than whoever handed it lives.

    python -m flows.run_server SOCKET < PIPE

SOCKET is the number of an inherited descriptor. When the other end of the pipe is gone, be it that the run has ended or
that its process was killed, the server ends in order, and after `STOP_SECONDS` at any rate.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn

STOP_SECONDS = 10


def main() -> None:
    """Serve Prefect's API until standard input has come to its end.

    The libraries are no garbage before that: they are not searched for any, neither while they load nor at the end.
    """
    gc.disable()
    server = _server()
    gc.freeze()
    gc.enable()
    Thread(target=_end_with_the_run, args=[server], daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
    gc.freeze()


def _server() -> uvicorn.Server:
    """As Prefect makes it for itself where nobody looks: without its pages and without what plans runs."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    return uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))


def _end_with_the_run(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    server.should_exit = True
    time.sleep(STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
