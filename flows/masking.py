"""What is shown of lines from the data: user ids as keyed hashes, and of what is not recognised its shape only."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows import files

if TYPE_CHECKING:
    from pathlib import Path

    from flows.settings import Settings

LONGEST = 300
"""Characters of a line that are shown."""
KEY_BYTES = 32
HASH_DIGITS = 12
ROW_KEY_DIGITS = 32
COLUMNS = ("event_type", "user_id", "episode_id", "timestamp", "duration")
KINDS = ("play", "pause", "seek", "complete")
WORDS = frozenset((*COLUMNS, *KINDS, "true", "false", "null"))
"""The words of the contract, which say nothing of anybody."""
_WORD = re.compile(r"\w+|.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z_]{0,29}")
_TIME = re.compile(r"[-+0-9T:. Z]{1,40}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]{1,6})?")


@dataclass(frozen=True)
class FailingLine:
    """A line that has codes, as it may be shown: `shown` is its five values, or the shape of the whole line."""

    line_number: int
    codes: tuple[str, ...]
    shown: str


@dataclass(frozen=True)
class Mask:
    """Shows user ids as `user:` and twelve hexadecimal digits of their HMAC-SHA256; without a key as they are."""

    key: bytes | None

    def user_id(self, value: str) -> str:
        """The same for the same id under one key; white space around an id is no part of it."""
        if self.key is None:
            return visible(value)
        return "user:" + hmac.new(self.key, value.strip().encode(), "sha256").hexdigest()[:HASH_DIGITS]

    def row_key(self, value: str) -> str:
        """A hash of a user id with other columns: without a key, whoever knows those could try out ids on it."""
        return value if self.key is None else hmac.new(self.key, value.encode(), "sha256").hexdigest()[:ROW_KEY_DIGITS]

    def shape(self, text: str) -> str:
        """A text without what it says: the words of the contract stay, other letters are x, digits 9."""
        return visible(text) if self.key is None else "".join(_shape(word) for word in _WORD.findall(text[:LONGEST]))

    def line(self, record: dict[str, Any], known_episodes: Collection[str]) -> FailingLine:
        """A row of `ops.failing_lines`; in clear is what looks as its column should, and episodes that are known."""
        shown = self._values(record, known_episodes)
        whole = record["rescued"] if record["rescued"] is not None else record["rescued_base64"]
        if not shown and whole is not None:
            shown = self.shape(whole) if record["rescued"] is not None else "not UTF-8"
        return FailingLine(record["line_number"], tuple(record["codes"]), _cut(shown) or "no value")

    def _values(self, record: dict[str, Any], known_episodes: Collection[str]) -> str:
        present = ((name, record[name]) for name in COLUMNS if record[name] is not None)
        return ", ".join(f"{name} {self._value(name, value, known_episodes)}" for name, value in present)

    def _value(self, name: str, value: str, known_episodes: Collection[str]) -> str:
        if not value.strip():
            return visible(repr(value))
        if name == "user_id":
            return self.user_id(value)
        return visible(value) if _looks_right(name, value, known_episodes) else self.shape(value)


def _looks_right(name: str, value: str, known_episodes: Collection[str]) -> bool:
    """Whether a value is of the kind of its column, so that it cannot be somebody's id."""
    if name == "event_type":
        return value.strip().lower() in KINDS
    if name == "episode_id":
        return value.strip() in known_episodes
    return (_TIME if name == "timestamp" else _NUMBER).fullmatch(value) is not None


def names_of_keys(text: str) -> str:
    """Names of JSON keys, as `"a", "b" and 2 more`: letters and underscores as they are, of others the shape.

    A key can be an id: where somebody made an object by user of it.
    """
    names, more, count = text.rpartition(" and ") if text.endswith(" more") else (text, "", "")
    parts = names.removeprefix('"').removesuffix('"').split('", "')
    return ", ".join(f'"{part if _NAME.fullmatch(part) else Mask(b"-").shape(part)}"' for part in parts) + more + count


def visible(text: str) -> str:
    """Text whose control characters, and others that are not printed, are shown as escapes."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def open_mask(settings: Settings) -> Mask:
    """The mask that the settings ask for; a key that nobody set is made once, and kept for the home."""
    if settings.show_user_ids:
        return Mask(None)
    if settings.mask_key is not None:
        return Mask(settings.mask_key.get_secret_value().encode())
    return Mask(kept_key(settings.home / "mask.key"))


def kept_key(path: Path) -> bytes:
    """A key of the home; without one a new one, which is there whole or not at all, whoever else makes one now."""
    with suppress(FileNotFoundError):
        if key := path.read_bytes():
            return key
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(KEY_BYTES))
    files.sync(beside)
    try:
        os.link(beside, path)
    except FileExistsError:
        if path.stat().st_size == 0:  # as a full disk leaves it
            beside.replace(path)
    beside.unlink(missing_ok=True)
    return path.read_bytes()


def _shape(word: str) -> str:
    if word in WORDS:
        return word
    return "".join(_shape_of_character(c) for c in word)


def _shape_of_character(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "X" if character.isupper() else "x"
    return visible(character)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
