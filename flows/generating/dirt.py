"""How lines go wrong: each validation code, each shape of a line that is no JSON object."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from flows.domain import VALIDATION_CODES
from flows.generating.lines import Fields, write

CODES = VALIDATION_CODES
MALFORMED = CODES[0]
SECOND_CODE = 0.2  # the share of wrong values that do not come alone

Spoiler: TypeAlias = Callable[[Random, Fields], None]


def _one_of(key: str, *values: str) -> Spoiler:
    def spoil(rng: Random, fields: Fields) -> None:
        fields[key] = rng.choice(values)

    return spoil


def _missing(key: str) -> Spoiler:
    """Return a spoiler that leaves a value out: absent, null, nested, or under another key."""

    def spoil(rng: Random, fields: Fields) -> None:
        value = fields.pop(key)
        fields |= rng.choice(({}, {key: "null"}, {key: f'{{"value": {value}}}'}, {key: f"[{value}]"}))

    return spoil


def _renamed(key: str) -> Spoiler:
    def spoil(_: Random, fields: Fields) -> None:
        fields[key.title()] = fields.pop(key)

    return spoil


def _duration(kinds: tuple[str, ...], *values: str) -> Spoiler:
    """Return a spoiler of durations; an empty value leaves it out."""

    def spoil(rng: Random, fields: Fields) -> None:
        if fields["event_type"].strip('"') not in kinds:
            fields["event_type"] = f'"{rng.choice(kinds)}"'
        fields["duration"] = rng.choice(values)
        if not fields["duration"]:
            del fields["duration"]

    return spoil


BLANKS = ('""', '"   "', '"\\t"', '"\\u00a0"', '"\u2003\u3000"')
TIMED, UNTIMED = ("play", "complete"), ("pause", "seek")
SPOILERS: dict[str, Spoiler] = {
    "missing_user_id": _missing("user_id"),
    "empty_user_id": _one_of("user_id", *BLANKS),
    "missing_episode_id": _missing("episode_id"),
    "empty_episode_id": _one_of("episode_id", *BLANKS),
    "missing_timestamp": _missing("timestamp"),
    "invalid_timestamp": _one_of(
        "timestamp",
        '"yesterday"',
        '""',
        '"2024-01-08"',
        '"2024-02-30T10:00:00Z"',
        '"2024-13-01T10:00:00Z"',
        '"2024-01-08T24:00:00Z"',
        '"08/01/2024 10:15"',
        "1704701700",
    ),
    "timestamp_too_early": _one_of(
        "timestamp", '"1970-01-01T00:00:00Z"', '"1999-12-31T23:59:59Z"', '"1904-01-01 08:30:00"'
    ),
    "timestamp_in_future": _one_of("timestamp", '"2999-01-01T00:00:00Z"', '"2999-12-31T23:59:59.999+01:00"'),
    "missing_event_type": _missing("event_type"),
    "invalid_event_type": _one_of("event_type", '"skip"', '"download"', '"plays"', '""', '"  "', "3"),
    "invalid_duration": _duration(TIMED, "", "null", "0", "-30", '"abc"', '""', "12.5", "true", "[60]"),
    "duration_out_of_range": _duration(TIMED, "86401", "1704701700", '"100000"', "99999999999"),
    "unexpected_duration": _duration(UNTIMED, "30", "0", '"12"', '""'),
}
# Which codes can come together: those of different values.
VALUES = ("user_id", "episode_id", "timestamp", "event_type")
VALUE_OF = {code: next((value for value in VALUES if value in code), "event_type") for code in SPOILERS}

NOT_OBJECTS = (b"[]", b'["play", "u000001"]', b'"play"', b"null", b"42", b"true")
NOT_JSON = (
    b"2024-01-08 10:00:01 ERROR collector: upstream timed out",
    b"<html><body>502 Bad Gateway</body></html>",
    b"event_type,user_id,episode_id,timestamp,duration",
    b"{'event_type': 'play'}",
)
MALFORMED_SHAPES: dict[str, Callable[[Random, bytes], bytes]] = {
    "truncated": lambda rng, line: line[: rng.randrange(1, len(line))],
    "not an object": lambda rng, _: rng.choice(NOT_OBJECTS),
    "not JSON": lambda rng, _: rng.choice(NOT_JSON),
    "not UTF-8": lambda _, line: line[:-1] + b', "city": "Z\xfcrich"}',
    "two in one": lambda _, line: line + line,
}
EMPTY_OBJECT = "empty object"
WRONG_CASE = "wrong case"
INVALID_KINDS = (*SPOILERS, EMPTY_OBJECT, WRONG_CASE)
MALFORMED_KINDS = tuple(MALFORMED_SHAPES)


def malform(rng: Random, kind: str, line: bytes) -> bytes:
    """Return a line that is no JSON object, made from one that is."""
    return MALFORMED_SHAPES[kind](rng, line)


def spoil(rng: Random, kind: str, fields: Fields) -> tuple[bytes, tuple[str, ...]]:
    """Return a line with a wrong value, sometimes two, and its codes in the contract's order."""
    if kind == EMPTY_OBJECT:
        return b"{}", ("missing_user_id", "missing_episode_id", "missing_timestamp", "missing_event_type")
    if kind == WRONG_CASE:
        _renamed("user_id")(rng, fields)
        return write(fields), ("missing_user_id",)
    codes = [kind]
    if rng.random() < SECOND_CODE:
        codes.append(rng.choice([code for code in SPOILERS if VALUE_OF[code] != VALUE_OF[kind]]))
    for code in codes:
        SPOILERS[code](rng, fields)
    return write(fields), tuple(code for code in CODES if code in codes)
