"""The load step alone: lossless by the pipeline, or typed by the engine's own reader, into the same columns.

Run as a process of its own for each form, which prints the seconds from the first byte to the checkpoint.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from flows import loading
from flows.planning import plan_run
from flows.settings import load_settings
from flows.warehouse import connect, utc_now
from whole import targets
from whole.running import BENCHMARKS, Ran, podcast_environment, tool, warm, watch
from whole.session import Session

TYPED = """
insert into bronze.raw_events by name
select
    filename as batch_id, filename, null::bigint as line_number, event_type, user_id, episode_id, "timestamp", duration,
    false as is_malformed, false as has_further_keys, $now as load_at
from read_ndjson(
    $glob,
    columns = {
        event_type: 'varchar', user_id: 'varchar', episode_id: 'varchar', "timestamp": 'varchar', duration: 'varchar'
    },
    ignore_errors = true,
    filename = true
)
"""


def load_step(session: Session) -> None:
    """Both forms in turn, at the smallest first load."""
    events = session.first_load_events[0]
    data = session.data(events)
    rans: dict[str, list[Ran]] = {targets.LOSSLESS: [], targets.TYPED: []}
    for _ in range(session.repeats):
        for form, of_form in rans.items():
            folder = session.folder("loading")
            warm(data.folder)
            environment = podcast_environment(folder / "home", data.landing, data.seeds)
            environment |= {"PYTHONPATH": str(BENCHMARKS)}
            log = folder / "run.txt"
            ran = watch([tool("python"), "-m", "whole.load_step", form], environment, log)
            of_form.append(Ran(float(log.read_text().split()[-1]), ran.peak_bytes))
            shutil.rmtree(folder)
    for form, of_form in rans.items():
        session.add(targets.LOADING, form, of_form, rows=events)


def main() -> None:
    """One form in this process."""
    form = sys.argv[1]
    settings = load_settings()
    with connect(settings) as connection:
        plan = plan_run(settings, connection)
        began = time.perf_counter()
        if form == targets.LOSSLESS:
            loading.load_files(connection, plan.arrivals, run_id="benchmark")
        else:
            glob = str(Path(os.environ["PODCAST_LANDING"]) / "**" / "*.json*")
            connection.execute(TYPED, {"glob": glob, "now": utc_now()})
        connection.execute("checkpoint")
        print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
