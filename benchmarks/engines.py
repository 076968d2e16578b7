"""Growth of whole runs on DuckDB and on Spark, on the same files in one session; increments after each first load.

Writes results.json and results.md, after every engine at every size, into a folder named by the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from growth.engines import OPTIONS, Memory, conf, versions
from growth.measured import Growth
from growth.measuring import Options, measure
from whole import machine
from whole.session import Session
from whole.table import Results

from flows.settings import PROJECT_ROOT


def main() -> None:
    """Measure, and write after each engine at each size what there is."""
    arguments = _arguments()
    out = arguments.out / datetime.now(UTC).strftime("engines-%Y-%m-%dT%H%M%SZ")
    out.mkdir(parents=True)
    arguments.data.mkdir(parents=True, exist_ok=True)
    memory = Memory(arguments.driver_memory, arguments.executor_memory)
    growth = Growth(machine.described() | versions(), _stated(arguments, memory))
    options = Options(arguments.increments, memory, arguments.most_minutes, out)
    with tempfile.TemporaryDirectory(dir=arguments.out) as work:
        session = Session(
            data_root=arguments.data.resolve(),
            work=Path(work).resolve(),
            repeats=1,
            results=Results(growth.versions, 1),
            first_load_events=sorted(arguments.events),
            history_events=[],
            many_files=0,
        )
        for events in session.first_load_events:
            for engine in arguments.engines:
                measure(session, growth, OPTIONS[engine], events, options)
                _write(growth, out)
    print(growth.as_markdown())
    print(f"Written to {out}")


def _arguments() -> argparse.Namespace:
    kept = PROJECT_ROOT / "data" / "benchmarks"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--engines", nargs="+", choices=OPTIONS, default=list(OPTIONS), metavar="ENGINE")
    parser.add_argument("--increments", type=int, default=3, help="after each first load, of 10,000 events each")
    parser.add_argument("--driver-memory", default=Memory.driver)
    parser.add_argument("--executor-memory", default=Memory.executor, help="of each of two")
    parser.add_argument("--most-minutes", type=float, default=120, help="of one run, which is ended then")
    parser.add_argument("--data", type=Path, default=kept / "generated", help="keeps generated data")
    parser.add_argument("--out", type=Path, default=kept, help="where results go")
    return parser.parse_args()


def _stated(arguments: argparse.Namespace, memory: Memory) -> dict[str, str]:
    """What Spark was given, for the page; DuckDB has what the settings say where nothing is set."""
    if arguments.engines == ["duckdb"]:
        return {}
    sizes = f"driver {memory.driver}, executors {memory.executor} each; local[*] that of both executors"
    return {"Spark's memory": sizes, "Spark's options at the largest size": conf(max(arguments.events))}


def _write(growth: Growth, out: Path) -> None:
    """Both forms, each put in its place whole."""
    for name, content in (
        ("results.json", json.dumps(growth.as_data(), indent=2) + "\n"),
        ("results.md", growth.as_markdown()),
    ):
        (out / f"{name}.part").write_text(content)
        (out / f"{name}.part").rename(out / name)


if __name__ == "__main__":
    main()
