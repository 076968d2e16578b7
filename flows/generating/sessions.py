"""How people listen: sessions of play, seek, pause and complete, no two events with the same key."""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import TypeAlias

from flows.generating.calendar import DAY, HOUR, Calendar
from flows.generating.world import LONGEST, World

KINDS = ("play", "pause", "seek", "complete")
PLAY, PAUSE, SEEK, COMPLETE = range(4)

# Second since the first day began, user, episode (both by position in the world), kind, duration in seconds.
# A plain tuple, since a million of them are made, and sorted by time.
Event: TypeAlias = tuple[int, int, int, int, int]

ROWS_PER_TEN_SESSIONS = 37  # just below what is seen, so that one draw is nearly always enough
HOURS_A_DAY = 24
MOST_PARTS = 3
MOST_ROWS = 2 * MOST_PARTS
LONGEST_PAUSE = 900  # seconds
LONGEST_SESSION = LONGEST * 5 // 4 + MOST_PARTS * LONGEST_PAUSE  # seconds
TRIES = 8
BY_HABIT, BY_TASTE = 0.7, 0.6  # the shares of sessions that a listener's habit and favourites decide
ENDS_WITH_PAUSE, STOPS_TO_PAUSE = 0.8, 0.6


@dataclass(frozen=True)
class Pool:
    """Listeners to draw from, by how active they are."""

    users: list[int]
    weights: list[int]

    def draw(self, rng: Random) -> int:
        """Return the position of one listener."""
        return self.users[bisect(self.weights, rng.random() * self.weights[-1])]


@dataclass(frozen=True)
class Unknown:
    """The shares of sessions by unknown users and with unknown episodes, in so many rows at most."""

    users: float
    episodes: float
    most_rows: int


NOTHING_UNKNOWN = Unknown(0, 0, 0)


class Listening:
    """Makes sessions; a listener is in one at a time, which is what keeps every key unique.

    Within a session time never stands still, and the next one of the same user starts later than the last
    one ended. So (user, second) is unique for each kind of event, whatever is drawn.
    """

    def __init__(self, world: World, calendar: Calendar) -> None:
        self.world = world
        self.calendar = calendar
        self.busy_until = [0] * len(world.listeners)
        known = [*range(world.known_users)]
        self._anyone = self._pool(known)
        self._strangers = self._pool([*range(world.known_users, len(world.listeners))])
        habits = [
            [user for user in known if (hour - world.listeners[user].habit + 1) % HOURS_A_DAY <= 2]  # noqa: PLR2004 - an hour around the habit
            for hour in range(HOURS_A_DAY)
        ]
        self._by_hour = [self._pool(users) if users else self._anyone for users in habits]

    def sessions(self, rng: Random, span: tuple[int, int], rows: int, unknown: Unknown) -> list[list[Event]]:
        """Return sessions that start in a span of time, together with at least so many rows, shuffled."""
        made: list[list[Event]] = []
        missing, room = rows, unknown.most_rows
        while missing > 0:
            for moment in self.calendar.moments(rng, *span, missing * 10 // ROWS_PER_TEN_SESSIONS + 1):
                allowed = unknown if room >= MOST_ROWS else NOTHING_UNKNOWN
                session = self._session_at(rng, moment, allowed)
                missing -= len(session)
                room -= len(session) if self.world.is_unknown(*session[0][1:3]) else 0
                made.append(session)
        rng.shuffle(made)
        return made

    def _session_at(self, rng: Random, moment: int, unknown: Unknown) -> list[Event]:
        free_at = min(moment, self.calendar.end - LONGEST_SESSION)
        if unknown.users and rng.random() < unknown.users:
            user = self._free(rng, self._strangers, free_at)
        else:
            by_habit = rng.random() < BY_HABIT
            user = self._free(rng, self._by_hour[moment % DAY // HOUR] if by_habit else self._anyone, free_at)
        if unknown.episodes and rng.random() < unknown.episodes:
            number = rng.randrange(self.world.known_episodes, len(self.world.episodes))
        else:
            number = self._something(rng, user, moment // DAY)
        return self._listen(rng, moment, user, number)

    def _listen(self, rng: Random, moment: int, user: int, number: int) -> list[Event]:
        """Return the events of a session at that time, or as soon after as the user is free."""
        episode = self.world.episodes[number]
        finished = rng.random() < self.world.shows[episode.show].completion_rate
        latest = self.calendar.end - episode.seconds - MOST_PARTS * LONGEST_PAUSE
        start = max(min(moment, latest), self.busy_until[user] + 1)
        events = _session(rng, start, (user, number), episode.seconds, finished=finished)
        last = events[-1]
        self.busy_until[user] = last[0] + (last[4] if last[3] == PLAY else 0)
        return events

    def _pool(self, users: list[int]) -> Pool:
        return Pool(users, [*accumulate(self.world.listeners[user].activity for user in users)])

    def _free(self, rng: Random, pool: Pool, moment: int) -> int:
        """Return a listener who is free at a time, or the last one tried."""
        for _ in range(TRIES):
            user = pool.draw(rng)
            if self.busy_until[user] < moment:
                break
        return user

    def _something(self, rng: Random, user: int, day: int) -> int:
        """Return an episode for a listener: of a favourite or of what many hear, more often a new one."""
        if rng.random() < BY_TASTE:
            liked, fresh = self.world.listeners[user].favourites, self.calendar.freshness[day]
            show = max(liked[int(rng.random() * len(liked))], liked[0], key=fresh.__getitem__)
        else:
            demand = self.calendar.demand[day]
            show = bisect(demand, rng.random() * demand[-1])
        episodes = self.calendar.released[day][show]
        chance = rng.random()
        return episodes[int(chance * chance * chance * len(episodes))]


def take(sessions: list[list[Event]], rows: int) -> list[Event]:
    """Remove sessions from the end of the list until there are so many rows; cut the last one off."""
    taken: list[Event] = []
    while len(taken) < rows:
        taken += sessions.pop()
    return taken[:rows]


def _session(rng: Random, start: int, what: tuple[int, int], seconds: int, *, finished: bool) -> list[Event]:
    """Return one listener's events with one episode of so many seconds, in order of time."""
    user, episode = what
    heard = seconds if finished else int(seconds * (0.05 + 0.8 * rng.random() * rng.random()))
    now, events = start, []
    for parts in range(1 + int(rng.random() * MOST_PARTS), 0, -1):
        played = heard if parts == 1 else int(heard * (0.5 + rng.random()) / parts)
        heard -= played
        events.append((now, user, episode, PLAY, played))
        now += played
        if parts > 1:
            stops = rng.random() < STOPS_TO_PAUSE
            events.append((now, user, episode, PAUSE if stops else SEEK, 0))
            now += 2 + int(rng.random() * rng.random() * LONGEST_PAUSE) if stops else 2
    if finished:
        events.append((now, user, episode, COMPLETE, int(seconds * (0.92 + 0.08 * rng.random()))))
    elif rng.random() < ENDS_WITH_PAUSE:
        events.append((now, user, episode, PAUSE, 0))
    return events
