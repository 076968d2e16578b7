"""Where events go: into a file of the run, and to an endpoint from a thread of its own that no step waits for."""

from __future__ import annotations

import os
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from openlineage.client.transport.http import HttpTransport

    from flows.settings import Settings

GIVE_UP_AFTER = 3
"""Events in a row that an endpoint did not take; the run sends it no further ones."""
LAST_WAIT_SECONDS = 3.0
"""What a run waits at its end for events that are still to be sent."""


class RunFile:
    """The events of one run as lines of a file; with the first one, files of older runs go, beyond the number kept."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        self.path = settings.home / "lineage" / f"{run_id}.ndjson"
        self._kept = settings.docs_kept

    def put(self, event: RunEvent) -> None:
        """Append it."""
        from openlineage.client.transport.file import FileConfig, FileTransport

        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._prune()
        FileTransport(FileConfig(str(self.path), append=True)).emit(event)

    def _prune(self) -> None:
        """Make room for one more."""
        files = sorted(self.path.parent.glob("*.ndjson"), key=os.path.getmtime, reverse=True)
        for old in files[self._kept - 1 :]:
            old.unlink()


class Endpoint:
    """Posts events one after the other; counts what was sent, and notes why it stopped."""

    def __init__(self, settings: Settings) -> None:
        self._transport = _transport(settings)
        self._host = urlsplit(str(settings.lineage_url)).netloc
        self._queue: SimpleQueue[RunEvent | None] = SimpleQueue()
        self._put = self._sent = self._failed_in_a_row = 0
        self._reason = ""
        self._thread = Thread(target=self._work, name="lineage", daemon=True)
        self._thread.start()

    def put(self, event: RunEvent) -> None:
        """To be sent when those before it have been."""
        self._put += 1
        self._queue.put(event)

    def close(self) -> str | None:
        """Wait for the last events, and not for long; what to warn of, if not all of them were taken."""
        self._queue.put(None)
        self._thread.join(LAST_WAIT_SECONDS)
        if self._sent == self._put:
            return None
        return (
            f"{self._host} took {self._sent} of {self._put} lineage events: {self._reason or 'it is slow'}. "
            "The data is not affected; look at PODCAST_LINEAGE_URL and PODCAST_LINEAGE_KEY."
        )

    def _work(self) -> None:
        while (event := self._queue.get()) is not None and self._failed_in_a_row < GIVE_UP_AFTER:
            try:
                self._transport.emit(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
                self._failed_in_a_row += 1
                self._reason = _reason(error)
            else:
                self._failed_in_a_row = 0
                self._sent += 1


def _transport(settings: Settings) -> HttpTransport:
    """The library's own; neither it nor its session looks for settings, proxies or passwords of other programs."""
    import requests
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )

    key = settings.lineage_key.get_secret_value() if settings.lineage_key else ""
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    return HttpTransport(
        HttpConfig(
            url=str(settings.lineage_url),
            endpoint="",
            timeout=settings.lineage_timeout_seconds,
            auth=ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({}),
            session=session,
            retry={"total": 0},
        )
    )


def _reason(error: Exception) -> str:
    """In words of our own: the library's can quote the request."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"it answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return f"it cannot be reached ({type(error).__name__})"
