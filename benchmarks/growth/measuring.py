"""The runs themselves: a first load on one engine, and increments onto it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import duckdb
from whole.data import Data, add_file, linked
from whole.running import CommandError, Ran, last_run, run_pipeline, size, warm
from whole.small_runs import NEW_EVENTS, users_of

from growth.cluster import ClusterError
from growth.engines import ENGINES, Memory, Ready
from growth.measured import FIRST, INCREMENT, Growth, Measured, steps_of

if TYPE_CHECKING:
    from whole.session import Session

COUNTED = ("silver.cleansed_events", "gold.fact_user_interactions", "gold.fact_listens", "gold.listener_daily")
"""Tables that grow with every event, of which either engine has to make as many rows."""


@dataclass(frozen=True)
class Options:
    """What is measured at each size."""

    increments: int
    memory: Memory
    most_minutes: float
    """Of one run, which then counts as failed."""
    out: Path
    """Where the output of what failed is kept."""


@dataclass(frozen=True)
class _Home:
    """Where the runs of one engine at one size work, and what they are started with."""

    engine: str
    events: int
    path: Path
    ready: Ready
    options: Options

    def run(self, data: Data) -> tuple[Ran, dict[str, float]]:
        """One run, and the seconds of its steps."""
        warm(data.folder)
        ran = run_pipeline(
            self.path,
            data.landing,
            data.seeds,
            environment=self.ready.environment,
            beside=self.ready.beside,
            most_seconds=self.options.most_minutes * 60,
        )
        return ran, steps_of(last_run(self.path), ran.seconds)

    def measured(self, kind: str, rows: int, runs: list[tuple[Ran, dict[str, float]]]) -> Measured:
        """Of one kind of run."""
        rans, steps = [ran for ran, _ in runs], [of_run for _, of_run in runs]
        names = dict.fromkeys(name for of_run in steps for name in of_run)
        return Measured(
            kind,
            self.engine,
            self.events,
            rows,
            seconds=[ran.seconds for ran in rans],
            cpu_seconds=[ran.cpu_seconds for ran in rans],
            peak_bytes=max(ran.peak_bytes for ran in rans),
            beside_bytes=max(ran.beside_bytes for ran in rans),
            warehouse_bytes=size(self.path / "warehouse"),
            steps={name: median(of_run.get(name, 0.0) for of_run in steps) for name in names},
            tables=_rows(self.path / "warehouse" / "published.duckdb"),
        )


def measure(session: Session, growth: Growth, engine: str, events: int, options: Options) -> None:
    """Add what one engine does at one size, or that it failed, so that the others still take part."""
    folder = session.folder(f"{events}")
    try:
        with ENGINES[engine](folder / "engine", events, options.memory) as ready:
            _measure(session, growth, _Home(engine, events, folder / "home", ready, options))
    except (CommandError, ClusterError, CalledProcessError) as error:
        session.say(f"{events:,} events, {engine}: FAILED: {error}")
        growth.failed.append(f"{events:,} events, {engine}: {str(error).splitlines()[0]}")
        for printed in folder.glob("home-run.txt"):
            shutil.copy2(printed, options.out / f"failed-{events}-{engine.replace(' ', '-')}.txt")
    shutil.rmtree(folder, ignore_errors=True)


def _measure(session: Session, growth: Growth, home: _Home) -> None:
    history = linked(session.data(home.events), home.path.with_name("history"))
    runs = [home.run(history)]
    growth.add(home.measured(FIRST, home.events, runs))
    _tell(session, home, FIRST, runs[0][0])
    more = []
    for number in range(home.options.increments):
        add_file(history, _new_file(session, home.events, number), f"new-{number}")
        more.append(home.run(history))
        _tell(session, home, f"{INCREMENT} {number + 1} of {home.options.increments}", more[-1][0])
    if more:
        growth.add(home.measured(INCREMENT, NEW_EVENTS, more))


def _new_file(session: Session, events: int, number: int) -> Data:
    return session.data(NEW_EVENTS, files=1, seed=101 + number, users=users_of(events))


def _tell(session: Session, home: _Home, kind: str, ran: Ran) -> None:
    session.say(f"{home.events:,} events, {home.engine}, {kind}: {ran.seconds:.1f} s")


def _rows(published: Path) -> dict[str, int]:
    with duckdb.connect(str(published), read_only=True) as connection:
        counts = {table: connection.execute(f"select count(*) from {table}").fetchone() for table in COUNTED}
    return {table: row[0] if row else 0 for table, row in counts.items()}
