"""The site over HTTP, on this machine only, with headers that keep its pages to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from flows import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from flows.settings import Settings

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = "127.0.0.1"
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}
"""Beside the policy that each page carries itself; a page is asked for anew, since a run may have changed it."""


class SecurityHeaders:
    """Adds the headers to every answer."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *ours]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def application(settings: Settings) -> Starlette:
    """The pages under `<home>/site`, to read; whoever asks for another host name gets none.

    Taken are the names of this machine, and that of `PODCAST_SITE_URL`, by which a proxy asks.
    """
    settings.site_dir.mkdir(parents=True, exist_ok=True)
    hosts = [HOST, "localhost", *filter(None, [urlsplit(settings.site_url or "").hostname])]
    app = Starlette(
        middleware=[Middleware(SecurityHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )
    app.mount("/", StaticFiles(directory=settings.site_dir, html=True))
    return app


def serve(settings: Settings, *, port: int) -> None:
    """Serve until interrupted; what the server says goes the way of all logs (`log_config`)."""
    app = application(settings)
    logs.event("the site is served", port=port)
    uvicorn.run(app, host=HOST, port=port, log_level="warning", server_header=False, log_config=None)
