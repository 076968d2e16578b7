"""The oracle of the gold marts: an independent reading of their definitions in plain Python, slow and literal.

It goes on from the facts and dimensions of `oracle`. Times are UTC without a time zone; windows include their start and
exclude their end. All is whole numbers and fractions until a value is put into its row, where a fraction becomes a
float.

A length is known where it is greater than 0, unknown where it is null, and neither where it is 0 or less. A podcast is
known where it is not null.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from fractions import Fraction
from statistics import median

from oracle import KINDS_WITH_DURATION, DimEpisode, DimUser, Fact, trim

SHORT_VALID_PERCENT = 95
QUALIFIED_PERCENT = 95
ENGAGED_PERCENT = 40
ENGAGED_SECONDS = 1200
MULTI_EPISODES = 3
TRANSITION_DAYS = 7
RELEASE_WINDOWS = (1, 3, 7, 30, 60)
REACHED_PERCENTS = (10, 25, 50, 75, 95)
UNKNOWN_COUNTRY = "(unknown)"

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Version:
    """The length of an episode from a moment on, as the history of the episodes has it."""

    episode_id: str
    duration_seconds: int | None
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class MartRules:
    """The settings; `end_date` counts where it is before the day after the newest fact."""

    session_gap_minutes: int = 30
    valid_listen_seconds: int = 60
    end_date: date | None = None


# --- Rows: fields are the columns, in order -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """One session of one user with one episode, numbered in time; without `listen_id`."""

    user_id: str
    episode_id: str
    session_number: int
    event_count: int
    starts: int
    furthest_claim_seconds: int
    listened_seconds: int
    episode_seconds: int | None
    listen_fraction: float | None
    is_completed: bool
    is_completion_qualified: bool
    is_valid: bool
    is_engaged: bool
    is_overlong: bool
    is_completion_without_play: bool
    started_at: datetime
    ended_at: datetime
    event_date: date
    last_load_at: datetime

    @property
    def fraction(self) -> Fraction | None:
        """`listen_fraction` before it is a float."""
        return fraction(self.furthest_claim_seconds, self.episode_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDay:
    """One episode on one day on which a listen of it started."""

    episode_id: str
    event_date: date
    starts: int
    listens: int
    valid_listens: int
    completions: int
    qualified_completions: int
    overlong_listens: int
    completions_without_play: int
    new_listeners: int
    listened_seconds: int
    unique_listeners: int
    engaged_listeners: int
    hours: float
    is_before_release: bool
    last_load_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerDay:
    """One user on one day with a play, a complete or the start of a listen."""

    user_id: str
    event_date: date
    episodes: int
    podcasts: int
    listens: int
    valid_listens: int
    listened_seconds: int
    hours: float
    is_multi_episode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerEpisode:
    """One user and one episode with a listen."""

    user_id: str
    episode_id: str
    podcast_id: str | None
    listens: int
    went_on: bool
    first_listen_at: datetime
    first_listen_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeListenThrough:
    """One episode of the dimension, with or without listens."""

    episode_id: str
    listens: int
    listens_of_known_length: int
    listens_of_unknown_length: int
    listens_of_zero_length: int
    completions: int
    qualified_completions: int
    overlong_listens: int
    completions_without_play: int
    completion_share: float | None
    qualified_completion_share: float | None
    mean_fraction: float | None
    mean_fraction_capped: float | None
    median_fraction: float | None
    median_fraction_capped: float | None
    share_reaching_10: float | None
    share_reaching_25: float | None
    share_reaching_50: float | None
    share_reaching_75: float | None
    share_reaching_95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryListenThrough:
    """One country, or all users without one."""

    country: str
    is_unknown: bool
    completion_count: int
    avg_listen_through_rate: float | None
    avg_listen_through_rate_capped: float | None
    listens: int
    avg_fraction_per_listen: float | None
    avg_fraction_per_listen_capped: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWindow:
    """One episode with a release date, so many days after it."""

    episode_id: str
    podcast_id: str | None
    days_since_release: int
    release_date: date
    listeners: int | None
    show_median_listeners: float | None
    ratio_to_show_median: float | None
    listeners_before_release: int
    has_listens_before_release: bool
    window_ends_on: date
    is_window_over: bool
    is_released_before_data: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortWeek:
    """The users whose first valid listen was in one week, so many weeks later."""

    cohort_week: date
    week_number: int
    week_start: date
    cohort_listeners: int
    active_listeners: int | None
    retention_rate: float | None
    is_week_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeTransition:
    """One episode of a known podcast that somebody listened to."""

    episode_id: str
    podcast_id: str
    listeners: int
    censored_listeners: int
    observed_listeners: int
    continued_listeners: int
    continuation_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Podcast:
    """One known podcast."""

    podcast_id: str
    episode_count: int
    episodes_of_known_length: int
    first_release_date: date | None
    last_release_date: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """One day of the years of the facts."""

    date_day: date
    year: int
    quarter: int
    month: int
    month_start: date
    week_start: date
    iso_week: int
    day_of_week: int
    is_weekend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Marts:
    """The rows of every table, in the order of its grain."""

    fact_listens: list[Listen]
    episode_daily: list[EpisodeDay]
    listener_daily: list[ListenerDay]
    listener_episodes: list[ListenerEpisode]
    episode_listen_through: list[EpisodeListenThrough]
    country_listen_through: list[CountryListenThrough]
    episode_release_curve: list[ReleaseWindow]
    listener_cohort_retention: list[CohortWeek]
    episode_transitions: list[EpisodeTransition]
    dim_podcasts: list[Podcast]
    dim_dates: list[CalendarDay]


ROWS: dict[str, type] = {
    "fact_listens": Listen,
    "episode_daily": EpisodeDay,
    "listener_daily": ListenerDay,
    "listener_episodes": ListenerEpisode,
    "episode_listen_through": EpisodeListenThrough,
    "country_listen_through": CountryListenThrough,
    "episode_release_curve": ReleaseWindow,
    "listener_cohort_retention": CohortWeek,
    "episode_transitions": EpisodeTransition,
    "dim_podcasts": Podcast,
    "dim_dates": CalendarDay,
}


def columns(table: str) -> tuple[str, ...]:
    """The columns of a table, in order; those that the oracle does not know are left out."""
    return tuple(field.name for field in fields(ROWS[table]))


def rows(marts: Marts, table: str) -> list[tuple[object, ...]]:
    """The rows of a table as plain tuples, in the order of its columns."""
    return [tuple(getattr(row, column) for column in columns(table)) for row in getattr(marts, table)]


# --- Small things -------------------------------------------------------------------------------


def is_known(seconds: int | None) -> bool:
    """Whether a length can be divided by."""
    return seconds is not None and seconds > 0


def fraction(claim: int, seconds: int | None) -> Fraction | None:
    """The claim as a part of the length; above 1 where the claim is longer."""
    return Fraction(claim, seconds) if seconds is not None and seconds > 0 else None


def reaches(claim: int, seconds: int | None, percent: int) -> bool:
    """Whether the claim is at least that part of a known length."""
    return seconds is not None and seconds > 0 and 100 * claim >= percent * seconds


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[Fraction]) -> float | None:
    return float(sum(values, Fraction()) / len(values)) if values else None


def _median(values: Sequence[Fraction]) -> Fraction | None:
    """Of an even number of values, the middle between the two middle ones."""
    return median(values) if values else None


def _capped(values: Iterable[Fraction]) -> list[Fraction]:
    return [min(value, Fraction(1)) for value in values]


# --- Sessions and listens -----------------------------------------------------------------------


def event_end(fact: Fact) -> datetime:
    """A play lasts as long as it says; a completion is told at its end, and a pause or seek takes no time."""
    seconds = fact.duration if fact.event_type == "play" else None
    return fact.timestamp + timedelta(seconds=seconds or 0)


def split_sessions(history: Iterable[Fact], gap: timedelta) -> list[list[Fact]]:
    """The events of one user and episode, cut where the gap after the event directly before is reached."""
    sessions: list[list[Fact]] = []
    for fact in sorted(history, key=lambda fact: (fact.timestamp, fact.event_type)):
        if not sessions or fact.timestamp >= event_end(sessions[-1][-1]) + gap:
            sessions.append([])
        sessions[-1].append(fact)
    return sessions


def length_as_of(moment: datetime, versions: Iterable[Version]) -> int | None:
    """The length of an episode in the version of that moment; before the first version, the first one's."""
    known = sorted((version for version in versions if version.duration_seconds is not None), key=_valid_from)
    current = [version for version in known if version.valid_from <= moment]
    if current:
        return current[-1].duration_seconds
    return known[0].duration_seconds if known else None


def _valid_from(version: Version) -> datetime:
    return version.valid_from


def _fact_listens(facts: Iterable[Fact], versions: Iterable[Version], rules: MartRules) -> list[Listen]:
    versions_of: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        versions_of[version.episode_id].append(version)
    histories: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        histories[fact.user_id, fact.episode_id].append(fact)
    return [
        listen
        for user_id, episode_id in sorted(histories)
        for listen in _listens_of(histories[user_id, episode_id], versions_of[episode_id], rules)
    ]


def _listens_of(history: list[Fact], versions: list[Version], rules: MartRules) -> Iterator[Listen]:
    """The listens of one user and episode. A session of pauses and seeks alone is none, and takes no number."""
    sessions = split_sessions(history, timedelta(minutes=rules.session_gap_minutes))
    heard = [session for session in sessions if any(fact.event_type in KINDS_WITH_DURATION for fact in session)]
    # Of the whole history: the play may stand in an earlier session than the completion.
    plays = [fact.timestamp for fact in history if fact.event_type == "play"]
    for number, session in enumerate(heard, start=1):
        yield _listen(number, session, plays, length_as_of(session[0].timestamp, versions), rules)


def _listen(number: int, session: list[Fact], plays: list[datetime], seconds: int | None, rules: MartRules) -> Listen:
    completes = [fact.timestamp for fact in session if fact.event_type == "complete"]
    claim = max(fact.duration or 0 for fact in session if fact.event_type in KINDS_WITH_DURATION)
    return Listen(
        user_id=session[0].user_id,
        episode_id=session[0].episode_id,
        session_number=number,
        event_count=len(session),
        starts=sum(fact.event_type == "play" for fact in session),
        furthest_claim_seconds=claim,
        listened_seconds=min(claim, seconds) if seconds is not None and seconds > 0 else claim,
        episode_seconds=seconds,
        listen_fraction=_float(fraction(claim, seconds)),
        is_completed=bool(completes),
        is_completion_qualified=bool(completes) and reaches(claim, seconds, QUALIFIED_PERCENT),
        is_valid=is_valid(claim, seconds, rules),
        is_engaged=claim >= ENGAGED_SECONDS or reaches(claim, seconds, ENGAGED_PERCENT),
        is_overlong=seconds is not None and 0 < seconds < claim,
        is_completion_without_play=bool(completes) and not any(play <= min(completes) for play in plays),
        started_at=session[0].timestamp,
        ended_at=max(event_end(fact) for fact in session),
        event_date=session[0].timestamp.date(),
        last_load_at=max(fact.load_at for fact in session),
    )


def is_valid(claim: int, seconds: int | None, rules: MartRules) -> bool:
    """Long enough; an episode that is itself shorter than long enough has to be heard nearly whole."""
    if seconds is not None and 0 < seconds < rules.valid_listen_seconds:
        return reaches(claim, seconds, SHORT_VALID_PERCENT)
    return claim >= rules.valid_listen_seconds


# --- By day -------------------------------------------------------------------------------------


def _episode_daily(listens: Iterable[Listen], dim_episodes: Iterable[DimEpisode]) -> list[EpisodeDay]:
    released = {episode_id: release_date for episode_id, _, _, release_date, _, _ in dim_episodes}
    by_day: dict[tuple[str, date], list[Listen]] = defaultdict(list)
    for listen in listens:
        by_day[listen.episode_id, listen.event_date].append(listen)
    return [_episode_day(*key, by_day[key], released[key[0]]) for key in sorted(by_day)]


def _episode_day(episode_id: str, event_date: date, listens: list[Listen], release_date: date | None) -> EpisodeDay:
    listened_seconds = sum(listen.listened_seconds for listen in listens)
    return EpisodeDay(
        episode_id=episode_id,
        event_date=event_date,
        starts=sum(listen.starts for listen in listens),
        listens=len(listens),
        valid_listens=sum(listen.is_valid for listen in listens),
        completions=sum(listen.is_completed for listen in listens),
        qualified_completions=sum(listen.is_completion_qualified for listen in listens),
        overlong_listens=sum(listen.is_overlong for listen in listens),
        completions_without_play=sum(listen.is_completion_without_play for listen in listens),
        new_listeners=sum(listen.session_number == 1 for listen in listens),
        listened_seconds=listened_seconds,
        unique_listeners=len({listen.user_id for listen in listens}),
        engaged_listeners=len({listen.user_id for listen in listens if listen.is_engaged}),
        hours=listened_seconds / 3600,
        is_before_release=release_date is not None and event_date < release_date,
        last_load_at=max(listen.last_load_at for listen in listens),
    )


def _listener_daily(
    facts: Iterable[Fact], listens: Iterable[Listen], dim_episodes: Iterable[DimEpisode]
) -> list[ListenerDay]:
    podcasts = _known_podcasts(dim_episodes)
    heard: dict[tuple[str, date], set[str]] = defaultdict(set)
    started: dict[tuple[str, date], list[Listen]] = defaultdict(list)
    for fact in facts:
        if fact.event_type in KINDS_WITH_DURATION:
            heard[fact.user_id, fact.event_date].add(fact.episode_id)
    for listen in listens:
        started[listen.user_id, listen.event_date].append(listen)
    # Over midnight the two differ: a listen can start with a pause, and its play come on the next day.
    return [_listener_day(*key, heard[key], started[key], podcasts) for key in sorted({*heard, *started})]


def _listener_day(
    user_id: str, event_date: date, episodes: set[str], listens: list[Listen], podcasts: Mapping[str, str]
) -> ListenerDay:
    listened_seconds = sum(listen.listened_seconds for listen in listens)
    return ListenerDay(
        user_id=user_id,
        event_date=event_date,
        episodes=len(episodes),
        podcasts=len({podcasts[episode_id] for episode_id in episodes if episode_id in podcasts}),
        listens=len(listens),
        valid_listens=sum(listen.is_valid for listen in listens),
        listened_seconds=listened_seconds,
        hours=listened_seconds / 3600,
        is_multi_episode=len(episodes) >= MULTI_EPISODES,
    )


def _known_podcasts(dim_episodes: Iterable[DimEpisode]) -> dict[str, str]:
    """The podcast of each episode that has one."""
    return {episode_id: podcast_id for episode_id, podcast_id, *_ in dim_episodes if podcast_id is not None}


# --- From episode to episode --------------------------------------------------------------------


def _listener_episodes(listens: list[Listen], dim_episodes: Iterable[DimEpisode]) -> list[ListenerEpisode]:
    podcasts = _known_podcasts(dim_episodes)
    counts = Counter((listen.user_id, listen.episode_id) for listen in listens)
    by_user: dict[str, list[Listen]] = defaultdict(list)
    for listen in listens:
        by_user[listen.user_id].append(listen)
    return [
        ListenerEpisode(
            user_id=first.user_id,
            episode_id=first.episode_id,
            podcast_id=podcasts.get(first.episode_id),
            listens=counts[first.user_id, first.episode_id],
            went_on=any(_goes_on(first, other, podcasts) for other in by_user[first.user_id]),
            first_listen_at=first.started_at,
            first_listen_date=first.event_date,
        )
        for first in listens
        if first.session_number == 1
    ]


def _goes_on(first: Listen, other: Listen, podcasts: Mapping[str, str]) -> bool:
    """Whether the other listen of the same user is of another episode of the podcast, and soon enough."""
    podcast_id = podcasts.get(first.episode_id)
    is_another = other.episode_id != first.episode_id and podcasts.get(other.episode_id) == podcast_id
    end = first.started_at + timedelta(days=TRANSITION_DAYS)
    return podcast_id is not None and is_another and first.started_at <= other.started_at < end


def _episode_transitions(
    listener_episodes: Iterable[ListenerEpisode], end_date: date | None
) -> list[EpisodeTransition]:
    by_episode: dict[tuple[str, str], list[ListenerEpisode]] = defaultdict(list)
    for listener in listener_episodes:
        if listener.podcast_id is not None:
            by_episode[listener.episode_id, listener.podcast_id].append(listener)
    if end_date is None:
        return []
    found = [_episode_transition(*key, by_episode[key], end_date) for key in sorted(by_episode)]
    return [row for row in found if row.listeners]


def _episode_transition(
    episode_id: str, podcast_id: str, first_listens: list[ListenerEpisode], end_date: date
) -> EpisodeTransition:
    listeners = [first for first in first_listens if first.first_listen_date < end_date]
    # A first listen late on a day has its last hours on the day after the seventh.
    observed = [first for first in listeners if first.first_listen_date + (TRANSITION_DAYS + 1) * DAY <= end_date]
    continued = sum(first.went_on for first in observed)
    return EpisodeTransition(
        episode_id=episode_id,
        podcast_id=podcast_id,
        listeners=len(listeners),
        censored_listeners=len(listeners) - len(observed),
        observed_listeners=len(observed),
        continued_listeners=continued,
        continuation_share=_share(continued, len(observed)),
    )


# --- Listen-through -----------------------------------------------------------------------------


def _episode_listen_through(
    listens: Iterable[Listen], dim_episodes: Iterable[DimEpisode]
) -> list[EpisodeListenThrough]:
    by_episode: dict[str, list[Listen]] = defaultdict(list)
    for listen in listens:
        by_episode[listen.episode_id].append(listen)
    episode_ids = sorted(episode_id for episode_id, *_ in dim_episodes)
    return [_listen_through(episode_id, by_episode[episode_id]) for episode_id in episode_ids]


def _listen_through(episode_id: str, listens: list[Listen]) -> EpisodeListenThrough:
    known = [listen for listen in listens if is_known(listen.episode_seconds)]
    unknown = sum(listen.episode_seconds is None for listen in listens)
    completions = sum(listen.is_completed for listen in listens)
    qualified = sum(listen.is_completion_qualified for listen in listens)
    fractions = [listen.fraction for listen in known if listen.fraction is not None]
    reaching = {
        percent: sum(reaches(listen.furthest_claim_seconds, listen.episode_seconds, percent) for listen in known)
        for percent in REACHED_PERCENTS
    }
    return EpisodeListenThrough(
        episode_id=episode_id,
        listens=len(listens),
        listens_of_known_length=len(known),
        listens_of_unknown_length=unknown,
        listens_of_zero_length=len(listens) - len(known) - unknown,
        completions=completions,
        qualified_completions=qualified,
        overlong_listens=sum(listen.is_overlong for listen in listens),
        completions_without_play=sum(listen.is_completion_without_play for listen in listens),
        completion_share=_share(completions, len(listens)),
        qualified_completion_share=_share(qualified, len(known)),
        mean_fraction=_mean(fractions),
        mean_fraction_capped=_mean(_capped(fractions)),
        median_fraction=_float(_median(fractions)),
        median_fraction_capped=_float(_median(_capped(fractions))),
        share_reaching_10=_share(reaching[10], len(known)),
        share_reaching_25=_share(reaching[25], len(known)),
        share_reaching_50=_share(reaching[50], len(known)),
        share_reaching_75=_share(reaching[75], len(known)),
        share_reaching_95=_share(reaching[95], len(known)),
    )


def _country_listen_through(
    facts: Iterable[Fact], listens: Iterable[Listen], dim_users: Iterable[DimUser], dim_episodes: Iterable[DimEpisode]
) -> list[CountryListenThrough]:
    country_of = {user_id: _country(country) for user_id, _, country, _ in dim_users}
    seconds_of = {episode_id: seconds for episode_id, _, _, _, seconds, _ in dim_episodes}
    rates: dict[tuple[str, bool], list[Fraction]] = defaultdict(list)
    fractions: dict[tuple[str, bool], list[Fraction]] = defaultdict(list)
    for fact in facts:
        # By the length of today, as the contract's question has it; a listen goes by the length of its day.
        rate = fraction(fact.duration or 0, seconds_of[fact.episode_id])
        if fact.event_type == "complete" and rate is not None:
            rates[country_of[fact.user_id]].append(rate)
    for listen in listens:
        if listen.fraction is not None:
            fractions[country_of[listen.user_id]].append(listen.fraction)
    return [_through_country(key, rates[key], fractions[key]) for key in sorted({*rates, *fractions})]


def _country(country: str | None) -> tuple[str, bool]:
    """The country, and whether it is unknown: a country may be called like the unknown one."""
    if country is None or trim(country) == "":
        return UNKNOWN_COUNTRY, True
    return country, False


def _through_country(key: tuple[str, bool], rates: list[Fraction], fractions: list[Fraction]) -> CountryListenThrough:
    country, is_unknown = key
    return CountryListenThrough(
        country=country,
        is_unknown=is_unknown,
        completion_count=len(rates),
        avg_listen_through_rate=_mean(rates),
        avg_listen_through_rate_capped=_mean(_capped(rates)),
        listens=len(fractions),
        avg_fraction_per_listen=_mean(fractions),
        avg_fraction_per_listen_capped=_mean(_capped(fractions)),
    )


# --- Over time ----------------------------------------------------------------------------------


def _end_date(facts: Iterable[Fact], rules: MartRules) -> date | None:
    """The end of what has been seen, or an earlier one that the settings give; None where nothing has been."""
    newest = max((fact.event_date for fact in facts), default=None)
    if newest is None:
        return None
    return min(newest + DAY, rules.end_date or date.max)


def _episode_release_curve(
    listens: Iterable[Listen], dim_episodes: Sequence[DimEpisode], start_date: date | None, end_date: date | None
) -> list[ReleaseWindow]:
    first_days: dict[str, list[date]] = defaultdict(list)
    for listen in listens:
        if listen.session_number == 1 and end_date is not None and listen.event_date < end_date:
            first_days[listen.episode_id].append(listen.event_date)
    return [
        _release_window(dim_episode, dim_episodes, days, first_days, (start_date, end_date))
        for dim_episode in sorted(dim_episodes, key=lambda dim: dim[0])
        for days in RELEASE_WINDOWS
        if dim_episode[3] is not None
    ]


def _release_window(
    dim_episode: DimEpisode,
    dim_episodes: Sequence[DimEpisode],
    days: int,
    first_days: Mapping[str, list[date]],
    seen: tuple[date | None, date | None],
) -> ReleaseWindow:
    start_date, end_date = seen
    episode_id, podcast_id, _, release_date, *_ = dim_episode
    if release_date is None:
        raise ValueError(dim_episode)
    listeners = _window_listeners(dim_episode, days, first_days, seen)
    show = [dim for dim in dim_episodes if podcast_id is not None and dim[1] == podcast_id]
    of_show = [_window_listeners(dim, days, first_days, seen) for dim in show if not _is_before(dim[3], start_date)]
    show_median = _median([Fraction(count) for count in of_show if count is not None])
    early = sum(day < release_date for day in first_days.get(episode_id, ()))
    return ReleaseWindow(
        episode_id=episode_id,
        podcast_id=podcast_id,
        days_since_release=days,
        release_date=release_date,
        listeners=listeners,
        show_median_listeners=_float(show_median),
        ratio_to_show_median=None if listeners is None or not show_median else float(listeners / show_median),
        listeners_before_release=early,
        # A listener's first listen is the earliest: there is one before the release, or there is none.
        has_listens_before_release=early > 0,
        window_ends_on=release_date + days * DAY,
        is_window_over=_is_over(release_date + days * DAY, end_date),
        is_released_before_data=_is_before(release_date, start_date),
    )


def _window_listeners(
    dim_episode: DimEpisode,
    days: int,
    first_days: Mapping[str, list[date]],
    seen: tuple[date | None, date | None],
) -> int | None:
    """Those who had listened when the window ended, before the release too.

    None while it is not over, and for one of which no day was seen.
    """
    start_date, end_date = seen
    episode_id, _, _, release_date, *_ = dim_episode
    if release_date is None or not _is_over(release_date + days * DAY, end_date):
        return None
    if start_date is None or release_date + days * DAY <= start_date:
        return None
    return sum(day < release_date + days * DAY for day in first_days.get(episode_id, ()))


def _is_before(release_date: date | None, start_date: date | None) -> bool:
    return release_date is not None and start_date is not None and release_date < start_date


def _is_over(end: date, end_date: date | None) -> bool:
    return end_date is not None and end <= end_date


def _listener_cohort_retention(listens: Iterable[Listen], end_date: date | None) -> list[CohortWeek]:
    if end_date is None:
        return []
    weeks: dict[str, set[date]] = defaultdict(set)
    for listen in listens:
        if listen.is_valid and listen.event_date < end_date:
            weeks[listen.user_id].add(monday(listen.event_date))
    cohorts: dict[date, list[set[date]]] = defaultdict(list)
    for active_weeks in weeks.values():
        cohorts[min(active_weeks)].append(active_weeks)
    last_week = monday(end_date - DAY)
    return [
        _cohort_week(cohort_week, week_number, cohorts[cohort_week], end_date)
        for cohort_week in sorted(cohorts)
        for week_number in range((last_week - cohort_week) // WEEK + 1)
    ]


def _cohort_week(cohort_week: date, week_number: int, cohort: list[set[date]], end_date: date) -> CohortWeek:
    """One week of the users of a cohort, each given as the weeks in which that user was active."""
    week_start = cohort_week + week_number * WEEK
    is_over = _is_over(week_start + WEEK, end_date)
    active = sum(week_start in weeks for weeks in cohort)
    return CohortWeek(
        cohort_week=cohort_week,
        week_number=week_number,
        week_start=week_start,
        cohort_listeners=len(cohort),
        active_listeners=active if is_over else None,
        retention_rate=active / len(cohort) if is_over else None,
        is_week_over=is_over,
    )


# --- Dimensions ---------------------------------------------------------------------------------


def _dim_podcasts(dim_episodes: Iterable[DimEpisode]) -> list[Podcast]:
    by_podcast: dict[str, list[DimEpisode]] = defaultdict(list)
    for dim_episode in dim_episodes:
        if dim_episode[1] is not None:
            by_podcast[dim_episode[1]].append(dim_episode)
    return [_podcast(podcast_id, by_podcast[podcast_id]) for podcast_id in sorted(by_podcast)]


def _podcast(podcast_id: str, episodes: list[DimEpisode]) -> Podcast:
    release_dates = [release_date for _, _, _, release_date, _, _ in episodes if release_date is not None]
    return Podcast(
        podcast_id=podcast_id,
        episode_count=len(episodes),
        episodes_of_known_length=sum(is_known(seconds) for _, _, _, _, seconds, _ in episodes),
        first_release_date=min(release_dates, default=None),
        last_release_date=max(release_dates, default=None),
    )


def _dim_dates(facts: Sequence[Fact]) -> list[CalendarDay]:
    if not facts:
        return []
    years = [fact.event_date.year for fact in facts]
    first, last = date(min(years), 1, 1), date(max(years), 12, 31)
    return [_calendar_day(first + number * DAY) for number in range((last - first).days + 1)]


def _calendar_day(day: date) -> CalendarDay:
    return CalendarDay(
        date_day=day,
        year=day.year,
        quarter=(day.month + 2) // 3,
        month=day.month,
        month_start=day.replace(day=1),
        week_start=monday(day),
        iso_week=day.isocalendar().week,
        day_of_week=day.isoweekday(),
        is_weekend=day.isoweekday() >= 6,
    )


# --- The whole ----------------------------------------------------------------------------------


def evaluate_marts(
    facts: Sequence[Fact],
    dim_users: Sequence[DimUser],
    dim_episodes: Sequence[DimEpisode],
    versions: Iterable[Version],
    rules: MartRules,
) -> Marts:
    """The marts of these facts; every id of theirs has a row in its dimension."""
    start_date, end_date = min((fact.event_date for fact in facts), default=None), _end_date(facts, rules)
    listens = _fact_listens(facts, versions, rules)
    listener_episodes = _listener_episodes(listens, dim_episodes)
    return Marts(
        fact_listens=listens,
        episode_daily=_episode_daily(listens, dim_episodes),
        listener_daily=_listener_daily(facts, listens, dim_episodes),
        listener_episodes=listener_episodes,
        episode_listen_through=_episode_listen_through(listens, dim_episodes),
        country_listen_through=_country_listen_through(facts, listens, dim_users, dim_episodes),
        episode_release_curve=_episode_release_curve(listens, dim_episodes, start_date, end_date),
        listener_cohort_retention=_listener_cohort_retention(listens, end_date),
        episode_transitions=_episode_transitions(listener_episodes, end_date),
        dim_podcasts=_dim_podcasts(dim_episodes),
        dim_dates=_dim_dates(facts),
    )
