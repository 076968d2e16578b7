"""The oracle of the marts against cases worked out by hand, and against the golden week."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import golden_week
import marts_oracle
import pytest
from marts_oracle import (
    CountryListenThrough,
    EpisodeListenThrough,
    EpisodeTransition,
    Listen,
    MartRules,
    Marts,
    Podcast,
    Version,
    evaluate_marts,
)
from oracle import DimEpisode, DimUser, Fact

LOAD_AT = datetime.fromisoformat("2026-06-01T12:00:00")
FIRST_SEEN = datetime.fromisoformat("2026-05-01T00:00:00")
EPISODES: list[DimEpisode] = [
    ("e1", "p1", "One", date(2026, 1, 5), 1000, False),
    ("e2", "p1", "Two", date(2026, 1, 7), 2000, False),
    ("e3", "p2", "Three", None, None, False),
    ("short", "p2", "Short", None, 50, False),
    ("zero", "p2", "Zero", None, 0, False),
    ("stray", None, None, None, None, True),
]
COUNTRIES = {"de": "DE", "at": "AT", "none": None, "blank": " \u3000", "padded": " DE ", "named": "(unknown)"}


def event(
    at: str, event_type: str = "play", seconds: int | None = 100, *, user: str = "u1", episode: str = "e1"
) -> Fact:
    """An event of January 2026, at a day and time like `05 07:30`."""
    timestamp = datetime.fromisoformat(f"2026-01-{at}")
    return Fact(
        user_id=user,
        episode_id=episode,
        event_type=event_type,
        timestamp=timestamp,
        event_date=timestamp.date(),
        duration=seconds if event_type in ("play", "complete") else None,
        load_at=LOAD_AT,
    )


def marts(
    *facts: Fact,
    episodes: Sequence[DimEpisode] = EPISODES,
    versions: Iterable[Version] | None = None,
    **rules: Any,
) -> Marts:
    """The marts of these facts; every user of theirs is known, every episode has been seen once.

    An `end_date` after the last fact is reached by a pause of somebody else on the day before.
    """
    end_date = rules.get("end_date")
    if end_date and facts:
        at = datetime.combine(end_date - timedelta(days=1), datetime.min.time())
        last = event("01", "pause", user="bystander", episode="stray")
        facts = (*facts, replace(last, timestamp=at, event_date=at.date()))
    users: list[DimUser] = [(user, None, COUNTRIES.get(user), False) for user in {fact.user_id for fact in facts}]
    seen = [Version(episode_id, seconds, FIRST_SEEN) for episode_id, *_, seconds, _ in episodes]
    return evaluate_marts(facts, users, episodes, seen if versions is None else versions, MartRules(**rules))


def listens(*facts: Fact, **options: Any) -> list[Listen]:
    return marts(*facts, **options).fact_listens


def one_listen(seconds: int, episode: str = "e1", event_type: str = "play") -> Listen:
    (listen,) = listens(event("05 12:00", event_type, seconds, episode=episode))
    return listen


# --- Sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "sessions"),
    [
        # The end of a play is its time and its duration: 12:00 and 100 s is 12:01:40.
        (event("05 12:00"), "05 12:31:40", 2),
        (event("05 12:00"), "05 12:31:39.999999", 1),
        (event("05 12:00", seconds=86_400), "06 12:29:59.999999", 1),
        (event("05 12:00", seconds=86_400), "06 12:30:00", 2),
        # A completion is told at its end.
        (event("05 12:00", "complete", 1000), "05 12:29:59.999999", 1),
        (event("05 12:00", "complete", 1000), "05 12:30", 2),
        # Midnight is no border.
        (event("05 23:59:59"), "06 00:00:01", 1),
    ],
)
def test_gap_begins_a_new_session(first: Fact, second: str, sessions: int) -> None:
    assert len(listens(first, event(second))) == sessions


def test_gap_is_a_setting() -> None:
    facts = [event("05 12:00", seconds=60), event("05 12:11")]

    assert len(listens(*facts, session_gap_minutes=10)) == 2
    assert len(listens(*facts, session_gap_minutes=11)) == 1


def test_gap_counts_from_the_event_directly_before() -> None:
    # The play lasts until 13:00, but the seek comes directly before and takes no time.
    listen, other = listens(event("05 12:00", seconds=3600), event("05 12:10", "seek"), event("05 12:40"))

    assert (listen.event_count, listen.ended_at) == (2, datetime.fromisoformat("2026-01-05T13:00"))
    assert (other.session_number, other.started_at) == (2, datetime.fromisoformat("2026-01-05T12:40"))


def test_pause_or_seek_between_keeps_a_session_together() -> None:
    assert len(listens(event("05 12:00"), event("05 12:50"))) == 2
    assert len(listens(event("05 12:00"), event("05 12:25", "seek"), event("05 12:50"))) == 1
    assert len(listens(event("05 12:00"), event("05 12:25", "pause"), event("05 12:50"))) == 1


def test_order_of_events_at_one_time_is_alphabetical() -> None:
    # The play comes last of the three, so its end counts, and not that of the pause.
    same_time = [event("05 12:00", seconds=600), event("05 12:00", "pause"), event("05 12:00", "complete", 5)]
    assert len(listens(*same_time, event("05 12:35"))) == 1
    # The seek comes after the play, and its end counts.
    assert len(listens(*same_time, event("05 12:00", "seek"), event("05 12:35"))) == 2


def test_pauses_and_seeks_alone_are_no_listen_and_take_no_number() -> None:
    alone = [event("05 10:00", "pause"), event("05 10:05", "seek")]

    assert listens(*alone) == []
    assert [(listen.session_number, listen.event_count) for listen in listens(*alone, event("05 12:00"))] == [(1, 1)]
    # They are events, all the same: the gap to them is not reached.
    assert [listen.event_count for listen in listens(*alone, event("05 10:34:59"))] == [3]


def test_listen_belongs_to_the_day_it_starts_on() -> None:
    (listen,) = listens(event("05 23:59", "pause"), event("06 00:01"))

    assert listen.event_date == date(2026, 1, 5)
    assert listen.started_at == datetime.fromisoformat("2026-01-05T23:59")
    assert listen.ended_at == datetime.fromisoformat("2026-01-06T00:02:40")


def test_sessions_are_of_one_user_and_episode() -> None:
    found = listens(event("05 12:00"), event("05 12:01", user="u2"), event("05 12:02", episode="e2"))

    assert [(listen.user_id, listen.episode_id, listen.session_number) for listen in found] == [
        ("u1", "e1", 1),
        ("u1", "e2", 1),
        ("u2", "e1", 1),
    ]


# --- Listens ------------------------------------------------------------------------------------


def test_claim_is_the_furthest_and_no_sum() -> None:
    late = replace(event("05 12:01", seconds=40), load_at=LOAD_AT + timedelta(days=1))
    (listen,) = listens(event("05 12:00", seconds=300), late, event("05 12:06", "complete", 250))

    assert (listen.furthest_claim_seconds, listen.listened_seconds, listen.starts) == (300, 300, 2)
    assert listen.last_load_at == LOAD_AT + timedelta(days=1)
    # 12:00 and 300 s: the completion at 12:06 ends later.
    assert listen.ended_at == datetime.fromisoformat("2026-01-05T12:06")


@pytest.mark.parametrize(
    ("episode", "seconds", "fraction", "listened", "overlong"),
    [
        ("e1", 250, 0.25, 250, False),
        ("e1", 1000, 1.0, 1000, False),
        ("e1", 1001, 1.001, 1000, True),
        ("e3", 5000, None, 5000, False),
        ("zero", 5000, None, 5000, False),
        ("short", 75, 1.5, 50, True),
    ],
)
def test_length(episode: str, seconds: int, fraction: float | None, listened: int, *, overlong: bool) -> None:
    listen = one_listen(seconds, episode)

    assert (listen.listen_fraction, listen.listened_seconds, listen.is_overlong) == (fraction, listened, overlong)


@pytest.mark.parametrize(
    ("episode", "seconds", "valid"),
    [
        ("e1", 59, False),
        ("e1", 60, True),
        ("short", 47, False),
        ("short", 48, True),
        ("e3", 59, False),
        ("e3", 60, True),
        ("zero", 59, False),
        ("zero", 60, True),
    ],
)
def test_valid(episode: str, seconds: int, *, valid: bool) -> None:
    assert one_listen(seconds, episode).is_valid is valid


def test_valid_seconds_is_a_setting() -> None:
    (long_enough,) = listens(event("05 12:00", seconds=50), valid_listen_seconds=50)
    (short,) = listens(event("05 12:00", seconds=949), valid_listen_seconds=1001)
    (exactly,) = listens(event("05 12:00", seconds=950), valid_listen_seconds=1001)
    # Not shorter than the setting: the seconds count.
    (as_long,) = listens(event("05 12:00", seconds=950), valid_listen_seconds=1000)

    assert [listen.is_valid for listen in (long_enough, short, exactly, as_long)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("episode", "event_type", "seconds", "qualified"),
    [
        ("e1", "complete", 949, False),
        ("e1", "complete", 950, True),
        ("e1", "complete", 5000, True),
        ("e1", "play", 1000, False),
        ("e3", "complete", 5000, False),
        ("zero", "complete", 5000, False),
    ],
)
def test_qualified_completion(episode: str, event_type: str, seconds: int, *, qualified: bool) -> None:
    listen = one_listen(seconds, episode, event_type)

    assert (listen.is_completed, listen.is_completion_qualified) == (event_type == "complete", qualified)


def test_completion_is_qualified_by_the_claim_of_the_listen() -> None:
    (listen,) = listens(event("05 12:00", seconds=950), event("05 12:20", "complete", 1))

    assert listen.is_completion_qualified


@pytest.mark.parametrize(
    ("episode", "seconds", "engaged"),
    [
        ("e1", 399, False),
        ("e1", 400, True),
        ("short", 19, False),
        ("short", 20, True),
        ("e3", 1199, False),
        ("e3", 1200, True),
        ("zero", 1199, False),
        ("zero", 1200, True),
    ],
)
def test_engaged(episode: str, seconds: int, *, engaged: bool) -> None:
    assert one_listen(seconds, episode).is_engaged is engaged


def test_twenty_minutes_are_engaged_in_a_long_episode() -> None:
    long = [("long", None, None, None, 10_000, False)]

    assert [listens(event("05", seconds=n, episode="long"), episodes=long)[0].is_engaged for n in (1199, 1200)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("others", "without"),
    [
        ([], True),
        ([event("05 11:59")], False),
        ([event("05 12:00")], False),
        ([event("05 12:00:00.000001")], True),
        ([event("05 11:59", "pause"), event("05 11:59", "seek")], True),
        # In an earlier listen, and in a later one.
        ([event("01 08:00")], False),
        ([event("09 08:00")], True),
        ([event("01 08:00", "complete")], True),
        # The first completion counts.
        ([event("05 12:05"), event("05 12:10", "complete")], True),
        ([event("01 08:00", user="u2"), event("01 08:00", episode="e2")], True),
    ],
)
def test_completion_without_play(others: list[Fact], *, without: bool) -> None:
    noon = datetime.fromisoformat("2026-01-05T12:00")
    found = listens(event("05 12:00", "complete"), *others)
    (listen,) = [
        listen
        for listen in found
        if (listen.user_id, listen.episode_id) == ("u1", "e1") and listen.started_at <= noon <= listen.ended_at
    ]

    assert listen.is_completion_without_play is without


def test_listen_without_completion_is_none_without_play() -> None:
    assert not one_listen(1000).is_completion_without_play


# --- Length as of -------------------------------------------------------------------------------


def version(at: str, seconds: int | None, episode: str = "e1") -> Version:
    return Version(episode, seconds, datetime.fromisoformat(f"2026-01-{at}"))


@pytest.mark.parametrize(
    ("versions", "seconds"),
    [
        ([], None),
        ([version("01", 10)], 10),
        ([version("09", 10)], 10),
        ([version("09", 10), version("08", 20)], 20),
        ([version("01", 10), version("05 12:00", 20)], 20),
        ([version("01", 10), version("05 12:00:00.000001", 20)], 10),
        ([version("04", 20), version("01", 10), version("09", 30)], 20),
        # Versions without a length are passed over.
        ([version("01", 10), version("04", None)], 10),
        ([version("01", None), version("09", 10)], 10),
        ([version("01", None)], None),
        # 0 is a length.
        ([version("01", 10), version("04", 0)], 0),
        ([version("01", 10, "e2")], None),
    ],
)
def test_length_as_of_the_start(versions: list[Version], seconds: int | None) -> None:
    (listen,) = listens(event("05 12:00"), event("05 12:01", "complete"), versions=versions)

    assert listen.episode_seconds == seconds


def test_two_listens_of_one_episode_can_have_two_lengths() -> None:
    versions = [version("01", 100), version("06", 200)]
    found = marts(event("05 12:00"), event("07 12:00"), versions=versions)

    assert [listen.listen_fraction for listen in found.fact_listens] == [1.0, 0.5]
    assert found.episode_listen_through[0].mean_fraction == 0.75


# --- Days ---------------------------------------------------------------------------------------


def test_episode_daily() -> None:
    late = replace(event("05 20:00", "complete", 2000), load_at=LOAD_AT + timedelta(days=1))
    first, second = marts(
        event("05 08:00", seconds=950),
        event("05 09:00", "complete", 950),
        late,
        event("05 10:00", seconds=30, user="u2"),
        event("05 10:01", seconds=50, user="u2"),
        event("05 10:02", "complete", 400, user="u3"),
        event("06 10:00", seconds=500, user="u2"),
    ).episode_daily

    assert first == marts_oracle.EpisodeDay(
        episode_id="e1",
        event_date=date(2026, 1, 5),
        starts=3,
        listens=5,
        # Of u2, 50 s are too few.
        valid_listens=4,
        # u1 completed at 9:00, 44 minutes after the play's end, and at 20:00.
        completions=3,
        qualified_completions=2,
        overlong_listens=1,
        completions_without_play=1,
        new_listeners=3,
        listened_seconds=950 + 950 + 1000 + 50 + 400,
        unique_listeners=3,
        engaged_listeners=2,
        hours=3350 / 3600,
        is_before_release=False,
        last_load_at=LOAD_AT + timedelta(days=1),
    )
    assert (second.event_date, second.new_listeners, second.unique_listeners) == (date(2026, 1, 6), 0, 1)


def test_days_before_the_release() -> None:
    days = marts(event("04 23:59"), event("05 23:59", user="u2"), event("01 00:00", episode="e3")).episode_daily

    assert [(day.episode_id, day.event_date.day, day.is_before_release) for day in days] == [
        ("e1", 4, True),
        ("e1", 5, False),
        ("e3", 1, False),
    ]


def test_listener_daily_over_midnight() -> None:
    start, after = marts(event("05 23:59", "pause"), event("06 00:01", seconds=90)).listener_daily

    assert (start.event_date.day, start.episodes, start.podcasts, start.listens) == (5, 0, 0, 1)
    assert (start.valid_listens, start.listened_seconds, start.hours) == (1, 90, 0.025)
    assert (after.event_date.day, after.episodes, after.podcasts, after.listens) == (6, 1, 1, 0)
    assert (after.valid_listens, after.listened_seconds, after.hours) == (0, 0, 0.0)


def test_listener_daily_counts_known_podcasts_and_three_episodes() -> None:
    two = [event("05 08:00", episode="e1"), event("05 09:00", "complete", 5, episode="e2")]
    (day,) = marts(*two, event("05 10:00", "seek", episode="e3")).listener_daily
    assert (day.episodes, day.podcasts, day.listens, day.is_multi_episode) == (2, 1, 2, False)

    (day,) = marts(*two, event("05 10:00", episode="stray")).listener_daily
    assert (day.episodes, day.podcasts, day.listens, day.is_multi_episode) == (3, 1, 3, True)


def test_days_with_pauses_alone_are_no_days() -> None:
    found = marts(event("05 08:00", "pause"))

    assert found.listener_daily == found.episode_daily == found.listener_episodes == []
    assert len(found.dim_dates) == 365


# --- Transitions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "went_on"),
    [
        (event("05 12:00", episode="e2"), True),
        (event("05 11:59:59.999999", episode="e2"), False),
        (event("12 11:59:59.999999", episode="e2"), True),
        (event("12 12:00", episode="e2"), False),
        (event("06 12:00", "pause", episode="e2"), False),
        (event("06 12:00", episode="e3"), False),
        (event("06 12:00", episode="e1"), False),
        (event("06 12:00", episode="e2", user="u2"), False),
        (event("06 12:00", episode="stray"), False),
    ],
)
def test_went_on(other: Fact, *, went_on: bool) -> None:
    found = marts(event("05 12:00"), other).listener_episodes

    assert [row.went_on for row in found if (row.user_id, row.episode_id) == ("u1", "e1")] == [went_on]


def test_second_listen_of_the_other_episode_counts() -> None:
    found = marts(event("05 12:00"), event("01 12:00", episode="e2"), event("06 12:00", episode="e2"))
    first, second = found.listener_episodes

    assert (first.episode_id, first.went_on, first.listens) == ("e1", True, 1)
    assert (second.episode_id, second.went_on, second.listens) == ("e2", True, 2)
    assert second.first_listen_at == datetime.fromisoformat("2026-01-01T12:00")


def test_nobody_goes_on_from_an_unknown_podcast() -> None:
    strays: list[DimEpisode] = [(name, None, None, None, None, True) for name in ("s1", "s2")]
    found = marts(event("05 12:00", episode="s1"), event("05 13:00", episode="s2"), episodes=strays)

    assert [(row.podcast_id, row.went_on) for row in found.listener_episodes] == [(None, False), (None, False)]
    assert found.episode_transitions == []


def test_transitions_leave_out_whose_seven_days_may_not_be_over() -> None:
    facts = [
        event("05 23:59", user="u1"),
        event("06 12:00", user="u1", episode="e2"),
        event("05 00:00", user="u2"),
        event("06 00:00", user="u3"),
        event("07 00:00", user="u3", episode="e2"),
    ]

    # 5 and 8 days are the 13th; without a setting, all has been seen until the 8th.
    assert marts(*facts, end_date=date(2026, 1, 13)).episode_transitions == [
        EpisodeTransition(
            episode_id="e1",
            podcast_id="p1",
            listeners=3,
            censored_listeners=1,
            observed_listeners=2,
            continued_listeners=1,
            continuation_share=0.5,
        ),
        EpisodeTransition(
            episode_id="e2",
            podcast_id="p1",
            listeners=2,
            censored_listeners=2,
            observed_listeners=0,
            continued_listeners=0,
            continuation_share=None,
        ),
    ]
    assert [row.censored_listeners for row in marts(*facts).episode_transitions] == [3, 2]
    assert [row.observed_listeners for row in marts(*facts, end_date=date(2026, 1, 12)).episode_transitions] == [0, 0]
    # Listeners from the end on are not seen, and an episode without any has no row.
    (row,) = marts(*facts, end_date=date(2026, 1, 6)).episode_transitions
    assert (row.episode_id, row.listeners) == ("e1", 2)


# --- Listen-through -----------------------------------------------------------------------------


def test_episode_without_listens_has_zeros_and_no_shares() -> None:
    found = marts(event("05 12:00", "pause", episode="e2")).episode_listen_through

    assert [row.episode_id for row in found] == ["e1", "e2", "e3", "short", "stray", "zero"]
    assert set(found) == {
        EpisodeListenThrough(
            episode_id=episode_id,
            **dict.fromkeys(marts_oracle.columns("episode_listen_through")[1:9], 0),
            **dict.fromkeys(marts_oracle.columns("episode_listen_through")[9:]),
        )
        for episode_id, *_ in EPISODES
    }


def test_episode_listen_through() -> None:
    # Fractions 0.1, 0.25, 0.5 and 1.5, of users of their own.
    facts = [event("05 12:00", seconds=n, user=f"u{n}") for n in (100, 250)]
    facts += [event("05 12:00", "complete", seconds=n, user=f"u{n}") for n in (500, 1500)]
    (row, *_) = marts(*facts).episode_listen_through

    assert (row.listens, row.listens_of_known_length) == (4, 4)
    assert (row.completions, row.qualified_completions, row.overlong_listens, row.completions_without_play) == (
        2, 1, 1, 2,
    )  # fmt: skip
    assert (row.completion_share, row.qualified_completion_share) == (0.5, 0.25)
    assert (row.mean_fraction, row.mean_fraction_capped) == (2.35 / 4, 1.85 / 4)
    assert (row.median_fraction, row.median_fraction_capped) == (0.375, 0.375)
    assert (row.share_reaching_10, row.share_reaching_25, row.share_reaching_50) == (1.0, 0.75, 0.5)
    assert (row.share_reaching_75, row.share_reaching_95) == (0.25, 0.25)


def test_median_caps_each_fraction() -> None:
    facts = [event("05 12:00", seconds=n, user=f"u{n}") for n in (500, 1500)]
    (row, *_) = marts(*facts).episode_listen_through

    assert (row.median_fraction, row.median_fraction_capped) == (1.0, 0.75)


def test_lengths_that_nothing_is_a_part_of() -> None:
    versions = [version("01", 0), version("04", -1, "e3"), version("06", 1000)]
    facts = [event("05 12:00", "complete", 10), event("07 12:00", seconds=500)]
    facts += [event("05 12:00", "complete", 10, episode=episode) for episode in ("e3", "stray")]
    by_id = {row.episode_id: row for row in marts(*facts, versions=versions).episode_listen_through}

    lengths = {
        episode_id: (row.listens_of_known_length, row.listens_of_unknown_length, row.listens_of_zero_length)
        for episode_id, row in by_id.items()
        if row.listens
    }
    assert lengths == {"e1": (1, 0, 1), "e3": (0, 0, 1), "stray": (0, 1, 0)}
    assert (by_id["e1"].completion_share, by_id["e1"].qualified_completion_share) == (0.5, 0.0)
    assert (by_id["stray"].completion_share, by_id["stray"].qualified_completion_share) == (1.0, None)
    assert by_id["e1"].mean_fraction == 0.5
    assert by_id["e3"].mean_fraction is None


def test_country_listen_through() -> None:
    found = marts(
        event("05 12:00", "complete", 500, user="de"),
        event("05 12:01", "complete", 1500, user="de"),
        event("05 12:00", seconds=100, user="at"),
        event("05 12:00", "complete", 100, user="none"),
        event("05 12:00", seconds=300, user="blank"),
        event("05 12:00", "complete", 1000, user="named"),
        event("05 12:00", "complete", 1000, user="padded"),
        # No length: neither a rate nor a fraction.
        event("05 12:00", "complete", 1000, user="us", episode="zero"),
        event("05 12:00", "complete", 1000, user="de", episode="e3"),
    ).country_listen_through

    rows = [tuple(getattr(row, column) for column in CountryListenThrough.__slots__) for row in found]
    assert rows == [
        (" DE ", False, 1, 1.0, 1.0, 1, 1.0, 1.0),
        ("(unknown)", False, 1, 1.0, 1.0, 1, 1.0, 1.0),
        ("(unknown)", True, 1, 0.1, 0.1, 2, 0.2, 0.2),
        ("AT", False, 0, None, None, 1, 0.1, 0.1),
        # Two completions are one listen.
        ("DE", False, 2, 1.0, 0.75, 1, 1.5, 1.0),
    ]


def test_rate_goes_by_the_length_of_today_and_fraction_by_that_of_the_day() -> None:
    (row,) = marts(event("05 12:00", "complete", 500), versions=[version("01", 5000)]).country_listen_through
    assert (row.avg_listen_through_rate, row.avg_fraction_per_listen) == (0.5, 0.1)

    zero = event("05 12:00", "complete", 500, episode="zero")
    (row,) = marts(zero, versions=[version("01", 1000, "zero")]).country_listen_through
    assert (row.completion_count, row.avg_listen_through_rate) == (0, None)
    assert (row.listens, row.avg_fraction_per_listen) == (1, 0.5)

    (row,) = marts(event("05 12:00", "complete", 500), versions=[]).country_listen_through
    assert (row.completion_count, row.listens, row.avg_fraction_per_listen_capped) == (1, 0, None)


# --- Release curve ------------------------------------------------------------------------------


def curve(found: Marts, episode: str = "e1") -> list[tuple[int | None, float | None, float | None]]:
    return [
        (row.listeners, row.show_median_listeners, row.ratio_to_show_median)
        for row in found.episode_release_curve
        if row.episode_id == episode
    ]


def test_release_windows_include_what_was_before_and_exclude_their_end() -> None:
    found = marts(
        event("04 23:59", user="u1"),
        event("05 12:00", user="u1"),
        event("05 23:59", user="u2"),
        event("06 00:00", user="u3"),
        event("08 00:00", user="u4"),
        event("11 23:59", user="u5"),
        event("12 00:00", user="u6"),
    )

    # All is seen until the 13th. Of e2, nobody listened: its windows end on the 8th, 10th and 14th.
    assert curve(found) == [(2, 1.0, 2.0), (3, 1.5, 2.0), (5, 5.0, 1.0), (None, None, None), (None, None, None)]
    over = [(0, 1.0, 0.0), (0, 1.5, 0.0)]
    assert curve(found, "e2") == [*over, (None, 5.0, None), (None, None, None), (None, None, None)]
    first, *_, last = [row for row in found.episode_release_curve if row.episode_id == "e1"]
    assert (first.days_since_release, first.window_ends_on, first.is_window_over) == (1, date(2026, 1, 6), True)
    assert (last.days_since_release, last.window_ends_on, last.is_window_over) == (60, date(2026, 3, 6), False)
    assert (first.listeners_before_release, first.has_listens_before_release) == (1, True)
    assert {row.episode_id for row in found.episode_release_curve} == {"e1", "e2"}


@pytest.mark.parametrize(
    ("end", "over"), [("01-05", 0), ("01-06", 1), ("01-07", 1), ("01-08", 2), ("03-05", 4), ("03-06", 5)]
)
def test_window_that_ends_where_all_has_been_seen_is_over(end: str, over: int) -> None:
    found = curve(marts(event("04"), end_date=date.fromisoformat(f"2026-{end}")))

    assert [listeners for listeners, *_ in found] == [1] * over + [None] * (5 - over)


def test_listens_from_the_end_on_do_not_count() -> None:
    facts = [event("02 12:00"), event("03 12:00", user="u2")]
    (row, *_) = marts(*facts, end_date=date(2026, 1, 3)).episode_release_curve
    assert (row.listeners_before_release, row.has_listens_before_release, row.listeners) == (1, True, None)

    (row, *_) = marts(*facts, end_date=date(2026, 1, 2)).episode_release_curve
    assert (row.listeners_before_release, row.has_listens_before_release) == (0, False)


def test_median_of_nobody_gives_no_ratio_and_an_unknown_podcast_no_median() -> None:
    episodes: list[DimEpisode] = [
        ("e1", "p1", None, date(2026, 1, 5), None, False),
        ("e2", None, None, date(2026, 1, 5), None, False),
        ("e3", None, None, date(2026, 1, 5), None, False),
    ]
    found = marts(event("05", episode="e2"), episodes=episodes)

    assert curve(found)[0] == (0, 0.0, None)
    assert curve(found, "e2")[0] == (1, None, None)


# --- Retention ----------------------------------------------------------------------------------


def retention(found: Marts) -> list[tuple[str, int, int, int | None, float | None]]:
    return [
        (row.cohort_week.isoformat(), row.week_number, row.cohort_listeners, row.active_listeners, row.retention_rate)
        for row in found.listener_cohort_retention
    ]


WEEKS = (
    # Monday the 5th, Sunday the 11th; back on Sunday the 25th, by way of a listen that is not valid.
    event("05 00:00", user="u1"),
    event("14 12:00", user="u1", seconds=59),
    event("25 23:59", user="u1"),
    event("11 23:59", user="u2"),
    # Not valid in the first week.
    event("06 12:00", user="u3", seconds=59),
    event("12 00:00", user="u3", episode="e2"),
)


def test_retention() -> None:
    found = marts(*WEEKS)

    # All is seen until Monday the 26th: the week of the 19th is the last, and over.
    assert retention(found) == [
        ("2026-01-05", 0, 2, 2, 1.0),
        ("2026-01-05", 1, 2, 0, 0.0),
        ("2026-01-05", 2, 2, 1, 0.5),
        ("2026-01-12", 0, 1, 1, 1.0),
        ("2026-01-12", 1, 1, 0, 0.0),
    ]
    last = found.listener_cohort_retention[2]
    assert (last.week_start, last.is_week_over) == (date(2026, 1, 19), True)


def test_week_that_is_not_over_has_no_rate() -> None:
    found = marts(*WEEKS, end_date=date(2026, 1, 18))

    # The listen on the 25th is not seen, and the week of the 12th lacks its Sunday.
    assert retention(found) == [
        ("2026-01-05", 0, 2, 2, 1.0),
        ("2026-01-05", 1, 2, None, None),
        ("2026-01-12", 0, 1, None, None),
    ]
    assert [row.is_week_over for row in found.listener_cohort_retention] == [True, False, False]
    # A later end shows later weeks.
    assert len(retention(marts(*WEEKS, end_date=date(2026, 1, 27)))) == 7


def test_users_from_the_end_on_are_in_no_cohort() -> None:
    assert retention(marts(*WEEKS, end_date=date(2026, 1, 12))) == [("2026-01-05", 0, 2, 2, 1.0)]
    assert retention(marts(*WEEKS, end_date=date(2026, 1, 11))) == [("2026-01-05", 0, 1, None, None)]
    assert retention(marts(*WEEKS, end_date=date(2026, 1, 5))) == []


def test_backfill_moves_a_user_to_an_earlier_cohort() -> None:
    later = [event("12 12:00"), event("12 12:00", user="u2")]
    assert [row[:4] for row in retention(marts(*later, end_date=date(2026, 1, 19)))] == [("2026-01-12", 0, 2, 2)]

    backfilled = [*later, event("01 12:00")]
    assert [row[:4] for row in retention(marts(*backfilled, end_date=date(2026, 1, 19)))] == [
        ("2025-12-29", 0, 1, 1),
        ("2025-12-29", 1, 1, 0),
        ("2025-12-29", 2, 1, 1),
        ("2026-01-12", 0, 1, 1),
    ]


# --- Dimensions, and nothing at all -------------------------------------------------------------


def test_dim_podcasts() -> None:
    assert marts().dim_podcasts == [
        Podcast(
            podcast_id="p1",
            episode_count=2,
            episodes_of_known_length=2,
            first_release_date=date(2026, 1, 5),
            last_release_date=date(2026, 1, 7),
        ),
        Podcast(
            podcast_id="p2",
            episode_count=3,
            episodes_of_known_length=1,
            first_release_date=None,
            last_release_date=None,
        ),
    ]


def test_dim_dates() -> None:
    day = datetime.fromisoformat("2023-12-31T12:00")
    old = replace(event("01"), timestamp=day, event_date=day.date())
    days = {row.date_day: row for row in marts(old, event("05", "pause")).dim_dates}

    assert (min(days), max(days), len(days)) == (date(2023, 1, 1), date(2026, 12, 31), 365 * 3 + 366)
    new_year = days[date(2023, 1, 1)]
    # A Sunday, in the last week of the year before.
    assert (new_year.year, new_year.quarter, new_year.month, new_year.month_start) == (2023, 1, 1, date(2023, 1, 1))
    assert (new_year.week_start, new_year.iso_week, new_year.day_of_week) == (date(2022, 12, 26), 52, 7)
    assert new_year.is_weekend
    assert [days[date(2024, month, 1)].quarter for month in range(1, 13)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert (days[date(2024, 12, 30)].iso_week, days[date(2024, 12, 30)].is_weekend) == (1, False)


def test_without_facts() -> None:
    found = marts()

    assert found.fact_listens == found.episode_daily == found.listener_daily == found.listener_episodes == []
    assert found.country_listen_through == found.listener_cohort_retention == found.episode_transitions == []
    assert found.dim_dates == []
    assert [row.listens for row in found.episode_listen_through] == [0] * 6
    assert curve(found) == [(None, None, None)] * 5
    assert not any(row.is_window_over for row in found.episode_release_curve)
    assert curve(marts(end_date=date(2026, 1, 6))) == [(None, None, None)] * 5


def test_nothing_after_the_newest_fact_has_been_seen() -> None:
    facts = event("05 12:00"), event("06 12:00", "pause")
    episodes = [dim for dim in EPISODES if dim[0] == "e1"]
    users: list[DimUser] = [("u1", None, None, False)]
    later = evaluate_marts(facts, users, episodes, [], MartRules(end_date=date(2030, 1, 1)))

    assert later == evaluate_marts(facts, users, episodes, [], MartRules())
    assert [row.is_window_over for row in later.episode_release_curve] == [True, False, False, False, False]


@pytest.mark.parametrize(("first", "is_before"), [("05", False), ("06", True), ("04", False)])
def test_release_before_the_first_day_of_the_data_is_flagged(first: str, is_before: bool) -> None:  # noqa: FBT001
    rows = marts(event(f"{first} 12:00", "pause")).episode_release_curve
    assert {row.is_released_before_data for row in rows if row.episode_id == "e1"} == {is_before}


def test_what_came_out_before_the_data_begin_counts_where_it_was_seen_and_in_no_median() -> None:
    found = marts(event("06 12:00"), event("07 12:00", episode="e2"), event("09 12:00", "pause"))

    # The first day of e1 was over when the data begin; of its three days the last two were seen.
    assert curve(found)[:3] == [(None, 1.0, None), (1, 1.0, 1.0), (None, None, None)]
    assert curve(found, "e2")[:3] == [(1, 1.0, 1.0), (1, 1.0, 1.0), (None, None, None)]


def test_order_of_the_facts_does_not_matter() -> None:
    week = golden_week.world()
    backwards = evaluate_marts(week.facts[::-1], week.dim_users, week.dim_episodes[::-1], [], MartRules())

    assert backwards == evaluate_marts(week.facts, week.dim_users, week.dim_episodes, [], MartRules())


# --- The golden week ----------------------------------------------------------------------------


def test_golden_week_is_whole() -> None:
    count = golden_week.world().accounting

    assert (count.lines, count.facts, count.duplicates) == (36, 35, 1)
    assert {path.stem for path in golden_week.EXPECTED.iterdir()} == set(golden_week.TABLES)


@pytest.mark.parametrize("table", golden_week.TABLES)
def test_golden_week(table: str) -> None:
    rows = marts_oracle.rows(golden_week.marts(), table)

    assert golden_week.differences(table, marts_oracle.columns(table), rows) == []


def test_golden_week_tells_what_differs() -> None:
    table = "country_listen_through"
    columns, rows = marts_oracle.columns(table), marts_oracle.rows(golden_week.marts(), table)

    def found(country: str, column: str, value: object) -> list[str]:
        changed = [
            tuple(
                value if (row[0], name) == (country, column) else cell for name, cell in zip(columns, row, strict=True)
            )
            for row in rows
        ]
        return golden_week.differences(table, columns, changed)

    assert found("AT", "avg_fraction_per_listen", 0.970371) == []
    # The row that is there, and the one that is not.
    assert len(found("AT", "avg_fraction_per_listen", 0.97038)) == 2
    assert len(found("AT", "listens", 4)) == 2
    assert len(found("AT", "listens", 3.0)) == 2
    assert len(found("AT", "is_unknown", None)) == 2
    assert len(golden_week.differences(table, columns, rows[1:])) == 1
    assert len(golden_week.differences(table, columns, [*rows, rows[0]])) == 1
    # Further columns, in another order.
    assert golden_week.differences(table, [*columns[::-1], "more"], [(*row[::-1], 1) for row in rows]) == []


def test_golden_week_is_rewritten_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in golden_week.EXPECTED.iterdir()}
    monkeypatch.setattr(golden_week, "EXPECTED", tmp_path / "expected")
    golden_week.rewrite()

    assert {path.name: path.read_bytes() for path in golden_week.EXPECTED.iterdir()} == before
    with (golden_week.EXPECTED / "dim_dates.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 367
