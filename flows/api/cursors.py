"""Cursors: the place after the last row of a page, sealed, so that nobody reads a user id in one or makes one up."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
from cryptography.fernet import Fernet, InvalidToken

LONGEST = 32_000
"""Characters of a cursor that is looked at."""


class CursorError(Exception):
    """A text that is no cursor of this server."""


@dataclass(frozen=True)
class Place:
    """Where a page ended: in which list, with which filters, after which key, and in the copy of which run."""

    listing: str
    filters: str
    key: tuple[Any, ...]
    run_id: str


class Cursors:
    """Seals places with a secret; those of another secret, or of another version of the engine, are not taken."""

    def __init__(self, secret: str) -> None:
        digest = hashlib.sha256(f"podcast cursor {duckdb.__version__} {secret}".encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, place: Place) -> str:
        """A place as text that can stand in an address."""
        content = [place.listing, place.filters, [_packed(value) for value in place.key], place.run_id]
        return self._fernet.encrypt(json.dumps(content, ensure_ascii=False).encode()).decode().rstrip("=")

    def open(self, text: str) -> Place:
        """The place that a text stands for. Raises `CursorError`."""
        if len(text) > LONGEST:
            raise CursorError
        try:
            content = self._fernet.decrypt(text + "=" * (-len(text) % 4))
        except (InvalidToken, ValueError):
            raise CursorError from None
        listing, filters, key, run_id = json.loads(content)
        return Place(listing, filters, tuple(_unpacked(value) for value in key), run_id)


def digest(filters: Mapping[str, object]) -> str:
    """The same for the same filters."""
    return hashlib.sha256(repr(sorted(filters.items())).encode()).hexdigest()[:16]


def _packed(value: object) -> object:
    """A value of a key as JSON has it; times and days by their kind."""
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    return {"day": value.isoformat()} if isinstance(value, date) else value


def _unpacked(value: Any) -> Any:  # noqa: ANN401 - of the column's type
    if not isinstance(value, dict):
        return value
    return datetime.fromisoformat(value["time"]) if "time" in value else date.fromisoformat(value["day"])
