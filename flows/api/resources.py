"""What is known of batches, verdicts and runs, as lists and single entries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from flows.api.copies import Reading
from flows.api.listings import Listing, Paging, Published, published
from flows.api.problems import ProblemError
from flows.api.values import GivenBool, GivenPattern, GivenText, GivenTime, Time
from flows.domain import VALIDATION_CODES, BatchStatus, Gate, RunStatus, Severity
from flows.warehouse import utc_now

HoldingGate = Literal["load", "raw", "validated", "cleansed", "gold"]
"""What can hold a batch back: loading, or one of the four gates."""

PATTERN = "Only files whose path fits this pattern: `*` is anything, across folders too, `?` one character."


class Batch(BaseModel):
    """One attempt at one file."""

    batch_id: str = Field(description="Sixteen hexadecimal digits.")
    filename: str = Field(description="Path of the file relative to the landing directory.")
    attempt: int
    content_hash: str | None = Field(description="SHA-256 of the file.")
    size_bytes: int | None
    status: BatchStatus
    gate: str | None = Field(description="What held it back, also before a person decided about it.")
    reason: str | None = Field(description="The code of what was found.")
    detail: str | None = Field(description="What was found, in words.")
    decision: str | None = Field(description="Why a person released or discarded it.")
    row_count: int | None = Field(description="Lines of the file, blank ones aside.")
    malformed_count: int | None
    invalid_count: int | None = Field(description="Malformed lines included; null before a run has counted them.")
    run_id: str = Field(description="The run that loaded it.")
    load_at: Time
    updated_at: Time = Field(description="Last change of its state (UTC).")
    missing_since: Time | None = Field(description="Since when its file is gone from the landing directory.")


class BatchFilters(Paging):
    """Which batches."""

    status: BatchStatus | None = Field(None, description="Only batches in this state.")
    file: GivenPattern | None = Field(None, description=PATTERN)
    loaded_from: GivenTime | None = Field(None, description="Only batches that were loaded then or later.")
    loaded_before: GivenTime | None = Field(None, description="Only batches that were loaded earlier.")


class HeldBackFilters(Paging):
    """Which of the batches in quarantine."""

    gate: HoldingGate | None = Field(None, description="Only batches that this gate holds back.")
    reason: GivenText | None = Field(None, description="Only batches held back for this reason.")
    file: GivenPattern | None = Field(None, description=PATTERN)


class HeldBack(BaseModel):
    """A batch in quarantine."""

    batch_id: str
    filename: str
    attempt: int
    gate: str | None
    reason: str | None
    detail: str | None = Field(description="What was found, in words.")
    row_count: int | None = Field(description="Lines that are held back with it.")
    load_at: Time
    updated_at: Time = Field(description="When it was held back (UTC).")


class VerdictRow(BaseModel):
    """One expectation in one checkpoint run, for one batch or, where `batch_id` is null, over all of the run."""

    run_id: str
    checkpoint: Gate
    expectation: str = Field(description="The expectation, its columns, and what it means.")
    severity: Severity
    batch_id: str | None
    success: bool
    observed: str | None
    threshold: str | None
    checked_at: Time
    rules_version: str | None


class VerdictFilters(Paging):
    """Which verdicts."""

    run_id: GivenText | None = Field(None, description="Only verdicts of this run.")
    batch_id: GivenText | None = Field(None, description="Only verdicts on this batch.")
    checkpoint: Gate | None = Field(None, description="Only verdicts of this gate.")
    severity: Severity | None = Field(None, description="Only expectations of this severity.")
    success: GivenBool | None = Field(None, description="Only expectations that held, or that did not.")


class Run(BaseModel):
    """One run, with its lines by where they went: those of its batches, and (`total_`) all that were ever loaded."""

    run_id: str
    started_at: Time
    finished_at: Time
    status: RunStatus
    message: str | None = Field(description="Why it failed.")
    batches: int
    published_batches: int
    quarantined_batches: int
    lines: int
    malformed: int
    invalid: int
    duplicates: int
    facts: int
    held_back: int
    total_lines: int
    total_malformed: int
    total_invalid: int
    total_duplicates: int
    total_facts: int
    total_held_back: int
    newest_event_at: Time | None


class RunFilters(Paging):
    """Which runs."""

    status: RunStatus | None = Field(None, description="Only runs that ended so.")


class Step(BaseModel):
    """A step of a run, in the order in which they ended."""

    step: str
    seconds: float


class RunEntry(BaseModel):
    """One run with its steps."""

    run: Run
    steps: list[Step] = Field(description="Those before the copy was made public; none of runs before there were any.")
    published: Published


_COUNTS = (
    "lines", "malformed", "invalid", "valid", *VALIDATION_CODES,
    "duplicates_within_batch", "duplicates_of_earlier_rows", "unknown_users", "unknown_episodes", "unknown_rows",
    "rows_with_further_keys", "plays", "pauses", "seeks", "completes",
)  # fmt: skip

Profile = create_model(
    "Profile",
    **dict.fromkeys(_COUNTS, (int | None, ...)),  # type: ignore[call-overload]
    invalid_share=(float | None, ...),
    unknown_share=(float | None, ...),
    first_event_at=(Time | None, ...),
    last_event_at=(Time | None, ...),
    __doc__="What the gates counted in a batch; null what no gate came to count.",
)


class BatchEntry(BaseModel):
    """One batch with its profile."""

    batch: Batch
    profile: Profile | None = Field(description="Null where no gate came to count.")
    published: Published


class Status(BaseModel):
    """How fresh the published state is, and what became of the batches in it."""

    published: Published
    published_age_seconds: float = Field(description="Since it was published.")
    newest_event_at: Time | None
    newest_event_age_seconds: float | None
    size_bytes: int = Field(description="Of the published copy.")
    batches: dict[BatchStatus, int] = Field(description="Batches by state; a state without one is left out.")


BATCHES = Listing(
    "batches",
    "ops.batches",
    Batch,
    BatchFilters,
    ("load_at", "batch_id"),
    {
        "status": "status = $status",
        "file": "regexp_full_match(filename, $file)",
        "loaded_from": "load_at >= $loaded_from",
        "loaded_before": "load_at < $loaded_before",
    },
    is_newest_first=True,
)
QUARANTINE = Listing(
    "quarantine",
    "ops.batches",
    HeldBack,
    HeldBackFilters,
    ("load_at", "batch_id"),
    {"gate": "gate = $gate", "reason": "reason = $reason", "file": "regexp_full_match(filename, $file)"},
    is_newest_first=True,
    only="status = 'quarantined'",
)
VERDICTS = Listing(
    "verdicts",
    "ops.validation_results",
    VerdictRow,
    VerdictFilters,
    ("checked_at", "run_id", "checkpoint", "expectation", "coalesce(batch_id, '')"),
    {name: f"{name} = ${name}" for name in ("run_id", "batch_id", "checkpoint", "severity", "success")},
    is_newest_first=True,
    is_large=True,
)
RUNS = Listing(
    "runs", "ops.runs", Run, RunFilters, ("started_at", "run_id"), {"status": "status = $status"}, is_newest_first=True
)


def find_batch(reading: Reading, batch_id: str) -> dict[str, Any]:
    """One batch. Raises `ProblemError` where there is none."""
    batch = _one(reading, "batches", Batch, batch_id, "batch_id")
    if batch is None:
        raise ProblemError(404, "not_found", "There is no such batch in what is published.")
    profile = _one(reading, "batch_profiles", Profile, batch_id, "batch_id")
    return {"batch": batch, "profile": profile, "published": published(reading)}


def find_run(reading: Reading, run_id: str) -> dict[str, Any]:
    """One run. Raises `ProblemError` where there is none."""
    run = _one(reading, "runs", Run, run_id, "run_id")
    if run is None:
        raise ProblemError(404, "not_found", "There is no such run in what is published.")
    sql = "select step, seconds from published.ops.run_steps where run_id = $id order by position"
    return {"run": run, "steps": reading.rows(sql, {"id": run_id}), "published": published(reading)}


def find_status(reading: Reading) -> dict[str, Any]:
    """How fresh the copy is; of its age the server's clock is the measure."""
    now = utc_now()
    (last,) = reading.rows(
        "select newest_event_at from published.ops.runs where run_id = $id", {"id": reading.copy.run_id}
    )
    newest = last["newest_event_at"]
    counted = reading.rows("select status, count(*) as batches from published.ops.batches group by status order by 1")
    return {
        "published": published(reading),
        "published_age_seconds": (now - reading.copy.published_at).total_seconds(),
        "newest_event_at": newest,
        "newest_event_age_seconds": (now - newest).total_seconds() if newest else None,
        "size_bytes": reading.copy.size_bytes,
        "batches": {row["status"]: row["batches"] for row in counted},
    }


def _one(reading: Reading, table: str, row: type[BaseModel], id_: str, column: str) -> dict[str, Any] | None:
    columns = ", ".join(f'"{name}"' for name in row.model_fields)
    found = reading.rows(f"select {columns} from published.ops.{table} where {column} = $id limit 1", {"id": id_})
    return found[0] if found else None
