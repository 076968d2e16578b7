"""Puts one file together: its events, and among them dirt, repetitions, odd notations and blank lines."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from flows.generating.answers import FileContent, Origin
from flows.generating.dirt import MALFORMED, MALFORMED_KINDS, WRONG_CASE, malform, spoil
from flows.generating.lines import Script
from flows.generating.mixing import Mix
from flows.generating.sessions import Event
from flows.generating.world import World

FURTHER, UNTIDY = "further keys", "untidy"
NOTED_SHARE = 0.06  # of rows, with a timestamp in one of the other notations
BLANK_EVERY, MOST_BLANKS = 250, 4  # rows to a blank line
BLANKS = (b"", b"", b"  ")
NEARBY = 200  # how many rows after the original a repetition comes at most
KEPT_EVERY = 50  # one in so many valid rows may be repeated by later files


@dataclass(frozen=True)
class Composed:
    """A file's physical lines, what they are made of, and those that later files may repeat."""

    lines: list[bytes]
    content: FileContent
    origins: list[Origin]


@dataclass
class Composer:
    """Composes one file of events in order of time; `earlier` are lines of earlier files to repeat."""

    world: World
    script: Script
    rng: Random
    mix: Mix
    events: list[Event]
    earlier: list[Origin]
    _lines: list[bytes] = field(default_factory=list)
    _inserted: defaultdict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    _codes: Counter[str] = field(default_factory=Counter)
    _micros: dict[int, int] = field(default_factory=dict)
    _extended: set[int] = field(default_factory=set)
    _further_keys: int = 0

    def compose(self) -> Composed:
        """Write every line, and return the file."""
        dirty = self._write_events()
        valid = [place for place in range(len(self.events)) if place not in dirty]
        within = [self._repeat_within(valid) for _ in range(self.mix.repeats_within)]
        across = [self._repeat_earlier() for _ in range(self.mix.repeats)]
        self._insert_blanks()
        events = [self.events[place] for place in valid]
        repeated = [self.earlier[place].event for place in across]
        lines = self._merged()
        content = FileContent(
            physical_lines=len(lines),
            codes=self._codes,
            invalid=len(dirty),
            further_keys=self._further_keys + len(self._extended),
            valid=events,
            repeats_within=within,
            repeats=across,
            unknown=sum(self.world.is_unknown(*event[1:3]) for event in [*events, *within, *repeated]),
        )
        kept = self.rng.sample(valid, -(-len(valid) // KEPT_EVERY))
        return Composed(lines, content, [self._origin(place) for place in kept])

    def _write_events(self) -> set[int]:
        """Write a line for every event, and return the places of those with a validation code."""
        kinds = [*self.mix.dirt, *self.mix.further * [FURTHER], *self.mix.untidy * [UNTIDY]]
        places = self.rng.sample(range(len(self.events)), len(kinds))
        special = dict(zip(places, kinds, strict=True))
        chance, plain, append = self.rng.random, self.script.plain, self._lines.append
        for place, event in enumerate(self.events):
            if place in special:
                append(self._special(place, event, special[place]))
            elif chance() < NOTED_SHARE:
                line, self._micros[place] = self.script.noted(self.rng, event)
                append(line)
            else:
                append(plain(event))
        return set(places[: len(self.mix.dirt)])

    def _special(self, place: int, event: Event, kind: str) -> bytes:
        if kind == UNTIDY:
            return self.script.untidy(self.rng, event)
        if kind == FURTHER:
            self._extended.add(place)
            return self.script.extended(self.rng, event)
        if kind in MALFORMED_KINDS:
            self._codes[MALFORMED] += 1
            return malform(self.rng, kind, self.script.plain(event))
        self._further_keys += kind == WRONG_CASE
        line, codes = spoil(self.rng, kind, self.script.fields(event))
        self._codes.update(codes)
        return line

    def _origin(self, place: int) -> Origin:
        micros = self._micros.get(place, 0)
        return Origin(self.events[place], micros, self._lines[place], place in self._extended)

    def _repeat_within(self, valid: list[int]) -> Event:
        place = self.rng.choice(valid)
        at = min(place + self.rng.randrange(NEARBY), len(self.events) - 1)
        self._repeat(self._origin(place), at)
        return self.events[place]

    def _repeat_earlier(self) -> int:
        number = self.rng.randrange(len(self.earlier))
        self._repeat(self.earlier[number], self.rng.randrange(len(self.events)))
        return number

    def _repeat(self, origin: Origin, at: int) -> None:
        """Insert a line with the key of another: the same bytes, or written by somebody else."""
        same = self.rng.random() < 1 / 2
        self._further_keys += same and origin.has_further_keys
        line = origin.line if same else self.script.repeated(self.rng, origin.event, origin.micros)
        self._inserted[at].append(line)

    def _insert_blanks(self) -> None:
        for _ in range(min(MOST_BLANKS, len(self.events) // BLANK_EVERY)):
            self._inserted[self.rng.randrange(len(self.events) - 1)].append(self.rng.choice(BLANKS))

    def _merged(self) -> list[bytes]:
        merged: list[bytes] = []
        start = 0
        for place in sorted(self._inserted):
            merged += self._lines[start : place + 1]
            merged += self._inserted[place]
            start = place + 1
        return merged + self._lines[start:]
