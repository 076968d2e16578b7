"""Results as figures and as a page: medians, spread, ratios, and targets. No figure is ever an assertion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

BASE = "by hand"


@dataclass(frozen=True)
class Row:
    """One contender in one table: a value for each repeat."""

    table: str
    name: str
    seconds: list[float]
    peak_bytes: list[int] = field(default_factory=list)
    rows: int | None = None
    database_bytes: int | None = None
    notes: str = ""

    @property
    def median(self) -> float:
        """The middle one of the repeats."""
        return median(self.seconds)


@dataclass(frozen=True)
class Target:
    """What is aimed at, and what was measured, if it was."""

    name: str
    measured: float | None
    limit: float
    unit: str = "x"
    better: Literal["lower", "higher"] = "lower"

    @property
    def is_met(self) -> bool | None:
        """Whether it is; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.better == "lower" else self.measured >= self.limit

    @property
    def verdict(self) -> str:
        """Met, or missed by how much of the target."""
        if self.measured is None:
            return "not measured"
        off = abs(self.measured / self.limit - 1)
        return f"met, {off:.0%} to spare" if self.is_met else f"missed by {off:.0%}"


@dataclass
class Results:
    """Everything that a session has measured."""

    versions: dict[str, str]
    repeats: int
    rows: list[Row] = field(default_factory=list)
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, table: str, name: str) -> Row | None:
        """The row of a contender, if it was measured."""
        return next((row for row in self.rows if (row.table, row.name) == (table, name)), None)

    def ratio(self, table: str, name: str, base: str = BASE) -> float | None:
        """The medians of two contenders, one by the other."""
        row, other = self.row(table, name), self.row(table, base)
        return row.median / other.median if row and other else None

    def as_data(self, targets: Sequence[Target]) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "rows": [
                asdict(row) | {"median": row.median, "ratio": self.ratio(row.table, row.name)} for row in self.rows
            ],
            "targets": [asdict(target) | {"verdict": target.verdict} for target in targets],
        }

    def as_markdown(self, targets: Sequence[Target]) -> str:
        """A page."""
        parts = ["# The whole pipeline\n", _versions(self.versions, self.repeats)]
        parts += [self._table(table) for table in dict.fromkeys(row.table for row in self.rows)]
        parts += [_shares(name, seconds) for name, seconds in self.shares.items()]
        parts.append(_targets(targets))
        parts += ["## Notes\n", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(parts) + "\n"

    def _table(self, table: str) -> str:
        lines = [
            f"## {table}\n",
            "| | median s | min to max s | rows/s | peak memory | database | x by hand | |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in (row for row in self.rows if row.table == table):
            cells = (
                row.name,
                f"{row.median:.2f}",
                f"{min(row.seconds):.2f} to {max(row.seconds):.2f}",
                f"{row.rows / row.median:,.0f}" if row.rows else "",
                f"{max(row.peak_bytes) / 1e9:.2f} GB" if row.peak_bytes else "",
                f"{row.database_bytes / 1e6:,.0f} MB" if row.database_bytes else "",
                "" if (ratio := self.ratio(table, row.name)) is None else f"{ratio:.2f}",
                row.notes,
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def _versions(versions: Mapping[str, str], repeats: int) -> str:
    stated = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{repeats} repeats in one session, interleaved; {stated}.\n"


def _shares(name: str, seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    lines = [f"## Steps: {name}\n", "| step | s | share |", "|---|---|---|"]
    lines += [f"| {step} | {value:.2f} | {value / total:.1%} |" for step, value in seconds.items()]
    return "\n".join([*lines, f"| all | {total:.2f} | |"]) + "\n"


def _targets(targets: Sequence[Target]) -> str:
    lines = ["## Targets\n", "| target | measured | aimed at | |", "|---|---|---|---|"]
    for target in targets:
        measured = "" if target.measured is None else f"{target.measured:.2f} {target.unit}"
        sign = "<=" if target.better == "lower" else ">="
        lines.append(f"| {target.name} | {measured} | {sign} {target.limit:g} {target.unit} | {target.verdict} |")
    return "\n".join(lines) + "\n"


def share(seconds: Mapping[str, float], *beginnings: str) -> float | None:
    """Per cent of all steps that those take whose names begin so."""
    total = sum(seconds.values())
    return 100 * sum(s for step, s in seconds.items() if step.startswith(beginnings)) / total if total else None
