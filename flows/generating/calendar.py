"""When people listen: the weight of each hour and the freshness of each podcast on each day."""

from itertools import accumulate
from random import Random

from flows.generating.options import GeneratorOptions
from flows.generating.world import World

DAY = 86_400  # seconds
HOUR = 3_600
HOURS = (6, 3, 2, 2, 3, 8, 22, 40, 38, 24, 18, 19, 26, 22, 17, 18, 26, 40, 42, 34, 33, 31, 24, 13)
FRESHNESS = (40, 24, 14, 10, 8, 7, 6)  # by days since the newest episode; the last from then on
WORKDAY, WEEKEND = 10, 8
SATURDAY = 5


class Calendar:
    """Weights by hour and day; times are seconds since the first day began, in UTC."""

    def __init__(self, options: GeneratorOptions, world: World) -> None:
        self.days = options.days
        self.end = options.days * DAY
        first = options.start_date.toordinal()
        self.released = [_newest_first(world, first + day) for day in range(options.days)]
        self.freshness = [
            [_freshness(world, episodes, first + day) for episodes in shows] for day, shows in enumerate(self.released)
        ]
        self.demand = [
            [*accumulate(f * show.popularity for f, show in zip(day, world.shows, strict=True))]
            for day in self.freshness
        ]
        self._hours = [
            demand[-1] * (WEEKEND if (first + day - 1) % 7 >= SATURDAY else WORKDAY) * hour
            for day, demand in enumerate(self.demand)
            for hour in HOURS
        ]

    def weight(self, begin: int, end: int) -> int:
        """Return how much is listened to between two times."""
        return sum(self._hours[hour] * (until - since) for hour, since, until in _parts(begin, end))

    def moments(self, rng: Random, begin: int, end: int, count: int) -> list[int]:
        """Draw so many times between two times, in order."""
        parts = [*_parts(begin, end)]
        weights = [self._hours[hour] * (until - since) for hour, since, until in parts]
        chosen = rng.choices(parts, cum_weights=[*accumulate(weights)], k=count)
        return sorted(since + int(rng.random() * (until - since)) for _, since, until in chosen)


def _parts(begin: int, end: int) -> list[tuple[int, int, int]]:
    hours = range(begin // HOUR, -(-end // HOUR))
    return [(hour, max(begin, hour * HOUR), min(end, (hour + 1) * HOUR)) for hour in hours]


def _newest_first(world: World, day: int) -> list[list[int]]:
    """Return the known episodes out on a day, for each podcast, the newest first."""
    out: list[list[int]] = [[] for _ in world.shows]
    for number in reversed(range(world.known_episodes)):
        if world.episodes[number].released.toordinal() <= day:
            out[world.episodes[number].show].append(number)
    return out


def _freshness(world: World, episodes: list[int], day: int) -> int:
    age = day - world.episodes[episodes[0]].released.toordinal()
    return FRESHNESS[min(age, len(FRESHNESS) - 1)]
