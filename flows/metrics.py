"""Figures for Prometheus: of what is published, of the last run, however it ended, and of what runs now."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import files, warehouse
from flows.domain import BatchStatus, RunStatus, RunSummary
from flows.errors import PipelineError
from flows.published import open_published

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from flows.settings import Settings

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS = ("facts", "duplicates", "invalid", "malformed", "held_back")
MOST_LABELS = 40
"""Different values of a label; what is beyond them, or is no plain word, is counted as `other`."""
_WORD = re.compile(r"[a-z][a-z_ ]{0,39}")

Values = Mapping[tuple[str, ...], float | datetime]
"""Figures by the values of their labels."""
Rows = Callable[[str, Mapping[str, object]], list[dict[str, Any]]]
"""Answers a statement with values by the rows."""


@dataclass(frozen=True)
class Figures:
    """What one published copy says. Times are UTC without a zone, counts are lines or batches."""

    run: Mapping[str, Any]
    """The run that published it, as in `ops.runs`."""
    size_bytes: int
    warnings: int
    steps: Mapping[str, float]
    batches: Mapping[str, int]
    quarantined: Mapping[tuple[str, ...], int]
    """By gate and reason."""


@dataclass(frozen=True)
class LastRun:
    """How a run ended, published or not."""

    status: str
    started_at: datetime
    finished_at: datetime
    steps: Mapping[str, float] = field(default_factory=dict)


def read_figures(rows: Rows, *, size_bytes: int) -> Figures:
    """The figures of a copy, at a cost that grows with its batches and verdicts, not with its events."""
    (run,) = rows("select * from published.ops.runs where status = 'passed' order by finished_at desc limit 1", {})
    of_run = {"run_id": run["run_id"]}
    (warned,) = rows(
        "select count(distinct expectation) as warnings from published.ops.validation_results "
        "where run_id = $run_id and not success and severity = 'warning'",
        of_run,
    )
    steps = rows("select step, seconds from published.ops.run_steps where run_id = $run_id order by position", of_run)
    batches = rows("select status, count(*) as batches from published.ops.batches group by status", {})
    quarantined = rows(
        "select coalesce(gate, '') as gate, coalesce(reason, '') as reason, count(*) as batches "
        "from published.ops.batches where status = 'quarantined' group by 1, 2 order by batches desc, 1, 2",
        {},
    )
    return Figures(
        run,
        size_bytes,
        warned["warnings"],
        {row["step"]: row["seconds"] for row in steps},
        {row["status"]: row["batches"] for row in batches},
        {(row["gate"], row["reason"]): row["batches"] for row in quarantined},
    )


def of_copy(settings: Settings) -> Figures | None:
    """The figures of the published copy; None where there is none, or none that can be read."""
    import duckdb

    if not settings.published_path.exists():
        return None
    try:
        with closing(open_published(settings, memory_limit="256MB", threads=1)) as connection:

            def rows(sql: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
                return warehouse.read_dicts(connection, sql, dict(values))

            return read_figures(rows, size_bytes=settings.published_path.stat().st_size)
    except (PipelineError, duckdb.Error, ValueError, OSError):
        return None


def render(settings: Settings, figures: Figures | None) -> str:
    """All figures in Prometheus' text format."""
    from prometheus_client import generate_latest

    return generate_latest(_registry(settings, figures)).decode()


def write(settings: Settings, path: Path) -> None:
    """All figures as a file for node_exporter's textfile collector, whole or as it was before. Raises `OSError`."""
    from prometheus_client import write_to_textfile

    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), _registry(settings, of_copy(settings)))
    path.chmod(0o644)  # for the collector, which is another user, whatever the umask


def note_run(settings: Settings, summary: RunSummary, steps: Mapping[str, float]) -> None:
    """Note how a run ended, for the figures of those that published nothing, of which no copy knows.

    Whatever goes wrong with that, the run has ended as it has: nothing is raised.
    """
    with suppress(Exception):
        _note_run(settings, summary, steps)


def write_textfile(settings: Settings) -> None:
    """Write the figures where `PODCAST_METRICS_FILE` says; nothing is raised, and at worst the file stays as it was."""
    with suppress(Exception):
        if settings.metrics_file:
            write(settings, settings.metrics_file)


def _note(settings: Settings) -> Path:
    return settings.home / "metrics" / "last_run.json"


def _note_run(settings: Settings, summary: RunSummary, steps: Mapping[str, float]) -> None:
    path = _note(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    times = {"started_at": summary.started_at.isoformat(), "finished_at": summary.finished_at.isoformat()}
    files.write(path, json.dumps({"status": summary.status, **times, "steps": dict(steps)}))


def last_run(settings: Settings, figures: Figures | None) -> LastRun | None:
    """The run that ended last, as it noted it itself, or as the published copy has it where that is newer."""
    noted = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(_note(settings).read_text(encoding="utf-8"))
        started_at, finished_at = (datetime.fromisoformat(found[name]) for name in ("started_at", "finished_at"))
        noted = LastRun(RunStatus(found["status"]), started_at, finished_at, dict(found["steps"]))
    if figures is None:
        return noted
    run = figures.run
    published = LastRun(run["status"], run["started_at"], run["finished_at"], figures.steps)
    return noted if noted and noted.finished_at >= published.finished_at else published


# As Prometheus has it


def _registry(settings: Settings, figures: Figures | None) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    class Podcast(Collector):
        def collect(self) -> Iterable[Metric]:
            if figures:
                yield from _of_copy(figures)
            yield _gauge("podcast_copy_readable", "Whether the published copy is there and can be read.", bool(figures))
            yield from _of_last_run(last_run(settings, figures))
            yield from _of_now(settings)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Podcast())
    return registry


def _of_copy(figures: Figures) -> Iterator[Metric]:
    run = figures.run
    yield _gauge("podcast_copy_size_bytes", "Size of the published copy.", figures.size_bytes)
    yield _gauge("podcast_published_timestamp_seconds", "When the last run published (Unix time).", run["finished_at"])
    yield _gauge(
        "podcast_newest_event_timestamp_seconds", "Time of the newest published event (Unix time).",
        run["newest_event_at"],
    )  # fmt: skip
    for whose, prefix, about in (
        ("warehouse", "total_", "all lines ever loaded"),
        ("published_run", "", "the lines of the last run that published"),
    ):
        kinds: Values = {(kind,): run[prefix + kind] for kind in KINDS}
        yield _labelled(f"podcast_{whose}_lines", f"Of {about}, how many are what now.", ("kind",), kinds)
        broken = run[f"{prefix}malformed"] + run[f"{prefix}invalid"]
        yield _gauge(
            f"podcast_{whose}_invalid_ratio",
            f"Of {about}, the share (0 to 1) that is invalid or malformed, held back ones not counted among these.",
            broken / run[f"{prefix}lines"] if run[f"{prefix}lines"] else None,
        )
    batches: Values = {(status,): figures.batches.get(status, 0) for status in BatchStatus}
    yield _labelled("podcast_batches", "Batches by state.", ("status",), batches)
    held = bounded(figures.quarantined)
    yield _labelled(
        "podcast_quarantined_batches", "Batches in quarantine by gate and reason.", ("gate", "reason"), held
    )
    yield _gauge(
        "podcast_published_run_warnings", "Kinds of warnings of the last run that published.", figures.warnings
    )


def _of_last_run(run: LastRun | None) -> Iterator[Metric]:
    if run is None:
        return
    states: Values = {(status,): float(status == run.status) for status in RunStatus}
    yield _labelled("podcast_last_run_status", "How the last run ended: 1 for that state.", ("status",), states)
    yield _gauge(
        "podcast_last_run_finished_timestamp_seconds", "When the last run ended, published or not (Unix time).",
        run.finished_at,
    )  # fmt: skip
    seconds = (run.finished_at - run.started_at).total_seconds()
    yield _gauge("podcast_last_run_duration_seconds", "How long the last run took.", seconds)
    steps = bounded({(step,): seconds for step, seconds in run.steps.items()})
    yield _labelled("podcast_last_run_step_seconds", "How long the steps of the last run took.", ("step",), steps)


def _of_now(settings: Settings) -> Iterator[Metric]:
    """What the notes of runs say, which are there before a run has ended, and after one that was killed."""
    holder = warehouse.current_holder(settings)
    is_running = holder is not None and warehouse.is_alive(holder)
    yield _gauge("podcast_writing", "Whether a run, or another command that writes, is at work.", is_running)
    if holder and is_running:
        since = datetime.fromisoformat(holder.since)
        yield _gauge("podcast_writing_since_timestamp_seconds", "Since when (Unix time).", since)
    crashed = len(warehouse.crashed_holders(settings)) + bool(holder and holder.run and not is_running)
    yield _gauge("podcast_crashed_runs", "Runs that were ended from outside and that no run has taken up yet.", crashed)


def bounded(values: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Values by label, at most so many: whatever a label is made of, no data gets into one, nor ever more of them."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in values.items():
        words = tuple(label if _WORD.fullmatch(label) else "other" for label in labels)
        if words not in found and len(found) >= MOST_LABELS:
            words = ("other",) * len(labels)
        found[words] = found.get(words, 0) + value
    return found


def _gauge(name: str, about: str, value: float | datetime | None) -> Metric:
    """One figure; none where there is no value."""
    return _labelled(name, about, (), {} if value is None else {(): value})


def _labelled(name: str, about: str, labels: Sequence[str], values: Values) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, about, labels=labels)
    for own, value in values.items():
        family.add_metric(own, value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else float(value))
    return family
