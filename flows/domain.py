"""The values that the parts of the pipeline hand to each other; no behaviour beyond what they can say of themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import date, datetime
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


VALIDATION_CODES = (
    "malformed_json",
    "missing_user_id",
    "empty_user_id",
    "missing_episode_id",
    "empty_episode_id",
    "missing_timestamp",
    "invalid_timestamp",
    "timestamp_too_early",
    "timestamp_in_future",
    "missing_event_type",
    "invalid_event_type",
    "invalid_duration",
    "duration_out_of_range",
    "unexpected_duration",
)
"""The codes of a row, in the order in which they are given; the rules that give them stand in dbt."""


class RunStatus(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    NOTHING_NEW = "nothing_new"
    DRY_RUN = "dry_run"


def fingerprint(info: os.stat_result) -> str:
    """Changes whenever the file system says that a file was touched: size, modification and change time."""
    return f"{info.st_size}-{info.st_mtime_ns}-{info.st_ctime_ns}"


@dataclass(frozen=True)
class ObjectFolder:
    """A bucket, or what lies in it below a prefix; `prefix` is empty or ends in `/`."""

    bucket: str
    prefix: str = ""

    def __truediv__(self, name: str) -> ObjectFolder:
        """A folder in this one."""
        return ObjectFolder(self.bucket, f"{self.prefix}{name}/")

    def contains(self, other: ObjectFolder) -> bool:
        """Whether the other is this one, or lies in it."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)

    def __str__(self) -> str:
        """As a person names it in a setting."""
        return f"s3://{self.bucket}/{self.prefix}".removesuffix("/")


@dataclass(frozen=True)
class StoredObject:
    """An object of a bucket, as a listing gave it."""

    bucket: str
    key: str
    size_bytes: int
    etag: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever the object is written: its size and etag, which is not always a hash of its bytes."""
        return f"{self.size_bytes}-{self.etag}"

    def __str__(self) -> str:
        """As a person names it."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class LandedFile:
    """One settled file of the landing directory.

    `filename` is relative to the landing directory, with `/`; only when `fingerprint` has changed is the
    content read again to compare hashes.
    """

    filename: str
    path: Path | StoredObject
    size_bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Landing:
    """What a look at the landing directory found; `ignored` and `refused` name files and say why.

    Of files on a disk that are as they were known, only the names are there, as `unchanged`.
    """

    files: tuple[LandedFile, ...]
    unchanged: tuple[str, ...] = ()
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
    rules_version: str | None = None
    missing_since: datetime | None = None
    raw_pruned_at: datetime | None = None


class Decision(StrEnum):
    """What a person can have done with batches."""

    RELEASE = "release"
    DISCARD = "discard"
    REPROCESS = "reprocess"


@dataclass(frozen=True)
class Selection:
    """Which batches a person means: those that are named, or those that every given condition holds for.

    `names` are batch ids, unique beginnings of them, or file names. `pattern` is a shell pattern for the file name,
    whose `*` goes across folders too. A file arrived on the day (UTC) on which its first attempt was loaded.
    """

    names: tuple[str, ...] = ()
    pattern: str | None = None
    arrived_from: date | None = None
    arrived_before: date | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was said."""
        return self == Selection()


@dataclass(frozen=True)
class Selected:
    """A batch that a decision concerns, as it is before."""

    batch_id: str
    filename: str
    attempt: int
    status: BatchStatus
    row_count: int


@dataclass(frozen=True)
class Loaded:
    """What one loading step put into the warehouse: batches, and rows of `bronze.raw_events`."""

    batches: int = 0
    rows: int = 0
    bytes: int = 0
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Inputs:
    """What a run makes the tables of besides the batches, as it was when the run began and checked it."""

    reference_hash: str
    """Of the reference data and of what makes tables of it."""
    inputs_hash: str
    """Of the reference data, the rules and the models."""


@dataclass(frozen=True)
class BuiltModel:
    """A model, seed or snapshot that dbt has built, or tried to, and the seconds it took; times have a zone."""

    name: str
    seconds: float
    id: str = ""
    """dbt's own."""
    is_built: bool = True
    started_at: datetime | None = None
    finished_at: datetime | None = None
    sql: str | None = None


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
    """What there is to do: files to load, batches that wait, and whether rules or reference data changed.

    `missing` are files that were seen to be gone for the first time, `outdated_batches` those that other rules judged.
    """

    arrivals: tuple[Arrival, ...] = ()
    pending_batches: int = 0
    outdated_batches: int = 0
    inputs_changed: bool = False
    missing: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def has_work(self) -> bool:
        """Whether a run would change anything."""
        return bool(self.arrivals or self.pending_batches or self.inputs_changed)


@dataclass(frozen=True)
class VerdictChange:
    """A batch that was judged again by other rules or reference data, and whose verdict or rows changed.

    `rows_changed` is None where its rows were held back before, and with them their codes. A state is a status,
    with the reason behind it for a batch in quarantine. Counts are rows.
    """

    batch_id: str
    filename: str
    before: str
    after: str
    invalid_before: int | None
    invalid_after: int | None
    rows_changed: int | None


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
    selected: tuple[Selected, ...] = ()
    newest_event_at: datetime | None = None
    rejudged_batches: int = 0
    changes: tuple[VerdictChange, ...] = ()
    missing: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
