"""The values that the parts of the pipeline hand to each other; no behaviour beyond what they can say of themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class BatchStatus(StrEnum):
    """The states of a batch attempt, as section "A batch's life" of the README draws them."""

    LOADED = "loaded"
    PUBLISHED = "published"
    QUARANTINED = "quarantined"
    RELEASED = "released"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"
    EMPTY = "empty"


class Gate(StrEnum):
    """The four checkpoints, in the order in which a run passes them."""

    RAW = "raw"
    VALIDATED = "validated"
    CLEANSED = "cleansed"
    GOLD = "gold"


class Layer(StrEnum):
    """What dbt builds before each gate: the tag of the models, and for three of them the schema."""

    RAW = "raw"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


class Severity(StrEnum):
    """What a failed expectation does: critical holds batches back, the others are reported only."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class RunStatus(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOTHING_NEW = "nothing_new"


def fingerprint(info: os.stat_result) -> str:
    """Changes whenever the file system says that a file was touched: size, modification and change time."""
    return f"{info.st_size}-{info.st_mtime_ns}-{info.st_ctime_ns}"


@dataclass(frozen=True)
class LandedFile:
    """One settled file of the landing directory.

    `filename` is relative to the landing directory, with `/`; only when `fingerprint` has changed is the
    content read again to compare hashes.
    """

    filename: str
    path: Path
    size_bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Landing:
    """What a look at the landing directory found; `ignored` and `refused` name files and say why."""

    files: tuple[LandedFile, ...]
    unsettled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Arrival:
    """A file to be read as a new attempt; `mutates` names the published batch whose file changed, if any."""

    file: LandedFile
    attempt: int
    mutates: str | None = None


@dataclass(frozen=True)
class Batch:
    """One attempt at one file, as the ledger has it. Times are UTC without a zone, counts are rows."""

    batch_id: str
    filename: str
    attempt: int
    content_hash: str
    size_bytes: int
    fingerprint: str
    status: BatchStatus
    gate: str | None
    reason: str | None
    detail: str | None
    decision: str | None
    decided_by: str | None
    row_count: int
    malformed_count: int
    invalid_count: int | None
    mutates: str | None
    pending: bool
    run_id: str
    load_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Loaded:
    """What one loading step put into the warehouse: batches, and rows of `bronze.raw_events`."""

    batches: int = 0
    rows: int = 0
    bytes: int = 0
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation in one checkpoint run, over all batches of the run (`batch_id` None) or for one of them."""

    expectation: str
    description: str
    severity: Severity
    success: bool
    observed: str
    threshold: str
    batch_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What one gate says of a run: its results, and for each failing batch the reasons."""

    gate: Gate
    results: tuple[ExpectationResult, ...]
    failing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unblamed: tuple[str, ...] = ()
    judged_batches: int = 0
    judged_rows: int = 0

    @property
    def passed(self) -> bool:
        """Whether no critical expectation failed."""
        return not self.failing and not self.unblamed

    @property
    def warnings(self) -> tuple[ExpectationResult, ...]:
        """The failed expectations that are reported only."""
        return tuple(r for r in self.results if not r.success and r.severity is not Severity.CRITICAL)


@dataclass(frozen=True)
class Accounting:
    """Rows of `bronze.raw_events`, each in exactly one of the five kinds that follow `lines`."""

    lines: int = 0
    malformed: int = 0
    invalid: int = 0
    duplicates: int = 0
    facts: int = 0
    held_back: int = 0

    @property
    def reconciles(self) -> bool:
        """Whether every line is accounted for."""
        return self.lines == self.malformed + self.invalid + self.duplicates + self.facts + self.held_back


@dataclass(frozen=True)
class HeldBack:
    """A batch that this run put into quarantine: the gate, the reason's code, and what was found in words."""

    batch_id: str
    filename: str
    gate: str
    reason: str
    detail: str
    row_count: int


@dataclass(frozen=True)
class Plan:
    """What there is to do: files to load, batches that wait, and whether rules or reference data changed."""

    arrivals: tuple[Arrival, ...] = ()
    pending_batches: int = 0
    inputs_changed: bool = False
    unsettled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def has_work(self) -> bool:
        """Whether a run would change anything."""
        return bool(self.arrivals or self.pending_batches or self.inputs_changed)


@dataclass(frozen=True)
class RunSummary:
    """One run as it is reported: `run` counts the lines of the run's batches, `warehouse` all lines ever loaded."""

    run_id: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    run: Accounting = Accounting()
    warehouse: Accounting = Accounting()
    published_batches: int = 0
    quarantined: tuple[HeldBack, ...] = ()
    empty: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
