"""The life of batches by the contract's section 5, over any history: an independent model beside the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import oracle
from oracle import Episode, Rules, Thresholds, User

IN_FORCE = ("published", "released")
DECIDABLE = ("quarantined", *IN_FORCE)


@dataclass
class Attempt:
    """One reading of one file; `is_change` where it came while another content of the file was published."""

    filename: str
    number: int
    content: bytes
    load_at: datetime
    is_change: bool = False
    status: str = "loaded"

    @property
    def batch(self) -> oracle.Batch:
        return oracle.Batch(self.filename, self.content, self.load_at, "released")

    def lines(self) -> int | None:
        """The number of its rows; None where the file cannot be read to its end."""
        try:
            return len(oracle.read_lines(self.filename, self.content, self.load_at))
        except oracle.Unreadable:
            return None


@dataclass
class History:
    """All attempts at all files, and the rules of today."""

    users: list[User]
    episodes: list[Episode]
    rules: Rules = field(default_factory=Rules)
    thresholds: Thresholds = field(default_factory=Thresholds)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)

    # What happens

    def expects_attempt(self, filename: str, content: bytes) -> bool:
        """Whether a run reads the file: its content is new to the latest attempt and to the one in force."""
        past = self.attempts.get(filename, [])
        return content not in [a.content for a in past[-1:] + [a for a in past if a.status in IN_FORCE]]

    def load(self, filename: str, content: bytes, load_at: datetime, *, is_asked_for: bool = False) -> None:
        """A new attempt, judged; reprocessing is asked for, and then a change is a correction."""
        past = self.attempts.setdefault(filename, [])
        is_change = not is_asked_for and any(a.status in IN_FORCE for a in past)
        past.append(Attempt(filename, len(past) + 1, content, load_at, is_change))
        self._judge(past)

    def release(self, attempt: Attempt) -> None:
        attempt.status = "released"
        self._supersede(self.attempts[attempt.filename], attempt)

    def discard(self, attempt: Attempt) -> None:
        attempt.status = "discarded"

    def revalidate(self) -> None:
        """All verdicts anew by the rules of today, except where a person decided or has to decide."""
        for past in self.attempts.values():
            for attempt in past:
                if attempt.status in ("published", "quarantined") and not attempt.is_change and attempt.lines():
                    attempt.status = "loaded"
            self._judge(past)

    # What follows

    def latest(self, *statuses: str) -> list[Attempt]:
        """The latest attempts at the files that are in one of the states."""
        return [past[-1] for _, past in sorted(self.attempts.items()) if past[-1].status in statuses]

    def all_attempts(self) -> Iterator[Attempt]:
        for past in self.attempts.values():
            yield from past

    def in_force(self) -> list[Attempt]:
        return [a for a in self.all_attempts() if a.status in IN_FORCE]

    def world(self) -> oracle.World:
        """The tables that the attempts in force make."""
        return oracle.evaluate(
            [a.batch for a in self.in_force()], self.users, self.episodes, rules=self.rules, thresholds=self.thresholds
        )

    def _judge(self, past: list[Attempt]) -> None:
        """From the latest attempt back, until one is in force."""
        for attempt in reversed(past):
            if attempt.status == "loaded":
                attempt.status = self._verdict(attempt)
            if attempt.status in IN_FORCE:
                self._supersede(past, attempt)
                return

    def _verdict(self, attempt: Attempt) -> str:
        lines = attempt.lines()
        if lines is None or attempt.is_change:
            return "quarantined"
        if lines == 0:
            return "empty"
        batch = replace(attempt.batch, decision=None)
        world = oracle.evaluate([batch], self.users, self.episodes, rules=self.rules, thresholds=self.thresholds)
        return world.statuses[attempt.filename]

    @staticmethod
    def _supersede(past: list[Attempt], by: Attempt) -> None:
        for attempt in past:
            if attempt.number < by.number and attempt.status not in ("empty", "superseded"):
                attempt.status = "superseded"
