"""Decides how many rows of each file are dirty, repeated or odd, keeping the shares over all files."""

from dataclasses import dataclass, field
from random import Random

from flows.generating.dirt import INVALID_KINDS, MALFORMED_KINDS
from flows.generating.options import GeneratorOptions
from flows.generating.plan import LATE, FilePlan
from flows.generating.randomness import stream

LATE_REPEATS = 0.15  # of a late file's rows, repeating earlier files
# Up to this share of dirt, good files are kept below these per cent, however few their rows are.
GENTLE, GENTLE_MALFORMED, GENTLE_INVALID = 0.1, 4, 16
BAD_PER_CENT = {"malformed": 22, "invalid": 30}


@dataclass
class Owed:
    """Deals a share out over files of any size, so that it is right over all of them."""

    share: float
    rows: int = 0
    given: int = 0

    def due(self, rows: int) -> int:
        """Return how many of these further rows, and of those before them, are still owed."""
        self.rows += rows
        return max(0, int(self.rows * self.share + 0.5) - self.given)

    def give(self, count: int) -> None:
        """Note how many there really were."""
        self.given += count


@dataclass(frozen=True)
class Mix:
    """What becomes of one file's rows: kinds of dirt, repetitions of its own and of earlier rows."""

    dirt: list[str]
    repeats_within: int
    repeats: int
    further: int
    untidy: int

    def events(self, rows: int) -> int:
        """Return how many rows have an event of their own."""
        return rows - self.repeats_within - self.repeats


@dataclass
class Deck:
    """Deals kinds of dirt, each once before any comes again."""

    rng: Random
    kinds: tuple[str, ...]
    left: list[str] = field(default_factory=list)

    def deal(self) -> str:
        """Return the next kind."""
        if not self.left:
            self.left = [*self.kinds]
            self.rng.shuffle(self.left)
        return self.left.pop()


class Mixer:
    """Decides what becomes of each file's rows, keeping the shares asked for over all files."""

    def __init__(self, options: GeneratorOptions) -> None:
        self.options = options
        self._dirt = Owed(options.dirty)
        self._repeats = Owed(options.duplicate_share)
        self._further = Owed(options.further_keys_share)
        self._untidy = Owed(options.untidy_share)
        self._any = Deck(stream(options.seed, "dirt"), MALFORMED_KINDS + INVALID_KINDS)
        self._malformed = Deck(stream(options.seed, "malformed"), MALFORMED_KINDS)
        self._invalid = Deck(stream(options.seed, "invalid"), INVALID_KINDS)

    def mix(self, plan: FilePlan, origins: int) -> Mix:
        """Return one file's mix; there are so many rows of earlier files to repeat."""
        dirt = self._bad_dirt(plan) + self._usual_dirt(plan)
        clean = plan.rows - len(dirt)
        earlier = int(clean * LATE_REPEATS) if plan.role == LATE and origins else 0
        due = min(self._repeats.due(plan.rows), (clean - earlier) // 2)
        self._repeats.give(due)
        across = due // 2 if origins else 0
        own = clean - earlier - due
        further = min(self._further.due(plan.rows), own)
        untidy = min(self._untidy.due(plan.rows), own - further)
        self._further.give(further)
        self._untidy.give(untidy)
        return Mix(dirt, due - across, across + earlier, further, untidy)

    def _bad_dirt(self, plan: FilePlan) -> list[str]:
        deck = self._malformed if plan.role == "malformed" else self._invalid
        return [deck.deal() for _ in range(_bad_rows(plan))]

    def _usual_dirt(self, plan: FilePlan) -> list[str]:
        """Deal the dirt that any file has, less where it would make a good file fail its gates."""
        gentle = self.options.dirty <= GENTLE
        most = plan.rows * GENTLE_INVALID // 100 if gentle and not _bad_rows(plan) else plan.rows
        count = min(self._dirt.due(plan.rows), most, plan.rows - _bad_rows(plan))
        self._dirt.give(count)
        room = plan.rows * GENTLE_MALFORMED // 100 if gentle and plan.role != "malformed" else count
        dirt = [self._any.deal() for _ in range(count)]
        too_many = [place for place, kind in enumerate(dirt) if kind in MALFORMED_KINDS][room:]
        for place in too_many:
            dirt[place] = self._invalid.deal()
        return dirt


def _bad_rows(plan: FilePlan) -> int:
    """Return how many rows a bad file has wrong on purpose, rounded up."""
    return -(-plan.rows * BAD_PER_CENT.get(plan.role, 0) // 100)
