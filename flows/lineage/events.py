"""Steps of a run -> OpenLineage events, with ids that stay the same for the same step of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState, set_producer
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    parent_run,
    processing_engine_run,
    sql_job,
    tags_run,
)

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.generated.base import JobFacet, RunFacet

PRODUCER = f"urn:podcast-pipeline:{version('podcast-pipeline')}"
set_producer(PRODUCER)  # of the facets, which have it too


@dataclass(frozen=True)
class Step:
    """One job of a run, as far as it is known; `pass_` counts how often the run came to it, from 1."""

    job: str
    integration: str
    kind: str
    inputs: tuple[InputDataset, ...] = ()
    outputs: tuple[OutputDataset, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    sql: str | None = None
    pass_: int = 1


@dataclass(frozen=True)
class Scribe:
    """Writes the events of one run of a flow."""

    namespace: str
    flow: str
    run_id: UUID
    engine_version: str

    def event(
        self, state: RunState, step: Step, *, at: datetime | None = None, error: BaseException | str | None = None
    ) -> RunEvent:
        """An event of a step; of an error only its kind is said, because a message can quote data."""
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(str(self.run_id)), job=parent_run.Job(self.namespace, self.flow)
        )
        run = Run(str(self.id_of(step)), {"parent": parent, **self._run_facets(step, error)})
        return self._event(state, run, Job(self.namespace, step.job, _job_facets(step)), step, at)

    def of_flow(self, state: RunState, *, at: datetime | None = None, error: BaseException | None = None) -> RunEvent:
        """An event of the flow run itself."""
        step = Step(self.flow, "PREFECT", "FLOW")
        run = Run(str(self.run_id), self._run_facets(step, error))
        return self._event(state, run, Job(self.namespace, self.flow, _job_facets(step)), step, at)

    def id_of(self, step: Step) -> UUID:
        """The same for the same step of the same run, so that a retry does not double it."""
        return uuid5(self.run_id, step.job if step.pass_ == 1 else f"{step.job} {step.pass_}")

    def _event(self, state: RunState, run: Run, job: Job, step: Step, at: datetime | None) -> RunEvent:
        return RunEvent(
            eventType=state,
            eventTime=(at or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z"),
            run=run,
            job=job,
            inputs=list(step.inputs),
            outputs=list(step.outputs),
            producer=PRODUCER,
        )

    def _run_facets(self, step: Step, error: BaseException | str | None) -> dict[str, RunFacet]:
        facets: dict[str, RunFacet] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(self.engine_version, "DuckDB"),
        }
        if step.tags:
            tags = [tags_run.TagsRunFacetFields(key, value, "PODCAST") for key, value in step.tags.items()]
            facets["tags"] = tags_run.TagsRunFacet(tags)
        if error:
            kind = error if isinstance(error, str) else type(error).__name__
            message = f"{kind}: see the log of the run"
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
        return facets


def _job_facets(step: Step) -> dict[str, JobFacet]:
    facets: dict[str, JobFacet] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", step.integration, step.kind)}
    if step.sql:
        facets["sql"] = sql_job.SQLJobFacet(step.sql, "duckdb")
    return facets
