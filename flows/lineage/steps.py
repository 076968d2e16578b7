"""The steps of a run as they are told: what is known before and after each, and that telling never fails a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from flows import transform
from flows.errors import TransformError

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

    from flows.domain import BuiltModel, Gate, Loaded, Plan, Verdict
    from flows.lineage.events import Step
    from flows.settings import Settings
    from flows.tables import Table

T = TypeVar("T")


class Recorder:
    """What one run has told so far. A run that does nothing tells nothing: its own start comes with its first step."""

    def __init__(self, settings: Settings, run_id: str, flow: str) -> None:
        import duckdb

        from flows.lineage.datasets import Names
        from flows.lineage.events import Scribe
        from flows.lineage.sending import Endpoint, RunFile

        self.settings = settings
        self.names = Names(f"duckdb://{settings.lineage_namespace}", settings.warehouse_path.stem)
        self.scribe = Scribe(settings.lineage_namespace, flow, UUID(run_id), duckdb.__version__)
        self.file = RunFile(settings, run_id) if settings.lineage else None
        self.endpoint = Endpoint(settings) if settings.lineage_url else None
        self.problem: str | None = None
        self._passes: Counter[str] = Counter()
        self._tables: dict[str, Table] | None = None
        self._since, self._has_begun = datetime.now(UTC), False

    def tell(self, write: Callable[[Recorder], None]) -> None:
        """Have something told; whatever goes wrong in it is noted, and nothing more is told."""
        if self.problem:
            return
        try:
            write(self)
        except Exception as error:  # noqa: BLE001 - a step does not fail for what is said of it
            self.problem = f"Lineage is told no further in this run: {type(error).__name__}. The data is not affected."

    def put(self, event: RunEvent) -> None:
        """Send an event everywhere."""
        from openlineage.client.event_v2 import RunState

        if not self._has_begun:
            self._has_begun = True
            self.put(self.scribe.of_flow(RunState.START, at=self._since))
        for target in (self.file, self.endpoint):
            if target:
                target.put(event)

    def tables(self) -> dict[str, Table]:
        """The tables of the project, by dbt's ids."""
        from flows import tables

        if self._tables is None:
            self._tables = tables.read(transform.manifest(self.settings))
        return self._tables

    def next_pass(self, step: Step) -> Step:
        """The step, as often as the run has come to it."""
        self._passes[step.job] += 1
        return replace(step, pass_=self._passes[step.job])

    def end(self, error: BaseException | None) -> str | None:
        """The flow run has ended; what to warn of, if anything."""
        from openlineage.client.event_v2 import RunState

        state = RunState.FAIL if error else RunState.COMPLETE
        if self._has_begun:
            self.tell(lambda _: self.put(self.scribe.of_flow(state, error=error)))
        untold = self.endpoint.close() if self.endpoint else None
        return self.problem or untold


_recorder: ContextVar[Recorder | None] = ContextVar("lineage_recorder", default=None)


@contextmanager
def recording(settings: Settings, run_id: str, flow: str, *, warn: Callable[[str], None]) -> Iterator[None]:
    """Tell the steps inside the block, where a setting says so; problems with it are one warning at the end."""
    if not (settings.lineage or settings.lineage_url):
        yield
        return
    try:
        recorder = Recorder(settings, run_id, flow)
    except Exception as problem:  # noqa: BLE001 - a run does not fail for what is said of it
        warn(f"No lineage is told of this run: {type(problem).__name__}. The data is not affected.")
        yield
        return
    token = _recorder.set(recorder)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        _recorder.reset(token)
        if warning := recorder.end(error):
            warn(warning)


def _recorder_of(settings: Settings) -> Recorder | None:
    """None also for the copy of a warehouse that a dry run works on."""
    recorder = _recorder.get()
    return recorder if recorder and recorder.settings.home == settings.home else None


def of_load(settings: Settings, plan: Plan, work: Callable[[], Loaded]) -> Loaded:
    """Load, and tell it: the folders of the landed files, and the lines that came of them."""
    if not _recorder_of(settings):
        return work()
    from flows.lineage import describing

    return _told(settings, work, lambda told: describing.load(told.names, plan), describing.loaded, is_retried=True)


def of_gate(settings: Settings, gate: Gate, work: Callable[[], Verdict]) -> Verdict:
    """Judge, and tell it: what was looked at, each expectation with its outcome, and the verdict."""
    if not _recorder_of(settings):
        return work()
    from flows.lineage import describing

    return _told(settings, work, lambda told: describing.gate(told.names, gate), describing.judged)


def of_models(settings: Settings, work: Callable[[], Sequence[BuiltModel]]) -> Sequence[BuiltModel]:
    """Build, and tell each model that was begun, when dbt has come to its end."""
    recorder = _recorder_of(settings)
    if not recorder:
        return work()
    try:
        built = work()
    except TransformError as error:
        _tell_models(recorder, cast("Sequence[BuiltModel]", error.models))
        raise
    _tell_models(recorder, built)
    return built


def _tell_models(recorder: Recorder, built: Sequence[BuiltModel]) -> None:
    from openlineage.client.event_v2 import RunState

    from flows.lineage import describing

    def tell(recorder: Recorder) -> None:
        for model in built:
            table = recorder.tables().get(model.id)
            if not table:
                continue
            step = recorder.next_pass(describing.model(recorder, table, model))
            recorder.put(recorder.scribe.event(RunState.START, step, at=model.started_at))
            state = RunState.COMPLETE if model.is_built else RunState.FAIL
            error = None if model.is_built else "TransformError"
            recorder.put(recorder.scribe.event(state, step, at=model.finished_at, error=error))

    recorder.tell(tell)


def _told(
    settings: Settings,
    work: Callable[[], T],
    begin: Callable[[Recorder], Step],
    finish: Callable[[Recorder, Step, Any], Step],
    *,
    is_retried: bool = False,
) -> T:
    """Work with an event before and one after it; `finish` adds to the step what came of it."""
    from openlineage.client.event_v2 import RunState

    recorder = _recorder_of(settings)
    if not recorder:
        return work()
    steps: list[Step] = []

    def start(recorder: Recorder) -> None:
        steps.append(begin(recorder) if is_retried else recorder.next_pass(begin(recorder)))
        recorder.put(recorder.scribe.event(RunState.START, steps[0]))

    recorder.tell(start)
    try:
        result = work()
    except BaseException as error:
        failed = error
        recorder.tell(lambda told: told.put(told.scribe.event(RunState.FAIL, steps[0], error=failed)))
        raise
    ended = datetime.now(UTC)
    recorder.tell(lambda told: told.put(told.scribe.event(RunState.COMPLETE, finish(told, steps[0], result), at=ended)))
    return result
