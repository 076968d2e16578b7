"""What loading costs whoever takes the lines apart: the run, processes of its machine, or workers of Dask on it.

Whole runs over the same files, in turn; prints a table in markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from growth.dask_cluster import start_cluster
from whole.data import Data, made
from whole.running import Ran, run_pipeline, steps, warm

from flows.settings import PROJECT_ROOT


def main() -> None:
    """Measure all that is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=PROJECT_ROOT / "data" / "benchmarks" / "generated")
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    data = made(arguments.data.resolve(), events=arguments.events, files=10)
    forms = ["threads", "processes", *(["dask"] if find_spec("prefect_dask") else [])]
    taken: dict[str, list[tuple[Ran, float]]] = {form: [] for form in forms}
    for _ in range(arguments.repeats):
        for form in forms:
            taken[form].append(measure(form, data))
    print(f"{arguments.events:,} events in 10 files, medians of {arguments.repeats}\n")
    print(
        "| `PODCAST_LOADING` | step `load`, s | whole run, s | CPU s, workers included | memory | of Dask beside it |"
    )
    print("|---|---|---|---|---|---|")
    for form, runs in taken.items():
        rans = [ran for ran, _ in runs]
        print(
            f"| `{form}` | {median(load for _, load in runs):.1f} | {median(ran.seconds for ran in rans):.1f} "
            f"| {median(ran.cpu_seconds for ran in rans):.1f} | {max(ran.peak_bytes for ran in rans) / 1e9:.2f} GB "
            f"| {max(ran.beside_bytes for ran in rans) / 1e9:.2f} GB |"
        )


def measure(form: str, data: Data) -> tuple[Ran, float]:
    """One first load, and the seconds of its loading."""
    with tempfile.TemporaryDirectory() as folder, workers(form, Path(folder)) as (settings, pids):
        home = Path(folder) / "home"
        warm(data.folder)
        environment = {"PODCAST_LOADING": form} | settings
        ran = run_pipeline(home, data.landing, data.seeds, environment=environment, beside=pids)
        return ran, steps(home, ran)["load"]


@contextmanager
def workers(form: str, folder: Path) -> Iterator[tuple[dict[str, str], list[int]]]:
    """A cluster of Dask on this machine, if that is the form."""
    if form != "dask":
        yield {}, []
        return
    with start_cluster(folder, workers=os.cpu_count() or 1) as cluster:
        yield {"PODCAST_DASK_SCHEDULER": cluster.address}, [cluster.pid]


if __name__ == "__main__":
    main()
