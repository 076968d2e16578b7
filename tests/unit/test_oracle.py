"""The oracle against the hand-made cases, and against small worlds worked out by hand."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
import zstandard
from cases import CASES, INSTANTS, Case
from hypothesis import given, settings
from oracle import (
    Accounting,
    Batch,
    Episode,
    RawRow,
    Rules,
    Thresholds,
    Unreadable,
    User,
    World,
    evaluate,
    instant,
    parse_timestamp,
    read_lines,
    trim,
    utc,
    validation_errors,
)
from strategies import EPISODES, USERS, big_landing, landings, reference_data

LOAD_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = LOAD_AT + timedelta(microseconds=1)
KNOWN_USERS: list[User] = [("u1", date(2025, 1, 1), "DE"), ("u2", None, None)]
KNOWN_EPISODES: list[Episode] = [("e1", "p1", "One", date(2025, 1, 1), 1000), ("e2", "p1", "Two", None, None)]


def line(
    event_type: str = "play",
    user_id: str = "u1",
    episode_id: str = "e1",
    timestamp: str = "2026-01-02T03:04:05Z",
    duration: str = "10",
) -> bytes:
    return (
        f'{{"event_type": "{event_type}", "user_id": "{user_id}", "episode_id": "{episode_id}", '
        f'"timestamp": "{timestamp}", "duration": {duration}}}\n'
    ).encode()


def numbered(count: int, *, user_id: str = "u1") -> bytes:
    """So many valid lines, each its own event."""
    return b"".join(line(user_id=user_id, timestamp=f"2026-01-02T03:04:{n:02}Z") for n in range(count))


def world(
    *batches: Batch,
    users: Sequence[User] = KNOWN_USERS,
    episodes: Sequence[Episode] = KNOWN_EPISODES,
    thresholds: Thresholds | None = None,
    analysis_end_date: date | None = None,
    window_days: int = 7,
) -> World:
    return evaluate(
        batches,
        users,
        episodes,
        rules=Rules(),
        thresholds=thresholds or Thresholds(),
        analysis_end_date=analysis_end_date,
        window_days=window_days,
    )


def outcome(content: bytes, name: str = "a.json") -> tuple[str, str | None]:
    result = world(Batch(name, content, LOAD_AT))
    return result.statuses[name], result.failed_gate[name]


def columns(row: RawRow) -> tuple[str | None, ...]:
    return row.event_type, row.user_id, row.episode_id, row.timestamp, row.duration


# --- Rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    (row,) = read_lines("a.json", b"\n" + case.line + b"\n", LOAD_AT)

    assert columns(row) == case.raw
    assert row.rescued == (case.text.decode() if case.rescued else None)
    assert row.rescued_bytes == (case.text if case.rescued_bytes else None)
    assert row.line_number == 2
    assert validation_errors(row, Rules()) == case.codes


def test_cases_are_told_apart_and_cover_every_code() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert len({case.line for case in CASES}) == len(CASES)
    assert {code for case in CASES for code in case.codes} == {
        "malformed_json",
        *("missing_user_id", "empty_user_id", "missing_episode_id", "empty_episode_id"),
        *("missing_timestamp", "invalid_timestamp", "timestamp_too_early", "timestamp_in_future"),
        *("missing_event_type", "invalid_event_type"),
        *("invalid_duration", "duration_out_of_range", "unexpected_duration"),
    }


@pytest.mark.parametrize(("text", "meant"), INSTANTS, ids=[text for text, _ in INSTANTS])
def test_instant(text: str, meant: datetime) -> None:
    assert parse_timestamp(text) == instant(meant)


def test_instants_may_leave_the_calendar() -> None:
    day = 24 * 60 * 60 * 1_000_000
    first, last = parse_timestamp("0001-01-01T00:00Z"), parse_timestamp("9999-12-31T00:00Z")

    assert first is not None
    assert last is not None
    assert parse_timestamp("0001-01-01T00:00+23:59") == first - day + 60_000_000
    assert parse_timestamp("9999-12-31T00:00-23:59") == last + day - 60_000_000


@pytest.mark.parametrize(
    ("timestamp", "codes"),
    [
        ("2026-06-01T13:00:00Z", ()),
        ("2026-06-01T13:00:00.0000009Z", ()),
        ("2026-06-01T13:00:00.000001Z", ("timestamp_in_future",)),
        ("2026-06-01T15:00:00+02:00", ()),
    ],
)
def test_future_begins_after_the_tolerance(timestamp: str, codes: tuple[str, ...]) -> None:
    (row,) = read_lines("a.json", line(timestamp=timestamp), LOAD_AT)

    assert validation_errors(row, Rules()) == codes


def test_rules_are_settings() -> None:
    rules = Rules(
        min_event_timestamp=datetime(2026, 6, 1, 12, 10, tzinfo=UTC),
        future_tolerance_minutes=5,
        max_duration_seconds=9,
    )
    (row,) = read_lines("a.json", line(timestamp="2026-06-01T12:05:01Z"), LOAD_AT)

    assert validation_errors(row, rules) == (
        "timestamp_too_early",
        "timestamp_in_future",
        "duration_out_of_range",
    )


def test_trim_takes_the_25_white_spaces_only() -> None:
    taken = [code for code in range(0x110000) if not trim(chr(code))]

    assert len(taken) == 25
    assert set(map(chr, taken)) == {c for c in map(chr, range(0x110000)) if c.isspace()} - set("\x1c\x1d\x1e\x1f")


# --- Lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line_numbers"),
    [
        (b"", []),
        (b"\n", []),
        (b"\n\n \n\t\r\n", []),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n{}", [2]),
        (b"{}", [1]),
        (b"{}\n", [1]),
        (b"{}\r\n\r\n{}\r\n", [1, 3]),
        (b"\n\n{}\n\n{}", [3, 5]),
        ("\u3000\u2028\u0085\n{}\u2028\n".encode(), [2]),
        (b"{}\r{}\n{}", [1, 2]),
        (b"\x1c\n{}", [1, 2]),
        (b"\xff\n{}", [1, 2]),
    ],
)
def test_lines_are_numbered_as_they_stand(content: bytes, line_numbers: list[int]) -> None:
    assert [row.line_number for row in read_lines("a.json", content, LOAD_AT)] == line_numbers


def test_only_the_first_byte_order_mark_is_dropped() -> None:
    rows = read_lines("a.json", b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n", LOAD_AT)

    assert [row.malformed for row in rows] == [False, True]
    assert [row.malformed for row in read_lines("a.json", b"\xef\xbb\xbf\xef\xbb\xbf{}", LOAD_AT)] == [True]


def test_load_at_is_kept_in_utc() -> None:
    (row,) = read_lines("a.json", b"{}", datetime.fromisoformat("2026-06-01T14:00:00+02:00"))

    assert row.load_at == datetime.fromisoformat("2026-06-01T12:00:00") == utc(LOAD_AT)


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{}\n{}\n"),
        ("a.json.gz", gzip.compress(b"{}\n{}\n", mtime=0)),
        ("a.ndjson.gz", gzip.compress(b"{}\n{", mtime=0) + gzip.compress(b"}\n", mtime=0)),
        ("a.jsonl.zst", _zstd(b"{}\n{}\n")),
        ("a.json.zst", _zstd(b"{}\n{") + _zstd(b"}\n")),
        ("a.json.gz", gzip.compress(b"\xef\xbb\xbf{}\n{}\n", mtime=0)),
    ],
)
def test_compression(name: str, content: bytes) -> None:
    rows = read_lines(name, content, LOAD_AT)

    assert [(row.line_number, row.malformed) for row in rows] == [(1, False), (2, False)]


def _damaged(whole: bytes, position: int) -> bytes:
    return whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]


_GZIP = gzip.compress(numbered(5), mtime=0)
_ZSTD = _zstd(numbered(5))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[("a.json.gz", _GZIP[:cut]) for cut in (1, 5, 15, -9, -1)],
        *[("a.json.zst", _ZSTD[:cut]) for cut in (1, 5, 15, -5, -1)],
        ("a.json.gz", _damaged(_GZIP, len(_GZIP) - 8)),
        ("a.json.gz", _damaged(_GZIP, len(_GZIP) - 1)),
        ("a.json.zst", _damaged(_ZSTD, len(_ZSTD) - 1)),
        ("a.json.gz", _GZIP + b"x"),
        ("a.json.gz", _GZIP + b"garbage"),
        ("a.json.zst", _ZSTD + b"x"),
        ("a.json.zst", _ZSTD + b"garbage"),
        ("a.json.gz", _GZIP + _GZIP[:-1]),
        ("a.json.zst", _ZSTD + _ZSTD[:-1]),
        ("a.json.gz", numbered(5)),
        ("a.json.zst", numbered(5)),
        ("a.json.gz", _ZSTD),
        ("a.json.zst", _GZIP),
    ],
)
def test_damaged_file_fails_the_load(name: str, content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_lines(name, content, LOAD_AT)
    assert outcome(content, name) == ("quarantined", "load")


# --- Gates --------------------------------------------------------------------------------------

_MALFORMED = b"oops\n"
_INVALID = line(user_id=" ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ("empty", None)),
        (b" \r\n\n", ("empty", None)),
        (numbered(1), ("published", None)),
        (numbered(19) + _MALFORMED, ("published", None)),
        (numbered(18) + _MALFORMED, ("quarantined", "raw")),
        (numbered(16) + _INVALID * 4, ("published", None)),
        (numbered(15) + _INVALID * 4, ("quarantined", "validated")),
        (numbered(20) + _INVALID * 4 + _MALFORMED, ("published", None)),
        (numbered(19) + _INVALID * 4 + _MALFORMED, ("quarantined", "validated")),
        (_INVALID, ("quarantined", "validated")),
        (numbered(5) + numbered(5, user_id="u9"), ("published", None)),
        (numbered(5) + numbered(6, user_id="u9"), ("quarantined", "cleansed")),
        (numbered(5) + line(episode_id="e9") * 5, ("published", None)),
        (numbered(5) + line(episode_id="e9") * 6, ("quarantined", "cleansed")),
        (numbered(1) + line(user_id="u9", episode_id="e9"), ("published", None)),
        # Known after trim; of the valid rows only.
        (numbered(2, user_id=" u1 "), ("published", None)),
        (numbered(4) + numbered(4, user_id="u9") + _INVALID * 2, ("published", None)),
        (numbered(4) + numbered(5, user_id="u9") + _INVALID, ("quarantined", "cleansed")),
    ],
)
def test_gate(content: bytes, expected: tuple[str, str | None]) -> None:
    assert outcome(content) == expected


def test_thresholds_are_settings() -> None:
    content = _MALFORMED + _INVALID + numbered(1, user_id="u9")
    strict = Thresholds(max_malformed_share=Fraction(0))
    lax = Thresholds(
        max_malformed_share=Fraction(1, 3), max_invalid_share=Fraction(2, 3), max_unknown_share=Fraction(1)
    )

    assert world(Batch("a", content, LOAD_AT), thresholds=lax).statuses == {"a": "published"}
    assert world(Batch("a", numbered(99) + b"x", LOAD_AT), thresholds=strict).failed_gate == {"a": "raw"}


def test_decisions() -> None:
    bad = _MALFORMED + line()
    result = world(
        Batch("bad", bad, LOAD_AT),
        Batch("bad released", bad, LOAD_AT, "released"),
        Batch("bad discarded", bad, LOAD_AT, "discarded"),
        Batch("good", line(user_id="u2"), LOAD_AT),
        Batch("good discarded", line(user_id="u2"), LATER, "discarded"),
    )

    assert result.statuses == {
        "bad": "quarantined",
        "bad released": "released",
        "bad discarded": "discarded",
        "good": "published",
        "good discarded": "discarded",
    }
    assert result.failed_gate["bad released"] == "raw"
    assert [row.filename for row, _ in result.validated] == ["bad released", "bad released", "good"]
    assert [row.filename for row in result.silver] == ["bad released", "good"]
    assert result.accounting == Accounting(lines=8, malformed=1, invalid=0, duplicates=0, facts=2, held_back=5)
    assert len(result.raw) == 8


# --- Silver and gold ----------------------------------------------------------------------------


def test_silver_is_cleansed() -> None:
    content = line(" PLAY ", " u1\u3000", "\u00a0e1", "2026-01-02T00:30:00.1234569+01:00", '"0010.0"')
    result = world(Batch("a", content, LOAD_AT))

    (row,), (fact,) = result.silver, result.facts
    assert (row.event_type, row.user_id, row.episode_id, row.duration) == ("play", "u1", "e1", 10)
    assert row.timestamp == datetime.fromisoformat("2026-01-01T23:30:00.123456")
    assert fact.event_date == date(2026, 1, 1)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("batches", "winner"),
    [
        ([Batch("a", line() + line(), LOAD_AT)], ("a", 2)),
        ([Batch("b", line(), LOAD_AT), Batch("a", line(), LOAD_AT)], ("b", 1)),
        ([Batch("b", line(), LOAD_AT), Batch("a", line(), LATER)], ("a", 1)),
        ([Batch("b", line(), LOAD_AT), Batch("B", line(), LOAD_AT)], ("b", 1)),
        ([Batch("z", line(), LOAD_AT), Batch("ä", line(), LOAD_AT)], ("ä", 1)),
        ([Batch("\uffff", line(), LOAD_AT), Batch("\U0001f3a7", line(), LOAD_AT)], ("\U0001f3a7", 1)),
        ([Batch("a9", line(), LOAD_AT), Batch("a10", line(), LOAD_AT)], ("a9", 1)),
        ([Batch("a", line("Play", " u1", timestamp="2026-01-02 04:04:05+01"), LATER)], ("a", 1)),
        ([Batch("b", line(), LATER, "discarded"), Batch("a", line(), LOAD_AT)], ("a", 1)),
    ],
)
def test_winner(batches: list[Batch], winner: tuple[str, int], *, backwards: bool) -> None:
    first = Batch("0", line(), LOAD_AT)
    result = world(*(reversed([first, *batches]) if backwards else [first, *batches]))

    assert [(row.filename, row.line_number) for row in result.silver] == [winner]


def test_keys_differ_by_any_part() -> None:
    content = (
        line()
        + line(user_id="U1")
        + line(user_id="u1\u200b")
        + line(episode_id="E1")
        + line("complete")
        + line("pause", duration="null")
        + line(timestamp="2026-01-02T03:04:05.000001Z")
    )
    result = world(Batch("a", content, LOAD_AT), thresholds=Thresholds(max_unknown_share=Fraction(1)))

    assert result.accounting.facts == 7


def test_dimensions_have_a_row_for_every_id() -> None:
    content = numbered(3) + line(user_id="u0", episode_id="e0") + line(user_id="u2")
    result = world(Batch("a", content, LOAD_AT), Batch("b", line(user_id="held back"), LOAD_AT))

    assert result.dim_users == [
        ("u0", None, None, True),
        ("u1", date(2025, 1, 1), "DE", False),
        ("u2", None, None, False),
    ]
    assert result.dim_episodes == [
        ("e0", None, None, None, None, True),
        ("e1", "p1", "One", date(2025, 1, 1), 1000, False),
        ("e2", "p1", "Two", None, None, False),
    ]


# --- Questions ----------------------------------------------------------------------------------


def test_top_completed_episodes_within_the_window() -> None:
    content = (
        line("complete", episode_id="e1", timestamp="2026-01-08T23:59:59Z")
        + line("complete", episode_id="e2", timestamp="2026-01-02T00:00:00Z")
        + line("complete", episode_id="e2", timestamp="2026-01-01T23:59:59.999999Z")
        + line("complete", episode_id="e2", user_id="u2", timestamp="2026-01-03T00:00:00+01:00")
        + line("play", episode_id="e1", timestamp="2026-01-08T10:00Z")
        + line("complete", episode_id="e9", timestamp="2026-01-05T10:00Z")
    )
    batch = Batch("a", content, LOAD_AT)

    assert world(batch).top_completed_episodes == [
        ("e2", "Two", "p1", 2),
        ("e1", "One", "p1", 1),
        ("e9", None, None, 1),
    ]
    assert world(batch, analysis_end_date=date(2026, 1, 2), window_days=1).top_completed_episodes == [
        ("e2", "Two", "p1", 1)
    ]
    assert world(batch, analysis_end_date=date(2027, 1, 1)).top_completed_episodes == []
    assert world().top_completed_episodes == []


def test_top_completed_episodes_are_ten() -> None:
    content = b"".join(line("complete", episode_id=f"e{n}") for n in range(12))
    result = world(Batch("a", content, LOAD_AT), thresholds=Thresholds(max_unknown_share=Fraction(1)))

    ids = [episode_id for episode_id, *_ in result.top_completed_episodes]
    assert ids == ["e0", "e1", "e10", "e11", "e2", "e3", "e4", "e5", "e6", "e7"]


def test_listen_through_needs_a_country_and_a_duration() -> None:
    users: list[User] = [("de", None, "DE"), ("de2", None, "DE"), ("at", None, "AT"), ("none", None, None)]
    episodes: list[Episode] = [("e1", None, None, None, 1000), ("e0", None, None, None, 0)]
    content = (
        line("complete", "de", duration="500")
        + line("complete", "de2", timestamp="2001-01-01T00:00Z", duration="2000")
        + line("complete", "at", duration="100")
        + line("complete", "none", duration="100")
        + line("complete", "blank", duration="100")
        + line("complete", "stranger", duration="100")
        + line("complete", "de", episode_id="e0", duration="100")
        + line("complete", "de", episode_id="unheard of", duration="100")
        + line("play", "de", duration="1")
    )
    result = world(Batch("a", content, LOAD_AT), users=[*users, ("blank", None, " \u3000")], episodes=episodes)

    assert result.listen_through_by_country == [("AT", 0.1, 1), ("DE", 1.25, 2)]


def test_multi_episode_listeners_daily() -> None:
    day, next_day = "2026-01-02T03:00Z", "2026-01-03T03:00Z"
    content = (
        b"".join(line(episode_id=f"e{n}", timestamp=day) for n in (1, 2))
        + line("complete", episode_id="e3", timestamp="2026-01-03T00:00+00:01")
        + b"".join(line(user_id="u2", episode_id=f"e{n}", timestamp=day) for n in (1, 2))
        + line("complete", user_id="u2", episode_id="e2", timestamp=day)
        + line("pause", user_id="u2", episode_id="e3", timestamp=day, duration="null")
        + b"".join(line(user_id="u1", episode_id=f"e{n}", timestamp=next_day) for n in (1, 2))
    )

    assert world(Batch("a", content, LOAD_AT)).multi_episode_listeners_daily == [(date(2026, 1, 2), 1)]


# --- Generated landings -------------------------------------------------------------------------


def _world_of(
    landing: dict[str, bytes], users: Sequence[User] = USERS, episodes: Sequence[Episode] = EPISODES
) -> World:
    batches = [Batch(name, landing[name], LOAD_AT) for name in sorted(landing)]
    return world(*batches, users=users, episodes=episodes)


def _adds_up(result: World) -> bool:
    count = result.accounting
    parts = count.malformed + count.invalid + count.duplicates + count.facts + count.held_back
    return count.lines == parts == len(result.raw)


@settings(max_examples=20, deadline=None)
@given(landings(), reference_data())
def test_generated_landings_add_up_in_any_order(
    landing: dict[str, bytes], reference: tuple[list[User], list[Episode]]
) -> None:
    users, episodes = reference
    result = _world_of(landing, users, episodes)
    backwards = [Batch(name, landing[name], LOAD_AT) for name in sorted(landing, reverse=True)]

    assert _adds_up(result)
    assert world(*backwards, users=users, episodes=episodes).silver == result.silver
    assert {fact.user_id for fact in result.facts} <= {user_id for user_id, *_ in result.dim_users}
    assert {fact.episode_id for fact in result.facts} <= {dim[0] for dim in result.dim_episodes}


def test_big_landing_meets_every_outcome() -> None:
    landing = big_landing(1, 200)
    result = _world_of(landing)

    assert landing == big_landing(1, 200)
    assert len(landing) == 200
    assert set(result.statuses.values()) == {"published", "quarantined", "empty"}
    assert set(result.failed_gate.values()) == {None, "load", "raw", "validated", "cleansed"}
    assert _adds_up(result)
    assert all(count > 0 for count in _counts(result.accounting))
    assert {code for _, codes in result.validated for code in codes} == {code for case in CASES for code in case.codes}


def _counts(count: Accounting) -> tuple[int, ...]:
    return count.malformed, count.invalid, count.duplicates, count.facts, count.held_back


def test_generated_names_are_relative_paths() -> None:
    for name in big_landing(2, 300):
        parts = name.split("/")
        assert all(part not in ("", ".", "..") and len(part.encode()) <= 60 for part in parts)
        assert "\x00" not in name
        assert name.removesuffix(".gz").removesuffix(".zst").endswith((".json", ".ndjson", ".jsonl"))


def test_generated_results_do_not_depend_on_when_they_were_loaded() -> None:
    landing = big_landing(3, 60)
    years = [datetime(year, 2, 1, tzinfo=UTC) for year in (2026, 2900)]
    sooner, later = (
        world(*(Batch(*item, load_at) for item in landing.items()), users=USERS, episodes=EPISODES) for load_at in years
    )

    assert [replace(fact, load_at=years[0]) for fact in sooner.facts] == [
        replace(fact, load_at=years[0]) for fact in later.facts
    ]
