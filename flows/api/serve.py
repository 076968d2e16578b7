"""The server: its token, the host it listens on, and how it is started."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import click
import uvicorn

from flows.api.app import application
from flows.errors import SettingsError
from flows.masking import kept_key

if TYPE_CHECKING:
    from flows.settings import Settings

HOST = "127.0.0.1"
PORT = 4202
KEEP_ALIVE_SECONDS = 15
MOST_CONNECTIONS = 200


def token(settings: Settings) -> str:
    """The token that was set, or the one of the home, which is made when there is none."""
    if settings.api_token is not None:
        return settings.api_token.get_secret_value()
    return kept_key(settings.home / "api.token").decode().strip()


def serve(settings: Settings, *, host: str, port: int, open_metrics: bool) -> None:
    """Serve until interrupted. Raises `SettingsError` for another host than this machine without a token of one's own.

    Requests are not logged: ids stand in their addresses.
    """
    if settings.api_token is None and not _is_loopback(host):
        raise SettingsError(
            f"--host {host} lets other machines ask. Choose the token that they have to give first: set "
            "PODCAST_API_TOKEN, to at least 16 characters that nobody can guess."
        )
    app = application(settings, token=token(settings), open_metrics=open_metrics)
    click.echo(f"API  http://{host}:{port}/v1  (Ctrl-C stops it)")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=15,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
