"""What the report of a run costs after 10, 100 and 1,000 runs.

One real run over the sample; its history is then multiplied, rows and files, as if as many runs had
been before, with the pages of the newest `PODCAST_DOCS_KEPT` there. What is measured is the site of one more run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import PROJECT_ROOT, Settings, load_settings

if TYPE_CHECKING:
    import duckdb

    from flows.domain import RunSummary

REPEATS = 5
COPIED = {
    "ops.runs": ("run_id",),
    "ops.run_steps": ("run_id",),
    "ops.validation_results": ("run_id", "batch_id"),
    "ops.batches": ("run_id", "batch_id"),
    "ops.batch_profiles": ("batch_id",),
}
"""Tables of the history, with the ids that each copy of a row needs for itself."""


@dataclass(frozen=True)
class Measured:
    """One size of history: seconds of each repeat, and what lies on disk afterwards."""

    runs: int
    seconds: tuple[float, ...]
    files: int
    megabytes: float


def main() -> None:
    """Measure and print a table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100, 1000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = first_run(Path(folder) / "home")
        measured = [measure(home, runs) for runs in sorted(arguments.runs)]
    print(f"Reporting of one run, median of {REPEATS}, {load_settings().docs_kept} runs kept\n")
    print("| runs before | seconds | fastest | slowest | files of the site | MB |\n|---|---|---|---|---|---|")
    for m in measured:
        times = f"{statistics.median(m.seconds):.2f} | {min(m.seconds):.2f} | {max(m.seconds):.2f}"
        print(f"| {m.runs:,} | {times} | {m.files:,} | {m.megabytes:.1f} |")


def first_run(home: Path) -> Settings:
    """A home with one run over the sample."""
    os.environ |= {"PODCAST_HOME": str(home), "PODCAST_LANDING": str(PROJECT_ROOT / "data" / "landing")}
    subprocess.run([Path(sys.executable).with_name("podcast"), "run"], check=True, stdout=subprocess.DEVNULL)
    return load_settings()


def measure(settings: Settings, runs: int) -> Measured:
    """Grow the history to so many runs, and build the site of the real one, which is the newest, again and again."""
    from flows.site import build
    from flows.warehouse import connect

    seconds = []
    with connect(settings) as connection:
        grow(settings, connection, runs)
        summary = newest(connection)
        build.build(settings, connection, summary)  # prunes, and warms up
        for _ in range(REPEATS):
            began = time.perf_counter()
            build.build(settings, connection, summary)
            seconds.append(time.perf_counter() - began)
    files = [path for path in settings.site_dir.rglob("*") if path.is_file()]
    return Measured(runs, tuple(seconds), len(files), sum(path.stat().st_size for path in files) / 2**20)


def newest(connection: duckdb.DuckDBPyConnection) -> RunSummary:
    """The real run, as its report sees it."""
    from flows import history
    from flows.domain import RunStatus, RunSummary

    run = history.last_runs(connection, 1)[0]
    return RunSummary(run["run_id"], RunStatus.PASSED, run["started_at"], run["finished_at"])


def grow(settings: Settings, connection: duckdb.DuckDBPyConnection, runs: int) -> None:
    """Copies of the real run, each an hour before the next, and the files of those whose files are kept."""
    (there,) = connection.execute("select count(*) from ops.runs").fetchone() or (0,)
    real = newest(connection).run_id
    for table, ids in COPIED.items():
        replaced = [f"{name} || '-' || n as {name}" for name in ids]
        if table == "ops.runs":
            replaced += [f"{name} - to_hours(n::integer) as {name}" for name in ("started_at", "finished_at")]
        if table == "ops.batches":
            replaced += ["case status when 'quarantined' then 'discarded' else status end as status"]
        of_the_real = "run_id = $real" if "run_id" in ids else "strpos(batch_id, '-') = 0"
        connection.execute(
            f"insert into {table} select old.* replace ({', '.join(replaced)}) "
            f"from {table} as old, range($there, $runs) as r(n) where {of_the_real}",
            {"there": there, "runs": runs} | ({"real": real} if "run_id" in ids else {}),
        )
    for number in range(there, min(runs, settings.docs_kept)):
        copy_files(settings, real, f"{real}-{number}")


def copy_files(settings: Settings, real: str, copied: str) -> None:
    """Results, Data Docs and page of a run, under another id."""
    for folder in (settings.home / "gx" / "validation_results", settings.site_dir / "data_docs" / "validations"):
        for path in folder.glob(f"*/{real}"):
            shutil.copytree(path, path.with_name(copied))
    shutil.copyfile(settings.site_dir / "runs" / f"{real}.html", settings.site_dir / "runs" / f"{copied}.html")


if __name__ == "__main__":
    main()
