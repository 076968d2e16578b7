"""The whole pipeline beside a hand-written script, plain dbt and dlt, on the same files in one session.

Writes results.json and results.md, after every measure, into a folder named by the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from whole import contending, first_loads, load_step, machine, small_runs, targets
from whole.session import Session
from whole.table import BASE, Results

from flows.settings import PROJECT_ROOT

MEASURES: dict[str, Callable[[Session], None]] = {
    "first-load": first_loads.first_load,
    "steps": first_loads.step_shares,
    "memory": first_loads.memory,
    "loading": load_step.load_step,
    "fixed": small_runs.fixed,
    "increment": small_runs.increment,
    "small-files": small_runs.small_files,
    "many-files": small_runs.many_files,
}

OTHERS = [name for name in contending.FIRST_LOADS if name not in (targets.PIPELINE, BASE)]
"""Contenders that can be left out; without the other two there is nothing to compare."""


def main() -> None:
    """Measure, and write after each measure what there is."""
    kept = PROJECT_ROOT / "data" / "benchmarks"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="MEASURE")
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000], help="of first loads")
    parser.add_argument(
        "--histories", type=int, nargs="+", default=[100_000, 10_000_000], help="that increments come onto"
    )
    parser.add_argument(
        "--leave-out", nargs="+", choices=OTHERS, default=[], metavar="CONTENDER", help="of first loads"
    )
    parser.add_argument("--many", type=int, default=100_000, help="files that are loaded already")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=kept / "generated", help="keeps generated data")
    parser.add_argument("--out", type=Path, default=kept, help="where results go")
    arguments = parser.parse_args()
    out = arguments.out / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    out.mkdir(parents=True)
    arguments.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out) as work:
        session = Session(
            data_root=arguments.data.resolve(),
            work=Path(work).resolve(),
            repeats=arguments.repeats,
            results=Results(machine.described(), arguments.repeats),
            first_load_events=sorted(arguments.events),
            history_events=sorted(arguments.histories),
            many_files=arguments.many,
            left_out=tuple(arguments.leave_out),
        )
        for name, measure in MEASURES.items():
            if name in arguments.measures:
                session.say(f"measure {name}")
                measure(session)
                write(session.results, out)
    print((out / "results.md").read_text())
    print(f"Written to {out}")


def write(results: Results, out: Path) -> None:
    """Both forms."""
    aims = targets.of(results)
    (out / "results.json").write_text(json.dumps(results.as_data(aims), indent=2) + "\n")
    (out / "results.md").write_text(results.as_markdown(aims))


if __name__ == "__main__":
    main()
