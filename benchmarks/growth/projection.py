"""What the measured slopes come to at ten billion events a day, were they to stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

from growth.trend import Line

MILLIONS_A_DAY = 10_000
SECONDS_A_DAY = 86_400
ONE_PROCESS = ("load", "gates", "publish")
"""Steps that go through the run's own process, whichever engine builds."""


def core_hours(line: Line) -> float:
    """Of one day's events, from CPU seconds; what a run costs at least is left out."""
    return line.slope * MILLIONS_A_DAY / 3600


def share_of_day(line: Line) -> float:
    """How much of a day one process is busy with a day's events: above 1 it does not keep up."""
    return line.slope * MILLIONS_A_DAY / SECONDS_A_DAY


def row(engine: str, cpu: Line, lines: Mapping[str, Line]) -> tuple[str, ...]:
    """An engine's slopes of CPU seconds and of steps, in the order of `HEADS`."""
    shares = (f"{share_of_day(lines[step]):.2f}" if step in lines else "" for step in ONE_PROCESS)
    return engine, f"{cpu.slope:.1f}", f"{core_hours(cpu):,.0f}", f"{core_hours(cpu) / 24:.1f}", *shares


HEADS = ("engine", "CPU s a million", "core-hours a day", "cores, busy all day", *ONE_PROCESS)
