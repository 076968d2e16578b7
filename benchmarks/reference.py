"""What users in the millions cost as reference data, as Parquet and as a folder of CSV parts.

For each number of users and each form: the check, the hash of the files, the first build, the look of a run for which
nothing changed, and the build after a thousandth of the users got another country. Seconds of this process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PARTS = 8
FORMS = {"Parquet": "format parquet", "CSV parts": "format csv, header"}


@dataclass(frozen=True)
class Measured:
    """One number of users in one form: megabytes on disk, and seconds."""

    users: int
    form: str
    megabytes: float
    check: float
    hash: float
    first_build: float
    unchanged: float
    changed_build: float


def main() -> None:
    """Measure and print a table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1_000_000, 5_000_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure(Path(folder), users, form) for users in arguments.users for form in FORMS]
    print(f"Reference data, seconds; {os.cpu_count()} cores, {platform.machine()}\n")
    print("| users | form | MB | check | hash | first build | unchanged | changed build |")
    print("|---|---|---|---|---|---|---|---|")
    for m in measured:
        seconds = (m.check, m.hash, m.first_build, m.unchanged, m.changed_build)
        print(f"| {m.users:,} | {m.form} | {m.megabytes:,.0f} | {' | '.join(f'{s:.2f}' for s in seconds)} |")
    print(f"\nMost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


def measure(folder: Path, users: int, form: str) -> Measured:
    """In a home of its own."""
    home, seeds = folder / "home", folder / "reference"
    for left in (home, seeds):
        shutil.rmtree(left, ignore_errors=True)
    os.environ |= {"PODCAST_HOME": str(home), "PODCAST_SEEDS": str(seeds), "PREFECT_LOGGING_LEVEL": "ERROR"}
    make(seeds, 1, form, changed=False)
    built()  # dbt has read its project, as in a run; and then there is a first version
    shutil.rmtree(home)
    make(seeds, users, form, changed=False)
    megabytes = sum(path.stat().st_size for path in seeds.rglob("*") if path.is_file()) / 2**20
    check, hashed, first = checked(), hashed_anew(), built()
    unchanged = built()
    make(seeds, users, form, changed=True)
    return Measured(users, form, megabytes, check, hashed, first, unchanged, built())


def make(seeds: Path, users: int, form: str, *, changed: bool) -> None:
    """Users in parts, and no episodes."""
    import duckdb

    shutil.rmtree(seeds, ignore_errors=True)
    (seeds / "users").mkdir(parents=True)
    (seeds / "episodes.csv").write_text("episode_id,podcast_id,title,release_date,duration_seconds\n")
    country = f"case when {changed} and n % 1000 = 0 then 'XX' else substr('NOSEDKFIUSDEFRGB', n % 8 * 2 + 1, 2) end"
    columns = f"md5(n::varchar) as user_id, date '2020-01-01' + (n % 2000)::int as signup_date, {country} as country"
    suffix = "parquet" if form == "Parquet" else "csv"
    for part in range(PARTS):
        rows = f"select {columns} from range({users}) as r(n) where n % {PARTS} = {part}"
        duckdb.connect().execute(f"copy ({rows}) to '{seeds}/users/part-{part}.{suffix}' ({FORMS[form]})")


def checked() -> float:
    """Seconds of the check."""
    from flows import reference
    from flows.settings import load_settings

    settings, began = load_settings(), time.perf_counter()
    reference.check(settings.seeds, memory_limit=settings.memory_limit)
    return time.perf_counter() - began


def hashed_anew() -> float:
    """Seconds of a hash that no earlier one helps."""
    from flows import reference_files
    from flows.settings import load_settings

    reference_files.forget()
    settings, began = load_settings(), time.perf_counter()
    reference_files.content_hash(settings.seeds)
    return time.perf_counter() - began


def built() -> float:
    """Seconds of what the task `build reference` does; nothing is built when nothing changed."""
    from flows import reference_files, transform, versions
    from flows.settings import load_settings
    from flows.warehouse import connect

    reference_files.forget()
    settings, began = load_settings(), time.perf_counter()
    content = settings.reference_hash()
    with connect(settings) as connection:
        if not versions.is_current(connection, content):
            versions.enter(connection, content)
            transform.build_reference(settings)
            versions.mark_built(connection)
            connection.execute("checkpoint")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
