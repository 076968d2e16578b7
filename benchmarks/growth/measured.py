"""What was measured of runs on either engine, as figures and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from whole.running import BESIDES

from growth import projection
from growth.trend import Line, fitted, verdict

FIRST, INCREMENT = "first load", "increment"
BASE = "DuckDB"
LAYERS = ("build bronze", "build silver", "build gold")
"""What Spark does where it is the engine; all else is done as on DuckDB."""
BESIDES_MODELS = "of the three layers, beside the models"
"""Opening the session, carrying relations there, views of what is there, and what dbt does before it builds."""
WHOLE, ALL_LAYERS, CPU = "whole run", "the three layers", "CPU seconds, whole run"


@dataclass(frozen=True)
class Measured:
    """The runs of one engine at one size: one first load, or some increments onto it."""

    kind: str
    engine: str
    events: int
    """That the history has, without increments."""
    rows: int
    """Events that each run loads."""
    seconds: list[float]
    cpu_seconds: list[float]
    peak_bytes: int
    beside_bytes: int
    """Of what works for the run and is none of its children: the processes of a cluster."""
    warehouse_bytes: int
    steps: dict[str, float]
    """Medians."""
    tables: dict[str, int] = field(default_factory=dict)
    """Rows of the largest of what is published after the last of these runs."""

    @property
    def median(self) -> float:
        """The middle one of the runs."""
        return median(self.seconds)

    def figures(self) -> dict[str, float]:
        """All that a line is drawn through, by what it is of."""
        layers = sum(self.steps.get(step, 0.0) for step in LAYERS)
        return {WHOLE: self.median, CPU: median(self.cpu_seconds), ALL_LAYERS: layers, **self.steps}


@dataclass
class Growth:
    """Everything that a session has measured."""

    versions: dict[str, str]
    options: dict[str, str]
    measured: list[Measured] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def of(self, kind: str, engine: str) -> dict[int, Measured]:
        """By number of events."""
        return {m.events: m for m in self.measured if (m.kind, m.engine) == (kind, engine)}

    def add(self, measured: Measured) -> None:
        """With a word on it where its tables have other numbers of rows than those of the engine before it."""
        for before in self.measured:
            is_same = (before.kind, before.events) == (measured.kind, measured.events)
            if is_same and before.tables != measured.tables:
                what = f"{measured.events:,} events, {measured.kind}"
                told = f"{before.engine} {before.tables}, {measured.engine} {measured.tables}"
                self.failed.append(f"{what}: not as many rows: {told}")
        self.measured.append(measured)

    def engines(self, kind: str) -> list[str]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(m.engine for m in self.measured if m.kind == kind))

    def lines(self, kind: str, engine: str) -> dict[str, Line]:
        """By what they are of: the whole run, and each step."""
        by_events = {events: m.figures() for events, m in self.of(kind, engine).items()}
        names = dict.fromkeys(name for figures in by_events.values() for name in figures)
        found = {name: fitted({events: f.get(name, 0.0) for events, f in by_events.items()}) for name in names}
        return {name: line for name, line in found.items() if line}

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        lines = {
            kind: {
                engine: {name: asdict(line) for name, line in self.lines(kind, engine).items()}
                for engine in self.engines(kind)
            }
            for kind in (FIRST, INCREMENT)
        }
        return asdict(self) | {"lines": lines}

    def as_markdown(self) -> str:
        """A page."""
        stated = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        parts = [f"# Growth on either engine\n\n{stated}.\n", *(f"{name}: `{v}`\n" for name, v in self.options.items())]
        for kind in (FIRST, INCREMENT):
            if rows := [m for m in self.measured if m.kind == kind]:
                parts += [_runs(kind, rows), self._steps(kind), self._meetings(kind)]
        parts.append(self._projected())
        parts += ["## What failed\n", *(f"- {told}" for told in self.failed)] if self.failed else []
        return "\n".join(part for part in parts if part)

    def _steps(self, kind: str) -> str:
        """Seconds of each step at each size, with the line through them."""
        sizes = sorted({m.events for m in self.measured if m.kind == kind})
        rows: list[Sequence[str]] = []
        for engine in self.engines(kind):
            held, lines = self.of(kind, engine), self.lines(kind, engine)
            for name in dict.fromkeys(name for m in held.values() for name in m.figures()):
                cells = [f"{held[s].figures().get(name, 0.0):.1f}" if s in held else "" for s in sizes]
                line = lines.get(name)
                rows.append((engine, name, *cells, *((f"{line.fixed:.1f}", f"{line.slope:.2f}") if line else ("", ""))))
        heads = ("engine", "seconds of", *(f"{size:,}" for size in sizes), "fixed s", "s a million")
        return f"## Steps: {_title(kind)}\n\n{table(heads, rows)}"

    def _meetings(self, kind: str) -> str:
        """Where each engine's line meets that of DuckDB; nothing where there are no lines yet."""
        ours, rows = self.lines(kind, BASE), []
        for engine in self.engines(kind):
            theirs = self.lines(kind, engine) if engine != BASE else {}
            largest = max(self.of(kind, engine))
            for name in (WHOLE, CPU, ALL_LAYERS, *LAYERS):
                if name in ours and name in theirs:
                    one, other = ours[name], theirs[name]
                    times = f"{other.slope / one.slope:.1f}" if one.slope > 0 and other.slope > 0 else ""
                    rows.append((engine, name, times, verdict(BASE, one, engine, other, largest=largest)))
        heads = ("engine", "of", f"its slope by that of {BASE}", "the lines")
        return f"## Where they meet: {_title(kind)}\n\n{table(heads, rows)}" if rows else ""

    def _projected(self) -> str:
        """What first loads come to at ten billion events a day; nothing where there are no lines yet."""
        lines = {engine: self.lines(FIRST, engine) for engine in self.engines(FIRST)}
        rows = [projection.row(engine, of_it[CPU], of_it) for engine, of_it in lines.items() if CPU in of_it]
        told = "By the slopes of first loads; of a step of one process, how much of a day it is busy."
        return f"## At 10 billion events a day\n\n{told}\n\n{table(projection.HEADS, rows)}" if rows else ""


def _title(kind: str) -> str:
    return "first loads" if kind == FIRST else "increments"


def _runs(kind: str, measured: Iterable[Measured]) -> str:
    """A row for each size and engine."""
    heads = ("events", "engine", "s", "min to max", "rows/s", "CPU s", "memory of the run", "beside it", "on disk")
    rows = [
        (
            f"{m.events:,}" if kind == FIRST else f"{m.rows:,} onto {m.events:,}",
            m.engine,
            f"{m.median:.1f}",
            f"{min(m.seconds):.1f} to {max(m.seconds):.1f}" if len(m.seconds) > 1 else "",
            f"{m.rows / m.median:,.0f}",
            f"{median(m.cpu_seconds):.1f}",
            f"{m.peak_bytes / 1e9:.2f} GB",
            f"{m.beside_bytes / 1e9:.2f} GB" if m.beside_bytes else "",
            f"{m.warehouse_bytes / 1e6:,.0f} MB",
        )
        for m in measured
    ]
    return f"## {_title(kind).capitalize()}\n\n{table(heads, rows)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, ["---"] * len(heads), *rows))


def steps_of(log: Iterable[Mapping[str, Any]], seconds: float) -> dict[str, float]:
    """Seconds of the steps that one run has told of, gates as one; the last is what the process took besides."""
    found: dict[str, float] = {}
    models = 0.0
    for said in log:
        if (step := said.get("step")) and said.get("seconds") is not None:
            name = "gates" if step.startswith("gate ") else step
            found[name] = found.get(name, 0.0) + float(said["seconds"])
            models += sum(said.get("models", {}).values()) if step in LAYERS else 0.0
    besides = max(seconds - sum(found.values()), 0.0)
    layers = sum(found.get(step, 0.0) for step in LAYERS)
    return found | {BESIDES_MODELS: max(layers - models, 0.0), BESIDES: besides}
