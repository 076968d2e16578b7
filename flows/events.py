"""Prefect events of batches and runs, for automations to react to; none of them can make a run fail.

An event has an id that follows from what it says, so that a server that gets it twice takes it once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any
from uuid import UUID, uuid5

from flows.domain import RunStatus
from flows.errors import GateFailedError
from flows.transitions import Transition

NAMESPACE = UUID("5d1c2f0e-6b0a-4d0b-9a64-0f6f3c0f7a51")
BATCHES_ANNOUNCED = 1000
"""Batches with an event of their own, in one go; beyond, the event of the run has their number."""
FILES_NAMED = 10
OF_THE_PIPELINE = {"podcast.pipeline": "podcast"}
"""A label of every event, for automations that wait for one with `for_each`: without it, Prefect begins to wait anew by
itself after each time that it has waited in vain.
"""
MESSAGE_LENGTH = 1000


def announce(transitions: Sequence[Transition], *, site: str) -> None:
    """An event for each batch, and one for each run, gate and reason by which batches were held back."""
    for transition in transitions[:BATCHES_ANNOUNCED]:
        _emit(
            f"podcast.batch.{transition.status}",
            {
                "prefect.resource.id": f"podcast.batch.{transition.batch_id}",
                "prefect.resource.name": transition.filename,
            },
            run_id=transition.run_id,
            cause=f"{transition.batch_id} {transition.changed_at.isoformat()}",
            payload=_about(transition),
        )
    held_back = sorted((t for t in transitions if t.status == "quarantined"), key=_cause)
    for (run_id, gate, reason), batches in groupby(held_back, _cause):
        _announce_held_back(run_id, gate, reason, list(batches), site)


def announce_failure(run_id: str, error: Exception, message: str) -> None:
    """The event of a run that ended by an error, `podcast.gate.failed` where a gate ended it, with the words for it."""
    is_gate = isinstance(error, GateFailedError)
    _emit(
        "podcast.gate.failed" if is_gate else "podcast.run.failed",
        {"prefect.resource.id": f"podcast.run.{run_id}", "prefect.resource.name": f"run {run_id}"},
        run_id=run_id,
        cause=run_id,
        payload={
            "run_id": run_id,
            "error": type(error).__name__,
            "subject": f"Podcast pipeline: {'a gate' if is_gate else 'a run'} failed",
            "body": f"{message[:MESSAGE_LENGTH]}\n\nNothing of the run was published; the last published state stays.",
        },
    )


def announce_deployment() -> None:
    """The event from which on published batches are waited for."""
    _emit("podcast.deployed", {"prefect.resource.id": "podcast.deployments", "prefect.resource.name": "podcast"})


def is_same_cause(message: str, last_run: dict[str, Any] | None) -> bool:
    """Whether the run before failed alike, so that whoever is to know it knows it already.

    Alike are the first two lines, of which the second names the model or expectation, but for the numbers in them.
    """
    if last_run is None or last_run["status"] != RunStatus.FAILED:
        return False
    return _kind(message) == _kind(last_run["message"] or "")


def _kind(message: str) -> list[str]:
    return [re.sub(r"\d+", "0", line) for line in message.splitlines()[:2]]


def _cause(transition: Transition) -> tuple[str, str, str]:
    return transition.run_id, transition.gate or "", transition.reason or ""


def _announce_held_back(run_id: str, gate: str, reason: str, batches: Sequence[Transition], site: str) -> None:
    named = "\n".join(
        f"{b.filename} ({b.row_count:,} lines): podcast quarantine show {b.batch_id}" for b in batches[:FILES_NAMED]
    )
    further = f"\nand {len(batches) - FILES_NAMED:,} more" if len(batches) > FILES_NAMED else ""
    count = "1 batch" if len(batches) == 1 else f"{len(batches):,} batches"
    _emit(
        "podcast.run.quarantined",
        {"prefect.resource.id": f"podcast.run.{run_id}", "prefect.resource.name": f"run {run_id}"},
        run_id=run_id,
        cause=f"{run_id} {gate} {reason}",
        payload={
            "run_id": run_id,
            "gate": gate,
            "reason": reason,
            "batches": len(batches),
            "subject": f"Podcast pipeline: {count} held back by gate {gate}: {reason}",
            "body": f"{named}{further}\n\n{site}/quarantine/index.html",
        },
    )


def _about(transition: Transition) -> dict[str, Any]:
    return {
        "batch_id": transition.batch_id,
        "filename": transition.filename,
        "attempt": transition.attempt,
        "status": transition.status,
        "gate": transition.gate,
        "reason": transition.reason,
        "decision": transition.decision,
        "lines": transition.row_count,
        "run_id": transition.run_id,
    }


def _emit(
    event: str,
    resource: dict[str, str],
    *,
    run_id: str | None = None,
    cause: str | None = None,
    payload: dict[str, Any] | None = None,
) -> None:
    """Hand an event to Prefect's own queue, which sends it from a thread."""
    from prefect.events import emit_event

    run = {"prefect.resource.id": f"prefect.flow-run.{run_id}", "prefect.resource.role": "flow-run"}
    more: dict[str, Any] = {"id": uuid5(NAMESPACE, f"{event} {cause}")} if cause else {}
    with suppress(Exception):  # an alert that fails never fails the data
        emit_event(event, resource | OF_THE_PIPELINE, related=[run] if run_id else None, payload=payload or {}, **more)
