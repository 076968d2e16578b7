"""How an event is written as a line, in all the ways that mean the same."""

from datetime import date
from functools import cache
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from flows.generating.sessions import COMPLETE, KINDS, PLAY, Event
from flows.generating.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

# Keys and their values as JSON text, in the order they are written; what is absent is not in it.
Fields: TypeAlias = dict[str, str]

DAY, MINUTE = 86_400, 60
MICROSECONDS = 1_000_000
CLOCK = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1_440)]
SECONDS = [f"{second:02d}" for second in range(MINUTE)]
OFFSETS = (60, 120, 330, -180, -300, -480)  # minutes east of UTC
FURTHER_KEYS = (
    '"app_version": "5.3.1"',
    '"device": {"os": "ios", "model": "iPhone14,5"}',
    '"playback_speed": 1.5',
    '"city": "Zürich"',
    '"tags": ["autoplay", null], "offline": true',
)


class Script:
    """Writes events; `start` is the day that their seconds are counted from."""

    def __init__(self, world: World, start: date) -> None:
        self.start = start
        # Numeric ids are written as JSON numbers: those accounts' producer never learnt otherwise.
        ids = [listener.user_id for listener in world.listeners]
        self.ids = ids
        self.users = [each if each.isdigit() else f'"{each}"' for each in ids]
        self.episodes = [f'"{episode.episode_id}"' for episode in world.episodes]
        self._first_day = start.toordinal()

    def plain(self, event: Event) -> bytes:
        """Return the event as most producers write it."""
        second, user, episode, kind, duration = event
        if kind in (PLAY, COMPLETE):  # noqa: SIM108 - three cases in one line are hard to read
            tail = f', "duration": {duration}}}'
        else:
            tail = ', "duration": null}' if user % 2 else "}"
        return (
            f'{{"event_type": "{KINDS[kind]}", "user_id": {self.users[user]}, '
            f'"episode_id": {self.episodes[episode]}, "timestamp": "{self.moment(second)}Z"{tail}'
        ).encode()

    def moment(self, second: int, separator: str = "T") -> str:
        """Return date and time of a second, without a zone."""
        day, rest = divmod(second, DAY)
        return f"{_day(self._first_day + day)}{separator}{CLOCK[rest // MINUTE]}{SECONDS[rest % MINUTE]}"

    def fields(self, event: Event, timestamp: str | None = None) -> Fields:
        """Return the values of an event as JSON; the timestamp in its usual notation unless given."""
        second, user, episode, kind, duration = event
        fields = {
            "event_type": f'"{KINDS[kind]}"',
            "user_id": self.users[user],
            "episode_id": self.episodes[episode],
            "timestamp": f'"{timestamp or self.moment(second) + "Z"}"',
        }
        return fields | {"duration": str(duration)} if kind in (PLAY, COMPLETE) else fields

    def noted(self, rng: Random, event: Event) -> tuple[bytes, int]:
        """Return the event with a timestamp in another notation, and the microseconds that this adds."""
        micros = int(rng.random() * MICROSECONDS) if rng.random() < 1 / 2 else 0
        micros = micros // 1_000 * 1_000 if rng.random() < 1 / 2 else micros
        return write(self.fields(event, self._notation(rng, event[0], micros))), micros

    def repeated(self, rng: Random, event: Event, micros: int) -> bytes:
        """Return a line with the key of another, written by somebody else: only the key is the same."""
        fields = self.fields(event, self._notation(rng, event[0], micros))
        if event[3] in (PLAY, COMPLETE) and rng.random() < 1 / 2:
            fields["duration"] = str(event[4] + 1 + int(rng.random() * 30))
        return write(_padded_ids(self, rng, event, _cased(rng, fields)))

    def untidy(self, rng: Random, event: Event) -> bytes:
        """Return the event as valid JSON that only a careless producer would write."""
        fields = self.fields(event)
        ways: list[Callable[[], bytes]] = [
            lambda: write(_cased(rng, fields)),
            lambda: write(_padded_ids(self, rng, event, fields)),
            lambda: write(dict(reversed(fields.items()))),
            lambda: write(fields, comma=",", colon=":"),
            lambda: write(fields | {"episode_id": self.episodes[event[2]].replace("e", "\\u0065")}),
        ]
        if event[3] in (PLAY, COMPLETE):
            forms = (f'"{event[4]}"', f'"{event[4]}.0"', f"{event[4]}.0", f'"+{event[4]}"')
            ways += 3 * [lambda: write(fields | {"duration": rng.choice(forms)})]
        return rng.choice(ways)()

    def extended(self, rng: Random, event: Event) -> bytes:
        """Return the event with further keys, at the end or in the middle."""
        further = rng.choice(FURTHER_KEYS)
        line = self.plain(event).decode()
        if rng.random() < 1 / 2:
            return f"{line[:-1]}, {further}}}".encode()
        return line.replace(', "episode_id"', f', {further}, "episode_id"').encode()

    def _notation(self, rng: Random, second: int, micros: int) -> str:
        """Return the same instant in one of the notations that the contract allows."""
        fraction = f".{micros:06d}" if micros else ""
        if micros % 1_000 == 0 and micros:
            fraction = fraction[:4]
        elif micros and rng.random() < 1 / 2:
            fraction += str(rng.randrange(1_000))  # is cut: nothing is kept beyond microseconds
        way = rng.choice(("offset", "no seconds", "space", "no zone"))
        if way == "offset":
            offset = rng.choice(OFFSETS)
            sign, minutes = "+-"[offset < 0], abs(offset)
            local = self.moment(second + offset * MINUTE, rng.choice("T "))
            return f"{local}{fraction}{sign}{minutes // MINUTE:02d}:{minutes % MINUTE:02d}"
        if way == "no seconds" and second % MINUTE == 0 and not micros:
            return self.moment(second)[:-3] + "Z"
        separator, zone = " " if way == "space" else "T", "" if way == "no zone" else "Z"
        return f"{self.moment(second, separator)}{fraction}{zone}"


def write(fields: Fields, comma: str = ", ", colon: str = ": ") -> bytes:
    """Return the line for these values."""
    return ("{" + comma.join(f'"{key}"{colon}{value}' for key, value in fields.items()) + "}").encode()


@cache
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _cased(rng: Random, fields: Fields) -> Fields:
    kind = fields["event_type"].strip('"')
    return fields | {"event_type": f'"{rng.choice((kind.title(), kind.upper(), f" {kind} ", kind))}"'}


def _padded_ids(script: Script, rng: Random, event: Event, fields: Fields) -> Fields:
    user, episode = script.ids[event[1]], script.episodes[event[2]].strip('"')
    left, right = rng.choice((("", ""), (" ", ""), ("", "\\t"), ("\\u00a0", ""), ("", "\u2003")))
    return fields | {"user_id": f'"{left}{user}{right}"', "episode_id": f'"{left}{episode}{right}"'}
