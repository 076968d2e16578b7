"""Hypothesis strategies for landings and reference data, and one large landing from the same blocks.

Every block takes its choices from a `Pick`, which Hypothesis or `random.Random` stands behind. Users,
episodes and instants are few, so that one event comes again often, within a file and across files. No
instant is near the present: what is valid stays valid whenever it is loaded.
"""

import gzip
import random
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from typing import Protocol, TypeVar

import zstandard
from cases import CASES
from hypothesis import strategies as st
from oracle import Episode, User

T = TypeVar("T")


class Pick(Protocol):
    """Chooses one of the options."""

    def __call__(self, options: Sequence[T], /) -> T: ...


# --- Reference data -----------------------------------------------------------------------------

# Ids that look like numbers or flags, and cells that look like null, are traps for type inference.
USERS: tuple[User, ...] = (
    ("u1", date(2025, 1, 1), "DE"),
    ("u2", date(2025, 2, 28), "NA"),
    ("u3", None, "DE"),
    ("42", date(2024, 2, 29), None),
    ("007", date(2025, 6, 1), "São Tomé"),
    ("true", date(2025, 7, 1), "US"),
)
EPISODES: tuple[Episode, ...] = (
    ("e1", "p1", 'The "first", with a comma', date(2025, 1, 1), 3600),
    ("e2", "p1", "Zweite Folge: überlang", date(2025, 2, 1), 1800),
    ("e3", "p2", None, None, None),
    ("7", "p2", "007", date(2025, 3, 1), 0),
    ("1e3", None, "true", date(2025, 4, 1), 7),
    ("Folge Ä", "p3", "It's", date(2025, 5, 1), 86400),
)


@st.composite
def reference_data(draw: st.DrawFn) -> tuple[list[User], list[Episode]]:
    """Users and episodes as the seeds hold them; now and then one that events name is left out."""
    users = draw(st.lists(st.sampled_from(USERS), min_size=4, unique=True))
    episodes = draw(st.lists(st.sampled_from(EPISODES), min_size=4, unique=True))
    return users, episodes


# --- Lines --------------------------------------------------------------------------------------

# JSON literals; those on one line are one id.
_USER_LITERALS = (
    *('"u1"', '" u1"', '"u1\u3000"', '"\\u00751\\n"'),
    *('"u2"', '"\u00a0u2\u2028"', '"u2"', '"u2\\t"'),
    *('"u3"', '"u3"', '"u3"'),
    *('"42"', "42"),
    *('"007"', '"007 "'),
    *('"true"', "true"),
)
_EPISODE_LITERALS = (
    *('"e1"', '"e1"', '"\u2003e1"', '"\\te1 "'),
    *('"e2"', '"e2"', '"e2\u0085"'),
    *('"e3"', '"e3"', '" e3 "'),
    *('"7"', "7"),
    *('"1e3"', "1e3"),
    *('"Folge Ä"', '"Folge \\u00c4"'),
)
# Never in the reference data. The first three are three ids: zero-width space is no white space, and
# ids keep their case.
_UNKNOWN_USER_LITERALS = ('"U1"', '"u1\u200b"', '"nobody"', "0", '"u|1"')
_UNKNOWN_EPISODE_LITERALS = ('"E1"', '"\u200be1"', '"lost"', "false", '"1|e1"')
# Those on one line are one instant.
_TIMESTAMPS = (
    *("2025-12-31T23:30:00Z", "2025-12-31 23:30", "2026-01-01T00:30+01:00", "2025-12-31T18:30:00.0-05"),
    *("2025-12-31T23:30:00.0000009Z", "2025-12-31T23:30:00,000000"),
    *("2025-12-31T23:30:00.000001Z", "2025-12-31T23:30:00.0000019+00:00"),
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00", "2025-12-31T23:59:00-00:01"),
    *("2026-01-01T12:00:00Z", "2026-01-01 12:00:00+0000"),
    *("2025-12-31T12:00:00Z", "2025-12-31T12:00:00-00"),
    "2025-12-31T23:59:59.999999Z",
    # At the edge of the last seven days, and long before.
    *("2025-12-26T00:00:00Z", "2025-12-26T05:45+05:45"),
    "2025-12-25T23:59:59.999999Z",
    "2024-02-29T08:00:00Z",
    "2000-01-01T00:00:00Z",
)
# Pairs of JSON literals for `event_type` and `duration`; None: the key is absent.
_LISTENS: tuple[tuple[str, str | None], ...] = (
    ('"play"', "60"),
    ('"play"', '"60"'),
    ('" PLAY "', "61.0"),
    ('"play"', '"+86400.00"'),
    ('"complete"', "3418"),
    ('"Complete"', "3600"),
    ('"complete\u00a0"', '"1800"'),
    ('"complete"', "1"),
    ('"pause"', "null"),
    ('"Pause"', None),
    ('"seek"', None),
    ('"\\u0073eek"', "null"),
    ('"see\u212a"', None),
)
_FURTHER = ("", "", "", "", "", "", '"device": "phone"', '"session": {"id": [1, {}]}', '"line_number": 1')


# How many literals at the head of each pool are one and the same event.
_ONE_USER, _ONE_EPISODE, _ONE_INSTANT = 4, 4, 6


def _event(pick: Pick, user: str, episode: str, timestamp: str) -> bytes:
    event_type, duration = pick(_LISTENS)
    members = [
        f'"event_type": {event_type}',
        f'"user_id": {user}',
        f'"episode_id": {episode}',
        f'"timestamp": "{timestamp}"',
    ]
    if duration is not None:
        members.append(f'"duration": {duration}')
    further = pick(_FURTHER)
    if further:
        members.append(further)
    return ("{" + ", ".join(members) + "}").encode()


def _repeated_line(pick: Pick) -> bytes:
    """One of four events, in one of its many spellings."""
    return _event(
        pick,
        pick(_USER_LITERALS[:_ONE_USER]),
        pick(_EPISODE_LITERALS[:_ONE_EPISODE]),
        pick(_TIMESTAMPS[:_ONE_INSTANT]),
    )


def _known_line(pick: Pick) -> bytes:
    """A valid event of a user and an episode that the reference data can know."""
    return _event(pick, pick(_USER_LITERALS), pick(_EPISODE_LITERALS), pick(_TIMESTAMPS))


def _unknown_line(pick: Pick) -> bytes:
    """A valid event of a user or an episode that the reference data never knows."""
    if pick((True, False)):
        return _event(pick, pick(_UNKNOWN_USER_LITERALS), pick(_EPISODE_LITERALS), pick(_TIMESTAMPS))
    return _event(pick, pick(_USER_LITERALS), pick(_UNKNOWN_EPISODE_LITERALS), pick(_TIMESTAMPS))


# By rule: taken evenly, the many cases of timestamps and durations would crowd out the others.
_CASES_BY_CODES = tuple(
    tuple(case.line for case in CASES if case.codes == codes) for codes in sorted({case.codes for case in CASES})
)
_VALID_CASES = next(lines for lines in _CASES_BY_CODES if CASES[0].line in lines)
_MALFORMED_CASES = tuple(case.line for case in CASES if case.codes == ("malformed_json",))
_INVALID_CASES = tuple(lines for lines in _CASES_BY_CODES if lines not in (_VALID_CASES, _MALFORMED_CASES))


def _valid_line(pick: Pick) -> bytes:
    """Mostly of known users and episodes."""
    block = pick((_known_line, _repeated_line, _known_line, _repeated_line, _known_line, None, _unknown_line))
    return block(pick) if block else pick(_VALID_CASES)


def _malformed_line(pick: Pick) -> bytes:
    return pick(_MALFORMED_CASES)


def _invalid_line(pick: Pick) -> bytes:
    return pick(pick(_INVALID_CASES))


def _any_line(pick: Pick) -> bytes:
    return pick((_valid_line, _malformed_line, _invalid_line, _unknown_line))(pick)


# --- Files: what their lines are ----------------------------------------------------------------

Block = Callable[[Pick], bytes]


def _mixed(pick: Pick, *parts: tuple[int, Block]) -> list[bytes]:
    """So many lines of each block, those of the later blocks anywhere among the others."""
    lines: list[bytes] = []
    for count, block in parts:
        for _ in range(count):
            lines.insert(pick(range(len(lines) + 1)), block(pick))
    return lines


def _good(pick: Pick) -> list[bytes]:
    return [_valid_line(pick) for _ in range(pick((1, 2, 3, 5, 8, 13, 21, 40)))]


def _as_malformed_as_accepted(pick: Pick) -> list[bytes]:
    """One in 20 or fewer: at the threshold, or below."""
    return _mixed(pick, (pick((19, 20, 30)), _known_line), (1, _malformed_line))


def _too_malformed(pick: Pick) -> list[bytes]:
    return _mixed(pick, (pick((18, 0, 1, 5)), _known_line), (pick((1, 2, 3)), _malformed_line))


def _as_invalid_as_accepted(pick: Pick) -> list[bytes]:
    """One in five or fewer: at the threshold, or below."""
    fifths = pick((1, 2, 3, 5))
    return _mixed(pick, (4 * fifths + pick((0, 1)), _known_line), (fifths, _invalid_line))


def _too_invalid(pick: Pick) -> list[bytes]:
    fifths = pick((1, 2, 3, 5))
    return _mixed(pick, (4 * fifths - 1, _known_line), (fifths, _invalid_line))


def _invalid_with_malformed(pick: Pick) -> list[bytes]:
    """Neither kind alone is too much: 1 of 25 is malformed, 5 more are invalid."""
    return _mixed(pick, (19, _known_line), (5, _invalid_line), (1, _malformed_line))


def _as_unknown_as_accepted(pick: Pick) -> list[bytes]:
    half = pick((1, 2, 5, 10))
    return _mixed(pick, (half, _repeated_line), (half, _unknown_line))


def _too_unknown(pick: Pick) -> list[bytes]:
    half = pick((0, 1, 2, 5, 10))
    return _mixed(pick, (half, _repeated_line), (half + 1, _unknown_line))


def _anything(pick: Pick) -> list[bytes]:
    return [_any_line(pick) for _ in range(pick((1, 2, 3, 5, 8)))]


def _nothing(pick: Pick) -> list[bytes]:
    return [pick(_BLANKS) for _ in range(pick((0, 0, 1, 3)))]


_BLANKS = (b"", b" ", b"\t\t", b"\r", "\u3000\u00a0".encode(), "\u2028\u0085".encode(), b"\v\f")
_MOODS = (
    *(_good, _good, _good, _good, _good, _good),
    *(_as_malformed_as_accepted, _too_malformed),
    *(_as_invalid_as_accepted, _too_invalid, _invalid_with_malformed),
    *(_as_unknown_as_accepted, _too_unknown),
    *(_anything, _nothing),
)

# --- Files: their bytes -------------------------------------------------------------------------

_BYTE_ORDER_MARK = "\ufeff".encode()
_ENDINGS = ((b"\n",), (b"\r\n",), (b"\n", b"\r\n"))


def _text(pick: Pick, lines: list[bytes]) -> bytes:
    if pick((False, False, True)):
        position = pick(range(len(lines) + 1))
        lines = [*lines[:position], pick(_BLANKS), *lines[position:]]
    endings = pick(_ENDINGS)
    text = b"".join(line + (endings[0] if len(endings) == 1 else pick(endings)) for line in lines)
    if pick((False, False, False, True)):
        text = text.removesuffix(b"\n").removesuffix(b"\r")
    return _BYTE_ORDER_MARK + text if pick((False,) * 7 + (True,)) else text


def _as_it_is(content: bytes) -> bytes:
    return content


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def _zstd_of_unknown_size(content: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(content) + stream.flush()


def _in_two(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """As if two compressed files were put one after the other, the cut in the middle of a line."""
    return lambda content: compress(content[: len(content) // 2]) + compress(content[len(content) // 2 :])


def _cut_off(compressed: bytes) -> bytes:
    return compressed[:-3]


def _cut_short(compressed: bytes) -> bytes:
    return compressed[: len(compressed) // 2]


def _bad_checksum(compressed: bytes) -> bytes:
    # The checksum is eight to five bytes from the end in gzip, and the last four in Zstandard.
    position = -8 if compressed.startswith(b"\x1f\x8b") else -1
    damaged = bytearray(compressed)
    damaged[position] ^= 0xFF
    return bytes(damaged)


def _trailing_garbage(compressed: bytes) -> bytes:
    return compressed + b"garbage"


def _garbage(_: bytes) -> bytes:
    return b'{"event_type": "play"}\n'


_COMPRESSIONS = {
    "": (_as_it_is,),
    ".gz": (_gzip, _in_two(_gzip)),
    ".zst": (_zstd, _zstd_of_unknown_size, _in_two(_zstd)),
}
_DAMAGES = (_cut_off, _cut_short, _bad_checksum, _trailing_garbage, _garbage)


def _content(pick: Pick, compression: str) -> bytes:
    text = _text(pick, pick(_MOODS)(pick))
    if compression and pick((False,) * 5 + (True,)):
        whole = _gzip(text) if compression == ".gz" else _zstd(text)
        return pick(_DAMAGES)(whole)
    return pick(_COMPRESSIONS[compression])(text)


# --- Landings -----------------------------------------------------------------------------------

# None ends with a digit, so that a number behind it makes the name unique.
_STEMS = (
    *("events", "a", "b", "B", "events-", "x" * 40),
    *(
        ".hidden",
        "..dots",
        "-rf",
        "--help",
        "~",
        " lead",
        "trail ",
        "a b",
        "nbsp\u00a0",
        "tab\t",
        "new\nline",
    ),
    *("*", "**", "?", "[a-z]", "[!a]", "{a,b}", "!(a)", "back\\slash", "\\*"),
    *("it's", '"quoted"', "'; drop table x; --", "$HOME", "`id`", "$(id)", "a|b&c;d"),
    *(
        "50%",
        "%41",
        "%s",
        "{{ this }}",
        "{name}",
        "#hash",
        "?q=a",
        "=cmd()",
        "<b>bold",
        "[link](x)",
        "a,b",
        "a:b",
    ),
    *(
        "caf\u00e9",
        "cafe\u0301",
        "\u65e5\u672c",
        "\U0001f3a7",
        "\u202egnp",
        "\u200b",
        "\ufeffbom",
        "I",
        "\u0131",
    ),
    *("dots.json", "dots.json.gz", "backup.csv", "null", "con", "s3", "file:"),
)
_DIRECTORIES = (
    *("", "", "", "", "day/", "2026/01/02/"),
    *("user_id=evil/", "date=2026-01-01/hour=00/", "folder.json/", "folder.gz/", ".git/", "-/", "a b/"),
    *("[x]/", "*/", "it's/", "%2e%2e/", "\u00fc/\u65e5\u672c/", "_/__pycache__/"),
)
_FORMATS = (".json", ".ndjson", ".jsonl")


def _landing(pick: Pick, files: int) -> dict[str, bytes]:
    landing = {}
    for number in range(files):
        compression = pick(("", "", ".gz", ".zst"))
        name = f"{pick(_STEMS)}{number or ''}{pick(_FORMATS)}{compression}"
        landing[pick(_DIRECTORIES) + name] = _content(pick, compression)
    return landing


@cache
def _index(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@st.composite
def landings(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a landing directory: relative path and bytes."""

    def pick(options: Sequence[T], /) -> T:
        return options[draw(_index(len(options)))]

    return _landing(pick, pick(range(1, 9)))


def big_landing(seed: int, files: int) -> dict[str, bytes]:
    """A landing as `landings()` makes them, of any size, the same for the same seed."""
    return _landing(random.Random(seed).choice, files)


def file_content(name: str, seed: int) -> bytes:
    """The bytes of one file, good, dirty, bad, empty or broken, compressed as its name says."""
    compression = next((suffix for suffix in (".gz", ".zst") if name.endswith(suffix)), "")
    return _content(random.Random(seed).choice, compression)
