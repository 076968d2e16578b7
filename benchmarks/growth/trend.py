"""A line through what was measured at several sizes, and where two of them meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import linear_regression

MILLION = 1_000_000


@dataclass(frozen=True)
class Line:
    """Seconds that anything costs, and seconds that each further million events does."""

    fixed: float
    slope: float

    def at(self, millions: float) -> float:
        """Seconds of so many million events."""
        return self.fixed + self.slope * millions


def fitted(measured: Mapping[int, float]) -> Line | None:
    """The line of least squares through seconds by number of events; none through fewer than two sizes.

    Each size counts the same, so that the largest has the most to say of the slope, and the fixed part is what the
    line would have at no events, which can be below nothing.
    """
    if len(measured) < 2:  # noqa: PLR2004 - two points make a line
        return None
    slope, fixed = linear_regression([events / MILLION for events in measured], list(measured.values()))
    return Line(fixed, slope)


def meeting(one: Line, other: Line) -> float | None:
    """Million events at which both cost the same; none where that is at no number of events."""
    if one.slope == other.slope:
        return None
    millions = (other.fixed - one.fixed) / (one.slope - other.slope)
    return millions if millions > 0 else None


def verdict(base: str, line: Line, name: str, other: Line, *, largest: int) -> str:
    """In words, where two lines meet, and which of the two is the cheaper one where."""
    millions = meeting(line, other)
    if millions is None:
        return f"do not meet: {name if other.at(1) < line.at(1) else base} costs less at any size"
    cheaper = name if other.slope < line.slope else base
    beyond = millions * MILLION / largest
    outside = f", {beyond:,.1f} times the most that was measured" if beyond > 1 else ""
    return f"meet at {millions:,.1f} million events{outside}; beyond it {cheaper} costs less"
