"""What holds for every answer: nothing but reading, no parameter twice, and headers that keep answers to the client."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flows.api.problems import Fault, respond

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from starlette.requests import Request
    from starlette.responses import JSONResponse

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def on_error(_request: Request, _error: Exception) -> JSONResponse:
    """A fault of this program; what it is stands in the server's log only. No middleware comes after it."""
    return respond(500, "internal", "The server could not answer; its log says why.", headers=HEADERS)


class ReadOnly:
    """GET, and HEAD as a GET without its body; everything else is refused before it comes to anything."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *ours]
            elif is_head:
                message["body"] = b""
            await send(message)

        app = self._refusal(scope) or self._app
        await app(dict(scope) | {"method": "GET"} if is_head else scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Application | None:
        if scope["method"] not in ("GET", "HEAD"):
            return respond(405, "method_not_allowed", "Only GET and HEAD are there.", headers={"Allow": "GET, HEAD"})
        names = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        twice = [
            Fault(where=f"query.{name}"[:200], message="given more than once") for name, n in names.items() if n > 1
        ]
        if twice:
            return respond(422, "invalid_request", "The request has parameters that cannot be used.", errors=twice)
        return None
