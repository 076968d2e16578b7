"""When files are a reason for a run: worked out from what the watcher has seen, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

QUIET_SECONDS = 0.5
"""The least time without a write after which files count as settled: a folder that was just made is watched by then."""
LONGEST_SETTLE = 10
"""Times the settle time: a stream of files without a pause is not waited for longer."""
FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 900.0


@dataclass(frozen=True)
class Settling:
    """Files that are being written: when the first and the last of the writes so far were noticed, in seconds."""

    first: float
    last: float

    def due(self, settle_seconds: float) -> float:
        """When they are settled, or have been waited for long enough; a run leaves alone what still changes."""
        settle = max(settle_seconds, QUIET_SECONDS)
        return min(self.last + settle, self.first + LONGEST_SETTLE * settle)


def noticed(settling: Settling | None, now: float) -> Settling:
    """With a further write at this time."""
    return replace(settling, last=now) if settling else Settling(now, now)


@dataclass(frozen=True)
class Asked:
    """A run that was asked for, and the files (name, fingerprint) that were the reason."""

    run_id: str
    files: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Memory:
    """What keeps the watcher from asking for ever; without it, as after a start, it asks once too often at most."""

    asked: Asked | None = None
    """The last run that was asked for, until it is known how it ended."""
    tried: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """Files that a run completed for and the ledger still does not have: unreadable, or touched without a change."""
    failures: int = 0
    """How many runs in a row did not complete."""
    not_before: float = 0.0
    """When a run may be asked for again after one that did not complete, in seconds."""


def new_files(landed: Mapping[str, str], known: Mapping[str, str], memory: Memory) -> frozenset[tuple[str, str]]:
    """The files that are a reason for a run; `landed` and `known` are fingerprints by name.

    Not those that the ledger knows as they are, and not those that a run has been completed for in vain.
    """
    return frozenset(
        (name, mark) for name, mark in landed.items() if known.get(name) != mark and (name, mark) not in memory.tried
    )


def left_over(landed: Mapping[str, str], known: Mapping[str, str], memory: Memory) -> frozenset[tuple[str, str]]:
    """The files that were tried, lie there as they did, and are still unknown to the ledger."""
    return frozenset(
        (name, mark) for name, mark in memory.tried if landed.get(name) == mark and known.get(name) != mark
    )


def after_run(memory: Memory, *, completed: bool, now: float) -> Memory:
    """When the run that was asked for is over.

    One that did not complete has not done its work: its files stay a reason, after a pause that doubles with each
    failure, so that a broken pipeline is not started again and again.
    """
    files = memory.asked.files if memory.asked else frozenset()
    if completed:
        return Memory(tried=memory.tried | files)
    failures = memory.failures + 1
    return replace(memory, asked=None, failures=failures, not_before=now + retry_seconds(failures))


def retry_seconds(failures: int) -> float:
    """The pause after so many failures in a row."""
    return doubling(failures, first=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS)


def doubling(failures: int, *, first: float, longest: float) -> float:
    """`first` seconds after one failure, twice as long after each further one, up to `longest`."""
    return min(first * 2.0 ** min(failures - 1, 30), longest)
