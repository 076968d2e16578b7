"""The oracle: an independent reading of the data contract in plain Python, slow and literal on purpose.

Times go in as UTC, with or without a time zone, and come out as UTC without one.
"""

import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import zstandard

COLUMNS = ("event_type", "user_id", "episode_id", "timestamp", "duration")
KINDS_WITH_DURATION = ("play", "complete")
KINDS_WITHOUT_DURATION = ("pause", "seek")
KINDS = KINDS_WITH_DURATION + KINDS_WITHOUT_DURATION

# Unicode's property White_Space. `str.strip` would take U+001C to U+001F as well.
WHITE_SPACE = (
    "\t\n\v\f\r \u0085\u00a0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

Status = Literal["published", "quarantined", "released", "discarded", "empty"]
Gate = Literal["load", "raw", "validated", "cleansed"]
Decision = Literal["released", "discarded"]
Codes = tuple[str, ...]
User = tuple[str, date | None, str | None]
Episode = tuple[str, str | None, str | None, date | None, int | None]
DimUser = tuple[str, date | None, str | None, bool]
DimEpisode = tuple[str, str | None, str | None, date | None, int | None, bool]


class Unreadable(Exception):  # noqa: N818 - the contract's gates know it by this word
    """A compressed file that does not decompress completely."""


class NotAnObject(Exception):  # noqa: N818 - an outcome, not a fault
    """A text that is not one JSON object as RFC 8259 has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    min_event_timestamp: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    future_tolerance_minutes: int = 60
    max_duration_seconds: int = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shares a batch may reach, and may not exceed."""

    max_malformed_share: Fraction = Fraction("0.05")
    max_invalid_share: Fraction = Fraction("0.20")
    max_unknown_share: Fraction = Fraction("0.5")


@dataclass(frozen=True, slots=True)
class Batch:
    """One attempt at one file, with what a person decided about it."""

    filename: str
    content: bytes
    load_at: datetime
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    event_type: str | None
    user_id: str | None
    episode_id: str | None
    timestamp: str | None
    duration: str | None
    rescued: str | None
    rescued_bytes: bytes | None
    malformed: bool
    filename: str
    line_number: int
    load_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverRow:
    event_type: str
    user_id: str
    episode_id: str
    timestamp: datetime
    duration: int | None
    filename: str
    line_number: int
    load_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    user_id: str
    episode_id: str
    event_type: str
    timestamp: datetime
    event_date: date
    duration: int | None
    load_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Every line once: `lines` is the sum of the other five."""

    lines: int
    malformed: int
    invalid: int
    duplicates: int
    facts: int
    held_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityDay:
    """The attempts that were loaded on one day: how many, how many in each state, and where their lines went."""

    load_date: date
    batches: int
    states: tuple[int, ...]
    received: int
    malformed: int
    invalid: int
    codes: tuple[int, ...]
    duplicates: int
    facts: int
    held_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the tables hold once every batch has been through the gates."""

    statuses: dict[str, Status]
    failed_gate: dict[str, Gate | None]
    raw: list[RawRow]
    validated: list[tuple[RawRow, Codes]]
    silver: list[SilverRow]
    facts: list[Fact]
    dim_users: list[DimUser]
    dim_episodes: list[DimEpisode]
    top_completed_episodes: list[tuple[str, str | None, str | None, int]]
    listen_through_by_country: list[tuple[str, float, int]]
    multi_episode_listeners_daily: list[tuple[date, int]]
    accounting: Accounting


def trim(text: str) -> str:
    return text.strip(WHITE_SPACE)


# --- JSON ---------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
      | (?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)
      | (?P<mark>[][{}:,])
    )""",
    re.VERBOSE,
)
# One level, written with `s` for a string and `v` for any other value.
_LEVEL = re.compile(r"\{(?:s:[sv](?:,s:[sv])*)?\}|\[(?:[sv](?:,[sv])*)?\]")


@dataclass(frozen=True, slots=True)
class Member:
    """A key of the object with its value as text; `nested` where that is an object or an array."""

    key: str
    text: str | None
    nested: bool


def read_object(text: str) -> list[Member]:
    """The members of the one JSON object that is the whole text, in order; raises NotAnObject."""
    tokens = list(_tokens(text))
    members = []
    levels = [""]
    for position, (sign, _) in enumerate(tokens):
        if sign in "{[":
            levels.append(sign)
        elif sign in "}]":
            level = levels.pop() + sign
            if not levels or not _LEVEL.fullmatch(level):
                raise NotAnObject(text)
            levels[-1] += "v"
        else:
            levels[-1] += sign
            if sign == ":" and len(levels) == 2:
                members.append(_member(tokens[position - 1 : position + 2]))
    if levels != ["v"] or tokens[0][0] != "{":
        raise NotAnObject(text)
    return members


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a sign (`s`, `v` or the mark itself) and the source text; strings are decoded."""
    text = text.rstrip(" \t\n\r")
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise NotAnObject(text)
        position = found.end()
        if found["string"] is not None:
            yield "s", _unicode(json.loads(found["string"]))
        elif found["scalar"] is not None:
            yield "v", found["scalar"]
        else:
            yield found["mark"], found["mark"]


def _unicode(text: str) -> str:
    """The text itself, unless an escape left half of a surrogate pair in it."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NotAnObject(text)
    return text


def _member(tokens: Sequence[tuple[str, str]]) -> Member:
    if len(tokens) < 3:
        raise NotAnObject
    (_, key), _, (sign, value) = tokens
    nested = sign in "{["
    is_null = (sign, value) == ("v", "null")
    return Member(key, None if nested or is_null else value, nested)


# --- Bronze: lines and rows ---------------------------------------------------------------------


def read_lines(filename: str, content: bytes, load_at: datetime) -> list[RawRow]:
    """The rows of one file; raises Unreadable."""
    text = _decompress(filename, content).removeprefix(b"\xef\xbb\xbf")
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    return [
        _raw_row(line, filename, line_number, utc(load_at))
        for line_number, line in enumerate(lines, start=1)
        if not _is_blank(line)
    ]


def _decompress(filename: str, content: bytes) -> bytes:
    try:
        if filename.endswith(".gz"):
            return gzip.decompress(content)
        if filename.endswith(".zst"):
            return b"".join(_frames(content))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise Unreadable(filename) from error
    return content


def _frames(content: bytes) -> Iterator[bytes]:
    while content:
        frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(content)
        if not frame.eof:
            raise EOFError
        content = frame.unused_data


def _is_blank(line: bytes) -> bool:
    try:
        return trim(line.decode()) == ""
    except UnicodeDecodeError:
        return False


def _raw_row(line: bytes, filename: str, line_number: int, load_at: datetime) -> RawRow:
    columns: dict[str, str | None] = dict.fromkeys(COLUMNS)
    rescued: str | None = None
    rescued_bytes: bytes | None = None
    malformed = False
    try:
        text = line.decode()
        members = read_object(text)
    except UnicodeDecodeError:
        rescued_bytes = line
        malformed = True
    except NotAnObject:
        rescued = text
        malformed = True
    else:
        columns.update({member.key: member.text for member in members if member.key in COLUMNS})
        rescued = None if _columns_say_it_all(members) else text
    return RawRow(
        event_type=columns["event_type"],
        user_id=columns["user_id"],
        episode_id=columns["episode_id"],
        timestamp=columns["timestamp"],
        duration=columns["duration"],
        rescued=rescued,
        rescued_bytes=rescued_bytes,
        malformed=malformed,
        filename=filename,
        line_number=line_number,
        load_at=load_at,
    )


def _columns_say_it_all(members: list[Member]) -> bool:
    keys = [member.key for member in members]
    no_further_key = set(keys) <= set(COLUMNS)
    no_key_twice = len(keys) == len(set(keys))
    nothing_nested = not any(member.nested for member in members)
    return no_further_key and no_key_twice and nothing_nested


# --- Row rules ----------------------------------------------------------------------------------

_TIMESTAMP = re.compile(
    r"""(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})
        [T\ ]
        (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})
        (?: :(?P<second>[0-9]{2}) (?:[.,](?P<fraction>[0-9]+))? )?
        (?: Z | (?P<sign>[+-])(?P<offset_hour>[0-9]{2})(?: :?(?P<offset_minute>[0-9]{2}) )? )?""",
    re.VERBOSE,
)
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.0+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)


def utc(moment: datetime) -> datetime:
    """The moment in UTC, without a time zone."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def instant(moment: datetime) -> int:
    """Microseconds since 1970 in UTC; an offset can lead out of the years a datetime can hold."""
    return (utc(moment) - _EPOCH) // _MICROSECOND


def parse_timestamp(text: str) -> int | None:
    """Microseconds since 1970 in UTC."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, offset_hour, offset_minute = (
        int(found[name] or 0)
        for name in ("year", "month", "day", "hour", "minute", "second", "offset_hour", "offset_minute")
    )
    if hour > 23 or minute > 59 or second > 59 or offset_hour > 23 or offset_minute > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH.toordinal()
    except ValueError:
        return None
    minutes = (days * 24 + hour) * 60 + minute
    offset = offset_hour * 60 + offset_minute
    minutes_utc = minutes + offset if found["sign"] == "-" else minutes - offset
    microseconds = int((found["fraction"] or "")[:6].ljust(6, "0"))
    return (minutes_utc * 60 + second) * 1_000_000 + microseconds


def parse_duration(text: str | None) -> Decimal | None:
    """The number, if it is whole; a Decimal because `int` refuses texts of many thousand digits."""
    if text is None or not _WHOLE_NUMBER.fullmatch(text):
        return None
    return Decimal(text)


def kind_of(event_type: str) -> str:
    return trim(event_type).lower()


def validation_errors(row: RawRow, rules: Rules) -> Codes:
    if row.malformed:
        return ("malformed_json",)
    return (
        *_id_errors("user_id", row.user_id),
        *_id_errors("episode_id", row.episode_id),
        *_timestamp_errors(row.timestamp, row.load_at, rules),
        *_event_type_errors(row.event_type),
        *_duration_errors(row.event_type, row.duration, rules),
    )


def _id_errors(column: str, text: str | None) -> Codes:
    if text is None:
        return (f"missing_{column}",)
    return () if trim(text) else (f"empty_{column}",)


def _timestamp_errors(text: str | None, load_at: datetime, rules: Rules) -> Codes:
    if text is None:
        return ("missing_timestamp",)
    ts = parse_timestamp(text)
    if ts is None:
        return ("invalid_timestamp",)
    latest = instant(load_at) + rules.future_tolerance_minutes * 60 * 1_000_000
    codes = []
    if ts < instant(rules.min_event_timestamp):
        codes.append("timestamp_too_early")
    if ts > latest:
        codes.append("timestamp_in_future")
    return tuple(codes)


def _event_type_errors(event_type: str | None) -> Codes:
    if event_type is None:
        return ("missing_event_type",)
    return () if kind_of(event_type) in KINDS else ("invalid_event_type",)


def _duration_errors(event_type: str | None, text: str | None, rules: Rules) -> Codes:
    kind = None if event_type is None else kind_of(event_type)
    if kind in KINDS_WITHOUT_DURATION:
        return () if text is None else ("unexpected_duration",)
    if kind in KINDS_WITH_DURATION:
        seconds = parse_duration(text)
        if seconds is None or seconds <= 0:
            return ("invalid_duration",)
        if seconds > rules.max_duration_seconds:
            return ("duration_out_of_range",)
    return ()


# --- Gates --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One batch after its gates."""

    filename: str
    rows: list[tuple[RawRow, Codes]]
    failed_gate: Gate | None
    status: Status

    @property
    def accepted(self) -> bool:
        return self.status in ("published", "released")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    users: dict[str, User]
    episodes: dict[str, Episode]

    def knows(self, row: SilverRow) -> bool:
        return row.user_id in self.users and row.episode_id in self.episodes


def _judge(batch: Batch, reference: _Reference, rules: Rules, thresholds: Thresholds) -> _Judged:
    try:
        raw = read_lines(batch.filename, batch.content, batch.load_at)
    except Unreadable:
        return _Judged(filename=batch.filename, rows=[], failed_gate="load", status=_status("load", batch.decision))
    rows = [(row, validation_errors(row, rules)) for row in raw]
    failed_gate = _failed_gate(rows, reference, thresholds)
    status: Status = _status(failed_gate, batch.decision) if rows else "empty"
    return _Judged(filename=batch.filename, rows=rows, failed_gate=failed_gate, status=status)


def _failed_gate(rows: list[tuple[RawRow, Codes]], reference: _Reference, thresholds: Thresholds) -> Gate | None:
    malformed = sum(row.malformed for row, _ in rows)
    invalid = sum(bool(codes) for _, codes in rows)
    valid = [cleanse(row) for row, codes in rows if not codes]
    unknown = sum(not reference.knows(row) for row in valid)
    if malformed > thresholds.max_malformed_share * len(rows):
        return "raw"
    if invalid > thresholds.max_invalid_share * len(rows):
        return "validated"
    if unknown > thresholds.max_unknown_share * len(valid):
        return "cleansed"
    return None


def _status(failed_gate: Gate | None, decision: Decision | None) -> Status:
    if decision == "discarded":
        return "discarded"
    if failed_gate is None:
        return "published"
    return "released" if decision == "released" else "quarantined"


# --- Silver and gold ----------------------------------------------------------------------------


def cleanse(row: RawRow) -> SilverRow:
    """A valid row as silver has it."""
    if row.event_type is None or row.user_id is None or row.episode_id is None or row.timestamp is None:
        raise ValueError(row)
    ts = parse_timestamp(row.timestamp)
    if ts is None:
        raise ValueError(row)
    seconds = parse_duration(row.duration)
    return SilverRow(
        event_type=kind_of(row.event_type),
        user_id=trim(row.user_id),
        episode_id=trim(row.episode_id),
        timestamp=_EPOCH + ts * _MICROSECOND,
        duration=None if seconds is None else int(seconds),
        filename=row.filename,
        line_number=row.line_number,
        load_at=row.load_at,
    )


def _winners(rows: Iterable[SilverRow]) -> list[SilverRow]:
    by_key: dict[tuple[str, str, str, datetime], list[SilverRow]] = defaultdict(list)
    for row in rows:
        by_key[row.user_id, row.episode_id, row.event_type, row.timestamp].append(row)
    return [max(by_key[key], key=lambda row: (row.load_at, row.filename, row.line_number)) for key in sorted(by_key)]


def _fact(row: SilverRow) -> Fact:
    return Fact(
        user_id=row.user_id,
        episode_id=row.episode_id,
        event_type=row.event_type,
        timestamp=row.timestamp,
        event_date=row.timestamp.date(),
        duration=row.duration,
        load_at=row.load_at,
    )


def _dim_users(facts: list[Fact], reference: _Reference) -> list[DimUser]:
    known: list[DimUser] = [(*user, False) for user in reference.users.values()]
    inferred = {fact.user_id for fact in facts} - set(reference.users)
    return sorted([*known, *((user_id, None, None, True) for user_id in inferred)], key=lambda dim: dim[0])


def _dim_episodes(facts: list[Fact], reference: _Reference) -> list[DimEpisode]:
    known: list[DimEpisode] = [(*episode, False) for episode in reference.episodes.values()]
    inferred = {fact.episode_id for fact in facts} - set(reference.episodes)
    return sorted(
        [*known, *((episode_id, None, None, None, None, True) for episode_id in inferred)],
        key=lambda dim: dim[0],
    )


# --- Questions ----------------------------------------------------------------------------------


def _top_completed_episodes(
    facts: list[Fact], dim_episodes: list[DimEpisode], analysis_end_date: date | None, window_days: int
) -> list[tuple[str, str | None, str | None, int]]:
    if not facts:
        return []
    end = analysis_end_date or max(fact.event_date for fact in facts) + timedelta(days=1)
    start = end - timedelta(days=window_days)
    completions = Counter(
        fact.episode_id for fact in facts if fact.event_type == "complete" and start <= fact.event_date < end
    )
    answers = [
        (episode_id, title, podcast_id, completions[episode_id])
        for episode_id, podcast_id, title, *_ in dim_episodes
        if completions[episode_id]
    ]
    return sorted(answers, key=lambda answer: (-answer[3], answer[0]))[:10]


def _listen_through_by_country(
    facts: list[Fact], dim_users: list[DimUser], dim_episodes: list[DimEpisode]
) -> list[tuple[str, float, int]]:
    country_of = {user_id: country for user_id, _, country, _ in dim_users}
    seconds_of = {episode_id: seconds for episode_id, _, _, _, seconds, _ in dim_episodes}
    rates: dict[str, list[Fraction]] = defaultdict(list)
    for fact in facts:
        country = country_of[fact.user_id]
        seconds = seconds_of[fact.episode_id]
        if fact.event_type != "complete" or fact.duration is None:
            continue
        if country is not None and trim(country) and seconds is not None and seconds > 0:
            rates[country].append(Fraction(fact.duration, seconds))
    return [
        (country, float(sum(rates[country], Fraction()) / len(rates[country])), len(rates[country]))
        for country in sorted(rates)
    ]


def _multi_episode_listeners_daily(facts: list[Fact]) -> list[tuple[date, int]]:
    episodes: dict[tuple[date, str], set[str]] = defaultdict(set)
    for fact in facts:
        if fact.event_type in ("play", "complete"):
            episodes[fact.event_date, fact.user_id].add(fact.episode_id)
    listeners = Counter(event_date for (event_date, _), heard in episodes.items() if len(heard) >= 3)
    return sorted(listeners.items())


# --- Quality ------------------------------------------------------------------------------------

STATES = ("published", "quarantined", "released", "discarded", "superseded", "empty")
CODES = (
    "malformed_json",
    *("missing_user_id", "empty_user_id", "missing_episode_id", "empty_episode_id"),
    *("missing_timestamp", "invalid_timestamp", "timestamp_too_early", "timestamp_in_future"),
    *("missing_event_type", "invalid_event_type"),
    *("invalid_duration", "duration_out_of_range", "unexpected_duration"),
)


def quality_daily(world: World, attempts: Iterable[tuple[datetime, str, int]]) -> list[QualityDay]:
    """By day of loading; `attempts` are all there ever were, as time of loading, state and lines."""
    by_day: dict[date, list[tuple[str, int]]] = defaultdict(list)
    for load_at, state, lines in attempts:
        by_day[utc(load_at).date()].append((state, lines))
    return [_quality_of_day(world, day, by_day[day]) for day in sorted(by_day)]


def _quality_of_day(world: World, day: date, attempts: list[tuple[str, int]]) -> QualityDay:
    rows = [codes for row, codes in world.validated if row.load_at.date() == day]
    facts = sum(fact.load_at.date() == day for fact in world.facts)
    return QualityDay(
        load_date=day,
        batches=len(attempts),
        states=tuple(sum(state == name for state, _ in attempts) for name in STATES),
        received=sum(lines for _, lines in attempts),
        malformed=sum("malformed_json" in codes for codes in rows),
        invalid=sum(bool(codes) and "malformed_json" not in codes for codes in rows),
        codes=tuple(sum(code in codes for codes in rows) for code in CODES),
        duplicates=sum(not codes for codes in rows) - facts,
        facts=facts,
        held_back=sum(lines for state, lines in attempts if state not in ("published", "released")),
    )


# --- The whole ----------------------------------------------------------------------------------


def _accounting(judged: list[_Judged], accepted: list[tuple[RawRow, Codes]], facts: list[Fact]) -> Accounting:
    return Accounting(
        lines=sum(len(batch.rows) for batch in judged),
        malformed=sum(codes == ("malformed_json",) for _, codes in accepted),
        invalid=sum(codes not in ((), ("malformed_json",)) for _, codes in accepted),
        duplicates=sum(codes == () for _, codes in accepted) - len(facts),
        facts=len(facts),
        held_back=sum(len(batch.rows) for batch in judged if not batch.accepted),
    )


def evaluate(
    batches: Iterable[Batch],
    users: Iterable[User],
    episodes: Iterable[Episode],
    *,
    rules: Rules,
    thresholds: Thresholds,
    analysis_end_date: date | None = None,
    window_days: int = 7,
) -> World:
    """The tables for one attempt per file."""
    reference = _Reference(
        users={trim(user[0]): (trim(user[0]), *user[1:]) for user in users},
        episodes={trim(episode[0]): (trim(episode[0]), *episode[1:]) for episode in episodes},
    )
    judged = [_judge(batch, reference, rules, thresholds) for batch in batches]
    accepted = [row for batch in judged if batch.accepted for row in batch.rows]
    silver = _winners(cleanse(row) for row, codes in accepted if not codes)
    facts = [_fact(row) for row in silver]
    dim_users = _dim_users(facts, reference)
    dim_episodes = _dim_episodes(facts, reference)
    return World(
        statuses={batch.filename: batch.status for batch in judged},
        failed_gate={batch.filename: batch.failed_gate for batch in judged},
        raw=[row for batch in judged for row, _ in batch.rows],
        validated=accepted,
        silver=silver,
        facts=facts,
        dim_users=dim_users,
        dim_episodes=dim_episodes,
        top_completed_episodes=_top_completed_episodes(facts, dim_episodes, analysis_end_date, window_days),
        listen_through_by_country=_listen_through_by_country(facts, dim_users, dim_episodes),
        multi_episode_listeners_daily=_multi_episode_listeners_daily(facts),
        accounting=_accounting(judged, accepted, facts),
    )
