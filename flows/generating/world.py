"""The podcasts and their listeners: who exists, what they like, and the reference data about them."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from io import StringIO
from itertools import accumulate
from random import Random

from flows.generating.options import GeneratorOptions
from flows.generating.randomness import stream

COUNTRIES = {
    "US": 34,
    "DE": 17,
    "GB": 13,
    "BR": 9,
    "FR": 8,
    "IN": 7,
    "ES": 5,
    "SE": 3,
    "JP": 2,
    "NG": 1,
    "": 3,
}
HABITS = {7: 30, 12: 15, 17: 28, 20: 12, 22: 15}  # hour of the day (UTC), and how common it is
NAMES = (
    "Deep Water",
    "The Long Table",
    "Signal & Noise",
    "Small Hours",
    "Café Europa",
    "Second Draft",
    "Night Trains",
    "Open Ledger",
    "Field Notes",
    "Common Ground",
    "Half Time",
    "Made by Hand",
)
TOPICS = (
    "Tides",
    "Borders",
    "The First Mile",
    "Bread, Salt, and Time",
    "Old Maps",
    "A Quiet Strike",
    "Echoes",
    'What "Fresh" Means',
    "Harbours",
    "The Interview",
    "Lost Recordings",
    "Überfahrt",
    "Letters",
)
FAVOURITES = 3
EARLY_ACCOUNTS = 89  # one in so many users dates from when ids were plain numbers
FIRST_EARLY_ACCOUNT = 7
NEW_USERS = 10  # one more in so many users is not in the reference data yet
NEW_EPISODES = 5
SHORTEST, LONGEST = 900, 4_500  # seconds, of a podcast's usual episode
WEEK = 7


@dataclass(frozen=True)
class Show:
    """One podcast: how popular it is, how often it is heard to the end, its usual length in seconds."""

    podcast_id: str
    name: str
    popularity: int
    completion_rate: float
    seconds: int


@dataclass(frozen=True)
class Episode:
    """One episode; `show` is the podcast's position in the world, `seconds` its length."""

    episode_id: str
    show: int
    title: str
    released: date
    seconds: int


@dataclass(frozen=True)
class Listener:
    """One user: `habit` is the hour they listen at, `activity` their weight, heavy-tailed."""

    user_id: str
    signed_up: date
    country: str
    habit: int
    activity: int
    favourites: tuple[int, ...]


@dataclass(frozen=True)
class World:
    """Everybody and everything; those after the known ones are missing in the reference data."""

    shows: tuple[Show, ...]
    episodes: tuple[Episode, ...]
    listeners: tuple[Listener, ...]
    known_users: int
    known_episodes: int

    def is_unknown(self, user: int, episode: int) -> bool:
        """Return whether the reference data lacks the user or the episode."""
        return user >= self.known_users or episode >= self.known_episodes

    def users_csv(self) -> str:
        """Return the reference data about users: `user_id, signup_date, country`."""
        known = self.listeners[: self.known_users]
        rows = ((each.user_id, each.signed_up.isoformat(), each.country) for each in known)
        return _csv(("user_id", "signup_date", "country"), rows)

    def episodes_csv(self) -> str:
        """Return the reference data about episodes, lengths in seconds."""
        rows = (
            (each.episode_id, self.shows[each.show].podcast_id, each.title, each.released, each.seconds)
            for each in self.episodes[: self.known_episodes]
        )
        return _csv(("episode_id", "podcast_id", "title", "release_date", "duration_seconds"), rows)


def build_world(options: GeneratorOptions) -> World:
    """Return the world that these options describe."""
    shows = _shows(stream(options.seed, "shows"), options.podcasts)
    new_users = max(NEW_EPISODES, options.user_count // NEW_USERS)
    return World(
        shows=shows,
        episodes=_episodes(stream(options.seed, "episodes"), options, shows),
        listeners=_listeners(stream(options.seed, "users"), options, options.user_count + new_users),
        known_users=options.user_count,
        known_episodes=options.episodes,
    )


def _csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _shows(rng: Random, count: int) -> tuple[Show, ...]:
    return tuple(
        Show(
            podcast_id=f"p{number + 1:02d}",
            name=NAMES[number % len(NAMES)],
            popularity=1_000 // (number + 2),
            completion_rate=0.25 + 0.6 * rng.random(),
            seconds=rng.randrange(SHORTEST, LONGEST, 60),
        )
        for number in range(count)
    )


def _episodes(rng: Random, options: GeneratorOptions, shows: tuple[Show, ...]) -> tuple[Episode, ...]:
    count = options.episodes + NEW_EPISODES
    return tuple(_episode(rng, options, shows, number) for number in range(count))


def _episode(rng: Random, options: GeneratorOptions, shows: tuple[Show, ...], number: int) -> Episode:
    """Return an episode: every podcast brings one out each week, the first before the events start."""
    place, show = divmod(number, len(shows))
    in_all = -(-(options.episodes - show) // len(shows))
    newest = options.end_date - timedelta(days=3 * show % WEEK)
    released = newest - timedelta(weeks=max(0, in_all - 1 - place))
    if place == 0:
        released = min(released, options.start_date - timedelta(days=1))
    seconds = int(shows[show].seconds * (0.75 + 0.5 * rng.random()))
    title = f"{TOPICS[rng.randrange(len(TOPICS))]} ({shows[show].name}, no. {place + 1})"
    return Episode(f"e{number + 1:04d}", show, title, released, seconds)


def _listeners(rng: Random, options: GeneratorOptions, count: int) -> tuple[Listener, ...]:
    countries = rng.choices([*COUNTRIES], [*COUNTRIES.values()], k=count)
    habits = rng.choices([*HABITS], [*HABITS.values()], k=count)
    liked = [*accumulate(1_000 // (number + 2) for number in range(options.podcasts))]
    shows = range(options.podcasts)
    return tuple(
        Listener(
            user_id=_user_id(number),
            signed_up=options.start_date - timedelta(days=rng.randrange(1, 1_000)),
            country=countries[number],
            habit=habits[number],
            activity=int(1_000 / (0.02 + rng.random())),
            favourites=tuple(rng.choices(shows, cum_weights=liked, k=FAVOURITES)),
        )
        for number in range(count)
    )


def _user_id(number: int) -> str:
    early = number % EARLY_ACCOUNTS == FIRST_EARLY_ACCOUNT
    return str(7_000_000 + number) if early else f"u{number + 1:06d}"
