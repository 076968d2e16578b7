"""An S3 server for tests: moto's program on a free port of 127.0.0.1, with its store at hand and faults to order."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "landing"
Body = Iterable[bytes]
Fault = Callable[[int, Callable[[], Body], Callable[..., Any]], Body]
"""Answers instead of the server: how often the object was asked for, what would answer, and how to begin."""


@dataclass
class Server:
    """A server that can be stopped and started again with what it has stored."""

    port: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by method and key."""

    def start(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, secret: str) -> dict[str, str]:
        """What a person sets to use it."""
        return {"s3_endpoint_url": self.url, "s3_access_key_id": "key", "s3_secret_access_key": secret}

    def enforce_rights(self) -> None:
        """From now on every request must be signed by somebody who is known and may do it."""
        self._set_actions_without_rights("0")

    def know_everybody(self) -> None:
        self._set_actions_without_rights("inf")

    def _set_actions_without_rights(self, count: str) -> None:
        httpx.post(
            f"{self.url}/moto-api/reset-auth", content=count, headers={"Content-Type": "text/plain"}
        ).raise_for_status()

    def _answer(self, environ: dict[str, Any], begin: Callable[..., Any]) -> Body:
        key = unquote(environ["PATH_INFO"]).removeprefix(f"/{BUCKET}/")
        self.asked[f"{environ['REQUEST_METHOD']} {key}"] += 1
        answer = lambda: _MOTO(environ, begin)  # noqa: E731
        fault = self.faults.get(key) if environ["REQUEST_METHOD"] == "GET" else None
        return fault(self.asked[f"GET {key}"], answer, begin) if fault else answer()


_MOTO = DomainDispatcherApplication(create_backend_app)


@contextmanager
def serving() -> Iterator[Server]:
    """A server with an empty bucket of the name `BUCKET`."""
    server = Server()
    server.start()
    httpx.post(f"{server.url}/moto-api/reset").raise_for_status()  # of an earlier one in this process
    store().create_bucket(BUCKET, "us-east-1")
    try:
        yield server
    finally:
        server.stop()


# The store, past the network: names that no client of a test could send, and many objects in no time


def store() -> Any:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def put(objects: Mapping[str, bytes]) -> None:
    for key, content in objects.items():
        store().put_object(BUCKET, key, content)


def take_away(key: str) -> None:
    store().delete_object(BUCKET, key)


def stored(prefix: str = "") -> dict[str, bytes]:
    return {key: entry.value for key, entry in store().buckets[BUCKET].keys.items() if key.startswith(prefix)}


def user_with_rights(*actions: str) -> dict[str, str]:
    """Settings with the credentials of somebody who may do these things."""
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    name = f"user-{len(iam.users)}"
    iam.create_user("us-east-1", name)
    rights = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.put_user_policy(name, "rights", json.dumps({"Version": "2012-10-17", "Statement": [rights]}))
    key = iam.create_access_key(name)
    return {"s3_access_key_id": key.access_key_id, "s3_secret_access_key": key.secret_access_key}


# Faults


def always(status: str) -> Fault:
    """Answer with a status and nothing else."""

    def answer(_: int, _answer: Callable[[], Body], begin: Callable[..., Any]) -> Body:
        begin(status, [("Content-Length", "0")])
        return [b""]

    return answer


def cut_off(times: int) -> Fault:
    """Break the connection off in the middle of the content, so many times."""

    def answer(asked: int, normal: Callable[[], Body], _begin: Callable[..., Any]) -> Body:
        if asked > times:
            yield from normal()
            return
        content = b"".join(normal())
        yield content[: len(content) // 2]
        raise ConnectionError("cut off")

    return answer


def hang(seconds: float) -> Fault:
    """Answer after a while only."""

    def answer(_: int, normal: Callable[[], Body], _begin: Callable[..., Any]) -> Body:
        time.sleep(seconds)
        return normal()

    return answer


def without_conditions(_: int, _answer: Callable[[], Body], begin: Callable[..., Any]) -> Body:
    """Give the object that is there now, as a server does that passes over the condition."""
    (entry,) = (entry for entry in store().buckets[BUCKET].keys.values())
    begin("206 Partial Content", [("ETag", entry.etag), ("Content-Length", str(len(entry.value)))])
    return [entry.value]
