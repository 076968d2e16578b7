"""Hand-made edge cases of the row rules: one line of a file, and what the data contract makes of it.

The codes hold under the default rules for any `load_at` from February 2026 to the year 2900. A line
has no line feed; it is never the first of its file, where a byte order mark has another meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

Raw = tuple[str | None, str | None, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Case:
    """`raw` has the order of the table; `rescued` and `rescued_bytes` say whether the column is filled."""

    id: str
    line: bytes
    raw: Raw
    rescued: bool = False
    codes: tuple[str, ...] = ()
    rescued_bytes: bool = False

    @property
    def text(self) -> bytes:
        """What `rescued` or `rescued_bytes` holds where it is filled: the line without its ending."""
        return self.line.removesuffix(b"\r")


# Each column of a valid event: the JSON literal (None: the key is absent), and the text it is read as.
_EVENT: Mapping[str, tuple[str | None, str | None]] = {
    "event_type": ('"play"', "play"),
    "user_id": ('"u1"', "u1"),
    "episode_id": ('"e1"', "e1"),
    "timestamp": ('"2026-01-02T03:04:05Z"', "2026-01-02T03:04:05Z"),
    "duration": ("3418", "3418"),
}
_VALID: Raw = ("play", "u1", "e1", "2026-01-02T03:04:05Z", "3418")
_NOTHING: Raw = (None, None, None, None, None)
_ABSENT = (None, None)


def _event(case_id: str, *codes: str, rescued: bool = False, **changes: tuple[str | None, str | None]) -> Case:
    """A valid event with some of its columns changed."""
    columns = {**_EVENT, **changes}
    members = [f'"{key}": {literal}' for key, (literal, _) in columns.items() if literal is not None]
    event_type, user_id, episode_id, timestamp, duration = (text for _, text in columns.values())
    return Case(
        id=case_id,
        line=("{" + ", ".join(members) + "}").encode(),
        raw=(event_type, user_id, episode_id, timestamp, duration),
        rescued=rescued,
        codes=codes,
    )


def _one(column: str, case_id: str, literal: str | None, text: str | None, *codes: str, rescued: bool = False) -> Case:
    return _event(case_id, *codes, rescued=rescued, **{column: (literal, text)})


_user = partial(_one, "user_id")
_episode = partial(_one, "episode_id")
_duration = partial(_one, "duration")


def _kind(case_id: str, event_type: str, *codes: str, duration: tuple[str | None, str | None]) -> Case:
    return _event(case_id, *codes, event_type=(f'"{event_type}"', event_type), duration=duration)


def _when(text: str, *codes: str) -> Case:
    return _one("timestamp", f"timestamp {text!r}", f'"{text}"', text, *codes)


def _whole(case_id: str, line: str, raw: Raw, *codes: str, rescued: bool = False) -> Case:
    return Case(case_id, line.encode(), raw, rescued, codes)


def _malformed(case_id: str, line: str) -> Case:
    return _whole(case_id, line, _NOTHING, "malformed_json", rescued=True)


def _not_utf8(case_id: str, line: bytes) -> Case:
    return Case(case_id, line, _NOTHING, codes=("malformed_json",), rescued_bytes=True)


_PLAIN = (
    '"event_type": "play", "user_id": "u1", "episode_id": "e1", "timestamp": "2026-01-02T03:04:05Z", "duration": 3418'
)

_IDS = [
    _event("valid event"),
    _user("user absent", None, None, "missing_user_id"),
    _user("user null", "null", None, "missing_user_id"),
    _user("user empty", '""', "", "empty_user_id"),
    _user("user blank", '"  "', "  ", "empty_user_id"),
    _user("user blank by escapes", r'"\t\n\r\f\u000b"', "\t\n\r\f\v", "empty_user_id"),
    _user("user no-break space", '"\u00a0"', "\u00a0", "empty_user_id"),
    _user("user ideographic space", '"\u3000"', "\u3000", "empty_user_id"),
    _user("user line separator", '"\u2028"', "\u2028", "empty_user_id"),
    _user("user paragraph separator", '"\u2029"', "\u2029", "empty_user_id"),
    _user("user next line", '"\u0085"', "\u0085", "empty_user_id"),
    _user("user ogham space", '"\u1680"', "\u1680", "empty_user_id"),
    _user("user en quad to hair space", '"\u2000\u200a"', "\u2000\u200a", "empty_user_id"),
    _user("user narrow and medium space", '"\u202f\u205f"', "\u202f\u205f", "empty_user_id"),
    _user("user zero-width space is no white space", '"\u200b"', "\u200b"),
    _user("user word joiner is no white space", '"\u2060"', "\u2060"),
    _user("user mongolian vowel separator is no white space", '"\u180e"', "\u180e"),
    _user("user byte order mark is no white space", '"\ufeff"', "\ufeff"),
    _user("user information separators are no white space", r'"\u001c\u001f"', "\x1c\x1f"),
    _user("user padded", '"  u1\u00a0"', "  u1\u00a0"),
    _user("user NUL", r'"\u0000"', "\x00"),
    _user("user with NUL inside", r'"u\u00001"', "u\x001"),
    _user("user integer", "42", "42"),
    _user("user decimal keeps its zeros", "12.70", "12.70"),
    _user("user exponent", "1e5", "1e5"),
    _user("user huge exponent", "1E+999", "1E+999"),
    _user("user minus zero", "-0", "-0"),
    _user("user integer beyond 64 bits", "123456789012345678901234567890", "123456789012345678901234567890"),
    _user("user true", "true", "true"),
    _user("user false", "false", "false"),
    _user("user text null", '"null"', "null"),
    _user("user object", '{"id": 1}', None, "missing_user_id", rescued=True),
    _user("user empty object", "{}", None, "missing_user_id", rescued=True),
    _user("user array", '["u1"]', None, "missing_user_id", rescued=True),
    _user("user escaped", r'"\u0075\u0031"', "u1"),
    _user("user all short escapes", r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
    _user("user surrogate pair", r'"\ud83c\udfa7"', "\U0001f3a7"),
    _user("user beyond the basic plane", '"\U0001f3a7"', "\U0001f3a7"),
    _user("user noncharacter", '"\uffff"', "\uffff"),
    _user("user delete character", '"\x7f"', "\x7f"),
    _user("user quotes and SQL", '"\'; drop table x; --"', "'; drop table x; --"),
    _episode("episode absent", None, None, "missing_episode_id"),
    _episode("episode null", "null", None, "missing_episode_id"),
    _episode("episode empty", '""', "", "empty_episode_id"),
    _episode("episode blank", '"\\t\u2003"', "\t\u2003", "empty_episode_id"),
    _episode("episode number", "7", "7"),
    _episode("episode array", "[]", None, "missing_episode_id", rescued=True),
]

_TIMESTAMPS = [
    _one("timestamp", "timestamp absent", None, None, "missing_timestamp"),
    _one("timestamp", "timestamp null", "null", None, "missing_timestamp"),
    _one("timestamp", "timestamp object", "{}", None, "missing_timestamp", rescued=True),
    _one("timestamp", "timestamp number", "1767323045", "1767323045", "invalid_timestamp"),
    _one("timestamp", "timestamp true", "true", "true", "invalid_timestamp"),
    _one("timestamp", "timestamp escaped", r'"2026-01-02T03\u003a04"', "2026-01-02T03:04"),
    _one(
        "timestamp",
        "timestamp with line feed",
        r'"2026-01-02T03:04:05Z\n"',
        "2026-01-02T03:04:05Z\n",
        "invalid_timestamp",
    ),
    _when("", "invalid_timestamp"),
    _when("  ", "invalid_timestamp"),
    _when(" 2026-01-02T03:04:05Z", "invalid_timestamp"),
    _when("2026-01-02T03:04:05Z ", "invalid_timestamp"),
    _when("2026-01-02T03:04:05"),
    _when("2026-01-02 03:04:05"),
    _when("2026-01-02T03:04"),
    _when("2026-01-02 03:04Z"),
    _when("2026-01-02T03:04+01:00"),
    _when("2026-01-02T03:04:05+01:00"),
    _when("2026-01-02T03:04:05-0130"),
    _when("2026-01-02T03:04:05+01"),
    _when("2026-01-02T03:04:05+00:00"),
    _when("2026-01-02T03:04:05-00:00"),
    _when("2026-01-02T03:04:05+23:59"),
    _when("2026-01-02T03:04:05-23:59"),
    _when("2026-01-02T03:04:05+24:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+01:60", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+1", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+1:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+010", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+01:", "invalid_timestamp"),
    _when("2026-01-02T03:04:05+01:00:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05 +01:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05Z+01:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05\u221201:00", "invalid_timestamp"),
    _when("2026-01-02T03:04:05 UTC", "invalid_timestamp"),
    _when("2026-01-02T03:04:05z", "invalid_timestamp"),
    _when("2026-01-02t03:04:05Z", "invalid_timestamp"),
    _when("2026-01-02  03:04:05", "invalid_timestamp"),
    _when("2026-01-02\u00a003:04:05", "invalid_timestamp"),
    _when("2026-01-02_03:04:05", "invalid_timestamp"),
    _when("2026-01-02T03:04:05.1Z"),
    _when("2026-01-02T03:04:05,25Z"),
    _when("2026-01-02T03:04:05.123456"),
    _when("2026-01-02T03:04:05.123456789Z"),
    _when("2026-01-02T03:04:05.9999999999999999999999+01:00"),
    _when("2026-01-02T03:04:05.Z", "invalid_timestamp"),
    _when("2026-01-02T03:04.5Z", "invalid_timestamp"),
    _when("2026-01-02T03:04:Z", "invalid_timestamp"),
    _when("2026-01-02T03:04:05:06", "invalid_timestamp"),
    _when("2026-01-02", "invalid_timestamp"),
    _when("2026-01-02T", "invalid_timestamp"),
    _when("2026-01-02T03", "invalid_timestamp"),
    _when("2026-01-02T0304", "invalid_timestamp"),
    _when("20260102T030405Z", "invalid_timestamp"),
    _when("2026-W01-5T03:04:05Z", "invalid_timestamp"),
    _when("2026-002T03:04:05Z", "invalid_timestamp"),
    _when("2026-1-2T03:04:05Z", "invalid_timestamp"),
    _when("2026-01-02T3:04:05Z", "invalid_timestamp"),
    _when("26-01-02T03:04:05Z", "invalid_timestamp"),
    _when("02026-01-02T03:04:05Z", "invalid_timestamp"),
    _when("+2026-01-02T03:04:05Z", "invalid_timestamp"),
    _when("-0044-03-15T12:00:00Z", "invalid_timestamp"),
    _when("2026/01/02T03:04:05Z", "invalid_timestamp"),
    _when("02.01.2026 03:04", "invalid_timestamp"),
    _when("\uff12\uff10\uff12\uff16-01-02T03:04:05Z", "invalid_timestamp"),
    _when("2026-01-02T03:04:\u0660\u0665Z", "invalid_timestamp"),
    _when("infinity", "invalid_timestamp"),
    _when("epoch", "invalid_timestamp"),
    _when("yesterday", "invalid_timestamp"),
    _when("2024-02-29T00:00:00Z"),
    _when("2025-02-29T00:00:00Z", "invalid_timestamp"),
    _when("2000-02-29T00:00:00Z"),
    _when("1900-02-29T00:00:00Z", "invalid_timestamp"),
    _when("2026-02-30T00:00:00Z", "invalid_timestamp"),
    _when("2025-04-31T00:00:00Z", "invalid_timestamp"),
    _when("2025-12-31T23:59:59.999999Z"),
    _when("2025-13-01T00:00:00Z", "invalid_timestamp"),
    _when("2025-00-01T00:00:00Z", "invalid_timestamp"),
    _when("2025-01-00T00:00:00Z", "invalid_timestamp"),
    _when("2025-01-32T00:00:00Z", "invalid_timestamp"),
    _when("2025-12-31T24:00:00Z", "invalid_timestamp"),
    _when("2025-12-31T24:00", "invalid_timestamp"),
    _when("2025-12-31T25:00:00Z", "invalid_timestamp"),
    _when("2025-12-31T23:60:00Z", "invalid_timestamp"),
    _when("2025-12-31T23:59:60Z", "invalid_timestamp"),
    _when("2025-12-31T23:59:61Z", "invalid_timestamp"),
    _when("2000-01-01T00:00:00Z"),
    _when("2000-01-01T00:00"),
    _when("1999-12-31T23:59:59.999999Z", "timestamp_too_early"),
    _when("2000-01-01T00:30:00+01:00", "timestamp_too_early"),
    _when("1999-12-31T23:30:00-01:00"),
    _when("1969-12-31T23:59:59Z", "timestamp_too_early"),
    _when("0001-01-01T00:00:00Z", "timestamp_too_early"),
    _when("0001-01-01T00:00:00+23:59", "timestamp_too_early"),
    _when("0000-01-01T00:00:00Z", "invalid_timestamp"),
    _when("2999-01-01T00:00:00Z", "timestamp_in_future"),
    _when("9999-12-31T23:59:59Z", "timestamp_in_future"),
    _when("9999-12-31T23:59:59.999999-23:59", "timestamp_in_future"),
    _when("10000-01-01T00:00:00Z", "invalid_timestamp"),
]

_EVENT_TYPES = [
    _one("event_type", "type absent", None, None, "missing_event_type"),
    _one("event_type", "type null", "null", None, "missing_event_type"),
    _one("event_type", "type object", '{"a": [1]}', None, "missing_event_type", rescued=True),
    _one("event_type", "type number", "1", "1", "invalid_event_type"),
    _one("event_type", "type true", "true", "true", "invalid_event_type"),
    _one("event_type", "type padded by escape", r'"\tPlay\n"', "\tPlay\n"),
    _one("event_type", "type empty", '""', "", "invalid_event_type"),
    _one("event_type", "type blank", '" \u2007"', " \u2007", "invalid_event_type"),
    _kind("type upper case", "PLAY", duration=("3418", "3418")),
    _kind("type complete", "Complete", duration=("3418", "3418")),
    _kind("type padded with Unicode spaces", "\u3000complete\u2029", duration=("3418", "3418")),
    _kind("type with zero-width space", "play\u200b", "invalid_event_type", duration=("3418", "3418")),
    _kind("type with inner space", "pl ay", "invalid_event_type", duration=("3418", "3418")),
    _kind("type plural", "plays", "invalid_event_type", duration=("3418", "3418")),
    _kind("type full width", "\uff50lay", "invalid_event_type", duration=("3418", "3418")),
    _kind("type other, any duration", "stop", "invalid_event_type", duration=("-1", "-1")),
    _kind("pause, duration null", "pause", duration=("null", None)),
    _kind("pause, duration absent", "pause", duration=_ABSENT),
    _kind("seek, duration absent", " Seek ", duration=_ABSENT),
    _kind("seek with a Kelvin sign", "see\u212a", duration=_ABSENT),
    _kind("seek with a long s", "\u017feek", "invalid_event_type", duration=_ABSENT),
    _kind("pause with duration", "pause", "unexpected_duration", duration=("3418", "3418")),
    _kind("pause with zero", "pause", "unexpected_duration", duration=("0", "0")),
    _kind("pause with empty text", "pause", "unexpected_duration", duration=('""', "")),
    _kind("seek with false", "seek", "unexpected_duration", duration=("false", "false")),
    _kind("seek with a word", "SEEK", "unexpected_duration", duration=('"abc"', "abc")),
    _kind("seek with huge duration", "seek", "unexpected_duration", duration=("99999999", "99999999")),
    _event(
        "pause with nested duration",
        rescued=True,
        event_type=('"pause"', "pause"),
        duration=('{"seconds": 1}', None),
    ),
]


def _number(text: str, *codes: str) -> Case:
    """A duration given as a JSON number."""
    return _duration(f"duration {text}", text, text, *codes)


def _numeric_text(text: str, *codes: str) -> Case:
    """A duration given as a JSON string."""
    return _duration(f"duration {text!r}", f'"{text}"', text, *codes)


_DURATIONS = [
    _duration("duration absent", None, None, "invalid_duration"),
    _duration("duration null", "null", None, "invalid_duration"),
    _duration("duration object", "{}", None, "invalid_duration", rescued=True),
    _duration("duration array", "[3418]", None, "invalid_duration", rescued=True),
    _duration("duration true", "true", "true", "invalid_duration"),
    _duration("duration false", "false", "false", "invalid_duration"),
    _duration("duration with line feed", r'"3418\n"', "3418\n", "invalid_duration"),
    _duration("duration with NUL", r'"3418\u0000"', "3418\x00", "invalid_duration"),
    _duration("duration escaped", r'"\u0033418"', "3418"),
    _number("1"),
    _number("3418.0"),
    _number("3418.000"),
    _number("0", "invalid_duration"),
    _number("-0", "invalid_duration"),
    _number("0.0", "invalid_duration"),
    _number("-0.0", "invalid_duration"),
    _number("-5", "invalid_duration"),
    _number("12.7", "invalid_duration"),
    _number("0.9", "invalid_duration"),
    _number("1e3", "invalid_duration"),
    _number("1E3", "invalid_duration"),
    _number("3418.0e0", "invalid_duration"),
    _number("3418.00000000000000000000000001", "invalid_duration"),
    _number("86400"),
    _number("86400.0"),
    _number("86400.5", "invalid_duration"),
    _number("86401", "duration_out_of_range"),
    _number("2147483648", "duration_out_of_range"),
    _number("9223372036854775808", "duration_out_of_range"),
    _number("18446744073709551620", "duration_out_of_range"),
    _number("9" * 40, "duration_out_of_range"),
    _number("-" + "9" * 40, "invalid_duration"),
    _numeric_text("3418"),
    _numeric_text("3418.0"),
    _numeric_text("3418.", "invalid_duration"),
    _numeric_text(".5", "invalid_duration"),
    _numeric_text(".0", "invalid_duration"),
    _numeric_text("+3418"),
    _numeric_text("+3418.00"),
    _numeric_text("-3418", "invalid_duration"),
    _numeric_text("+0", "invalid_duration"),
    _numeric_text("-0", "invalid_duration"),
    _numeric_text("--5", "invalid_duration"),
    _numeric_text("+-5", "invalid_duration"),
    _numeric_text("+", "invalid_duration"),
    _numeric_text("+ 5", "invalid_duration"),
    _numeric_text("007"),
    _numeric_text("0" * 50 + "7." + "0" * 50),
    _numeric_text("", "invalid_duration"),
    _numeric_text("  ", "invalid_duration"),
    _numeric_text(" 3418", "invalid_duration"),
    _numeric_text("3418 ", "invalid_duration"),
    _numeric_text("3418.0.0", "invalid_duration"),
    _numeric_text("1e3", "invalid_duration"),
    _numeric_text("3,418", "invalid_duration"),
    _numeric_text("3418,0", "invalid_duration"),
    _numeric_text("3_418", "invalid_duration"),
    _numeric_text("0x10", "invalid_duration"),
    _numeric_text("3418s", "invalid_duration"),
    _numeric_text("NaN", "invalid_duration"),
    _numeric_text("Infinity", "invalid_duration"),
    _numeric_text("null", "invalid_duration"),
    _numeric_text("\uff13\uff14\uff11\uff18", "invalid_duration"),
    _numeric_text("\u0663\u0664", "invalid_duration"),
    _numeric_text("\u22125", "invalid_duration"),
    _duration("duration of 5000 digits", "9" * 5000, "9" * 5000, "duration_out_of_range"),
    _duration("duration as text of 5000 digits", f'"+{"9" * 5000}"', "+" + "9" * 5000, "duration_out_of_range"),
]

_SEVERAL = [
    _whole(
        "empty object",
        "{}",
        _NOTHING,
        "missing_user_id",
        "missing_episode_id",
        "missing_timestamp",
        "missing_event_type",
    ),
    _event(
        "all null",
        "missing_user_id",
        "missing_episode_id",
        "missing_timestamp",
        "missing_event_type",
        event_type=("null", None),
        user_id=("null", None),
        episode_id=("null", None),
        timestamp=("null", None),
        duration=("null", None),
    ),
    _event(
        "all blank",
        "empty_user_id",
        "empty_episode_id",
        "invalid_timestamp",
        "invalid_event_type",
        event_type=('" "', " "),
        user_id=('" "', " "),
        episode_id=('" "', " "),
        timestamp=('" "', " "),
        duration=('" "', " "),
    ),
    _event(
        "all nested",
        "missing_user_id",
        "missing_episode_id",
        "missing_timestamp",
        "missing_event_type",
        rescued=True,
        event_type=("{}", None),
        user_id=("[]", None),
        episode_id=("{}", None),
        timestamp=("[]", None),
        duration=("{}", None),
    ),
    _event(
        "only the type is good",
        "missing_user_id",
        "empty_episode_id",
        "timestamp_too_early",
        "invalid_duration",
        user_id=_ABSENT,
        episode_id=('""', ""),
        timestamp=('"1999-01-01T00:00Z"', "1999-01-01T00:00Z"),
        duration=("-1", "-1"),
    ),
    _event(
        "future and too long",
        "timestamp_in_future",
        "duration_out_of_range",
        timestamp=('"2999-01-01T00:00Z"', "2999-01-01T00:00Z"),
        duration=("90000", "90000"),
    ),
    _event(
        "early pause with duration",
        "empty_user_id",
        "timestamp_too_early",
        "unexpected_duration",
        event_type=('"Pause"', "Pause"),
        user_id=('"\u3000"', "\u3000"),
        timestamp=('"1999-01-01 00:00"', "1999-01-01 00:00"),
    ),
    _event(
        "bad time, no type",
        "invalid_timestamp",
        "missing_event_type",
        event_type=_ABSENT,
        timestamp=('"now"', "now"),
        duration=("-1", "-1"),
    ),
]

_KEYS = [
    _whole("compact", "{" + _PLAIN.replace(": ", ":").replace(", ", ",") + "}", _VALID),
    _whole("white space everywhere JSON allows", " \t{ \t\r" + _PLAIN.replace(": ", "\t:\r ") + "\r} \t", _VALID),
    _whole("carriage return belongs to the line ending", "{" + _PLAIN + "}\r", _VALID),
    _whole("second carriage return is JSON white space", "{" + _PLAIN + "}\r\r", _VALID),
    _whole(
        "keys in another order",
        '{"duration": 3418, "timestamp": "2026-01-02T03:04:05Z", "episode_id": "e1", '
        '"user_id": "u1", "event_type": "play"}',
        _VALID,
    ),
    _whole("escaped key", "{" + _PLAIN.replace("user_id", r"user\u005fid") + "}", _VALID),
    _whole("further key", "{" + _PLAIN + ', "device": "phone"}', _VALID, rescued=True),
    _whole("further key, carriage return", "{" + _PLAIN + ', "device": "phone"}\r', _VALID, rescued=True),
    _whole("further key, two carriage returns", "{" + _PLAIN + ', "a": 1}\r\r', _VALID, rescued=True),
    _whole("further key null", "{" + _PLAIN + ', "device": null}', _VALID, rescued=True),
    _whole("further key first", '{"device": 1, ' + _PLAIN + "}", _VALID, rescued=True),
    _whole("further key empty", "{" + _PLAIN + ', "": 1}', _VALID, rescued=True),
    _whole("further key nested", "{" + _PLAIN + ', "x": {"user_id": ["u2", {}]}}', _VALID, rescued=True),
    _whole("further key twice", "{" + _PLAIN + ', "a": 1, "a": 2}', _VALID, rescued=True),
    _whole("further key with NUL", "{" + _PLAIN + r', "a\u0000": "\u0000"}', _VALID, rescued=True),
    _whole("further key huge number", "{" + _PLAIN + ', "a": 1e999}', _VALID, rescued=True),
    _whole(
        "further keys named as our columns",
        "{" + _PLAIN + ', "rescued": "x", "filename": "x", "line_number": 0, "batch_id": "x", "load_at": "x"}',
        _VALID,
        rescued=True,
    ),
    _whole("further key is a path", "{" + _PLAIN + ', "$.user_id": "u2", "/user_id": "u3"}', _VALID, rescued=True),
    _whole("further key in another case", "{" + _PLAIN + ', "USER_ID": "u2"}', _VALID, rescued=True),
    _whole("further key in another case first", '{"User_Id": "u2", ' + _PLAIN + "}", _VALID, rescued=True),
    _whole(
        "key in another case instead",
        "{" + _PLAIN.replace("user_id", "User_ID") + "}",
        ("play", None, "e1", "2026-01-02T03:04:05Z", "3418"),
        "missing_user_id",
        rescued=True,
    ),
    _whole(
        "key with a space",
        "{" + _PLAIN.replace("user_id", "user_id ") + "}",
        ("play", None, "e1", "2026-01-02T03:04:05Z", "3418"),
        "missing_user_id",
        rescued=True,
    ),
    _whole("key twice, last wins", '{"user_id": "u0", ' + _PLAIN + "}", _VALID, rescued=True),
    _whole("key twice, same value", "{" + _PLAIN + ', "user_id": "u1"}', _VALID, rescued=True),
    _whole("key twice, one escaped", r'{"user\u005fid": "u0", ' + _PLAIN + "}", _VALID, rescued=True),
    _whole("key twice, first nested", '{"user_id": {"a": 1}, ' + _PLAIN + "}", _VALID, rescued=True),
    _whole(
        "key twice, last null",
        "{" + _PLAIN + ', "user_id": null}',
        ("play", None, "e1", "2026-01-02T03:04:05Z", "3418"),
        "missing_user_id",
        rescued=True,
    ),
    _whole(
        "key twice, last nested",
        "{" + _PLAIN + ', "duration": [1]}',
        ("play", "u1", "e1", "2026-01-02T03:04:05Z", None),
        "invalid_duration",
        rescued=True,
    ),
    _whole(
        "only further keys",
        '{"device": "phone"}',
        _NOTHING,
        "missing_user_id",
        "missing_episode_id",
        "missing_timestamp",
        "missing_event_type",
        rescued=True,
    ),
    _whole(
        "a further key 1500 levels deep",
        "{" + _PLAIN + ', "a": ' + "[" * 1500 + "]" * 1500 + "}",
        _VALID,
        rescued=True,
    ),
    _whole(
        "a column 1500 levels deep",
        '{"user_id": ' + '{"a":' * 1500 + "1" + "}" * 1500 + ', "event_type": "pause"}',
        ("pause", None, None, None, None),
        "missing_user_id",
        "missing_episode_id",
        "missing_timestamp",
        rescued=True,
    ),
]

_NOT_JSON = [
    _malformed("words", "not json at all"),
    _malformed("comma-separated values", "play,u1,e1,2026-01-02T03:04:05Z,3418"),
    _malformed("opening brace", "{"),
    _malformed("closing brace", "}"),
    _malformed("cut off", '{"event_type": "play", "user_id": "u'),
    _malformed("cut off after a value", '{"event_type": "play"'),
    _malformed("two objects", "{}{}"),
    _malformed("two objects with a space", "{" + _PLAIN + "} {" + _PLAIN + "}"),
    _malformed("more after the object", "{" + _PLAIN + "} x"),
    _malformed("comma after the object", "{" + _PLAIN + "},"),
    _malformed("array", "[]"),
    _malformed("array of an event", "[{" + _PLAIN + "}]"),
    _malformed("string", '"play"'),
    _malformed("event in a string", r'"{\"user_id\": \"u1\"}"'),
    _malformed("number", "3418"),
    _malformed("null", "null"),
    _malformed("true", "true"),
    _malformed("NaN alone", "NaN"),
    _malformed("value NaN", '{"user_id": "u1", "duration": NaN}'),
    _malformed("value Infinity", '{"user_id": "u1", "duration": Infinity}'),
    _malformed("value -Infinity", '{"user_id": "u1", "duration": -Infinity}'),
    _malformed("NaN in a further key", "{" + _PLAIN + ', "x": [{"y": nan}]}'),
    _malformed("trailing comma", "{" + _PLAIN + ",}"),
    _malformed("trailing comma in an array", "{" + _PLAIN + ', "a": [1,]}'),
    _malformed("comma alone", "{,}"),
    _malformed("two commas", '{"user_id": "u1",, "episode_id": "e1"}'),
    _malformed("no comma", '{"user_id": "u1" "episode_id": "e1"}'),
    _malformed("no colon", '{"user_id" "u1"}'),
    _malformed("no value", '{"user_id":}'),
    _malformed("key only", '{"user_id"}'),
    _malformed("number as key", '{1: "u1"}'),
    _malformed("null as key", '{null: "u1"}'),
    _malformed("mismatched brackets", "{" + _PLAIN + ', "a": [}]'),
    _malformed("mismatched ends", "{" + _PLAIN + ', "a": [1}}'),
    _malformed("single quotes", "{'user_id': 'u1'}"),
    _malformed("no quotes", '{user_id: "u1"}'),
    _malformed("line comment", "{" + _PLAIN + "} // comment"),
    _malformed("block comment", "{/* comment */ " + _PLAIN + "}"),
    _malformed("upper-case literal", '{"user_id": TRUE}'),
    _malformed("capital literal", '{"user_id": None}'),
    _malformed("leading zero", '{"user_id": "u1", "duration": 03418}'),
    _malformed("plus sign", '{"user_id": "u1", "duration": +3418}'),
    _malformed("no digit before the point", '{"user_id": "u1", "duration": .5}'),
    _malformed("no digit after the point", '{"user_id": "u1", "duration": 3418.}'),
    _malformed("no exponent", '{"user_id": "u1", "duration": 1e}'),
    _malformed("hexadecimal", '{"user_id": "u1", "duration": 0x10}'),
    _malformed("minus alone", '{"user_id": "u1", "duration": -}'),
    _malformed("full-width digit", '{"user_id": "u1", "duration": 1\uff11}'),
    _malformed("raw tab in a string", '{"user_id": "u\t1"}'),
    _malformed("raw carriage return in a string", '{"user_id": "u\r1"}'),
    _malformed("raw NUL in a string", '{"user_id": "u\x001"}'),
    _malformed("raw unit separator in a string", '{"user_id": "u\x1f1"}'),
    _malformed("raw control character in a key", '{"user\x01_id": "u1"}'),
    _malformed("NUL alone", "\x00"),
    _malformed("NUL after the object", "{" + _PLAIN + "}\x00"),
    _malformed("information separator alone", "\x1c"),
    _malformed("zero-width space alone", "\u200b"),
    _malformed("unknown escape", r'{"user_id": "\x41"}'),
    _malformed("escaped single quote", r'{"user_id": "\'"}'),
    _malformed("upper-case escape", r'{"user_id": "\U0041"}'),
    _malformed("short escape", r'{"user_id": "\u41"}'),
    _malformed("escape with another letter", r'{"user_id": "\u004g"}'),
    _malformed("escape at the end", r'{"user_id": "u1\"}'),
    _malformed("high surrogate alone", r'{"user_id": "\ud800"}'),
    _malformed("low surrogate alone", r'{"user_id": "\udc00"}'),
    _malformed("surrogates in the wrong order", r'{"user_id": "\udc00\ud800"}'),
    _malformed("high surrogate before text", r'{"user_id": "\ud83cu1"}'),
    _malformed("high surrogate before a pair", r'{"user_id": "\ud83c\ud83c\udfa7"}'),
    _malformed("surrogate alone in a key", r'{"\ud800": 1, ' + _PLAIN + "}"),
    _malformed("surrogate alone in a further key", "{" + _PLAIN + r', "a": [{"b": "\udfff"}]}'),
    _malformed("byte order mark within the file", "\ufeff{" + _PLAIN + "}"),
    _malformed("no-break space before the object", "\u00a0{" + _PLAIN + "}"),
    _malformed("no-break space between tokens", "{" + _PLAIN + ',\u00a0"a": 1}'),
    _malformed("line separator after the object", "{" + _PLAIN + "}\u2028"),
    _malformed("form feed after the object", "{" + _PLAIN + "}\f"),
    _malformed("vertical tab before the object", "\v{" + _PLAIN + "}"),
    _malformed("carriage return is not kept", "{oops\r"),
    _malformed("carriage return within the line", "{}\r{}"),
    _malformed("object left open 1500 levels deep", '{"a":' * 1500),
]

_NOT_UTF8 = [
    _not_utf8("byte FF", b"\xff"),
    _not_utf8("Latin-1 letter", b'{"user_id": "Jos\xe9"}'),
    _not_utf8("Latin-1 no-break space alone", b"\xa0"),
    _not_utf8("cut-off character", b'{"user_id": "\xe2\x82"}'),
    _not_utf8("cut-off character at the end", b'{"user_id": "u1"}\xf0\x9f'),
    _not_utf8("overlong form", b'{"user_id": "\xc0\xaf"}'),
    _not_utf8("surrogate in UTF-8", b'{"user_id": "\xed\xa0\x80"}'),
    _not_utf8("beyond U+10FFFF", b'{"user_id": "\xf4\x90\x80\x80"}'),
    _not_utf8("in a further key", b'{"user_id": "u1", "note": "\x80"}'),
    _not_utf8("in a key", b'{"\xfe": 1}'),
    _not_utf8("carriage return is not kept, bytes", b"\xff\xfe\r"),
    _not_utf8("UTF-16", b"\xff\xfe{\x00}\x00"),
    _not_utf8("NUL and FF", b"\x00\xff"),
]

CASES: list[Case] = [
    *_IDS,
    *_TIMESTAMPS,
    *_EVENT_TYPES,
    *_DURATIONS,
    *_SEVERAL,
    *_KEYS,
    *_NOT_JSON,
    *_NOT_UTF8,
]

# A valid timestamp as it came, and the instant it means, in UTC.
INSTANTS: list[tuple[str, datetime]] = [
    (text, datetime.fromisoformat(meant))
    for text, meant in [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00"),
        ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05"),
        ("2026-01-02T03:04:05-0130", "2026-01-02T04:34:05"),
        ("2026-01-02T03:04+01", "2026-01-02T02:04:00"),
        ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00"),
        ("2025-12-31T23:59:00-23:59", "2026-01-01T23:58:00"),
        ("2024-03-01T00:00:00+00:01", "2024-02-29T23:59:00"),
        ("2025-03-01T00:00:00+00:01", "2025-02-28T23:59:00"),
        ("2026-01-02T03:04:05.1", "2026-01-02T03:04:05.100000"),
        ("2026-01-02T03:04:05,25Z", "2026-01-02T03:04:05.250000"),
        ("2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:05.000001"),
        ("2026-01-02T03:04:05.0000009Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.123456789+00:00", "2026-01-02T03:04:05.123456"),
        ("2026-01-02T03:04:59.9999999999999999Z", "2026-01-02T03:04:59.999999"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00"),
    ]
]
