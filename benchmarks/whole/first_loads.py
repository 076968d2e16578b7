"""The first load: all contenders in turn over the same files, and what the pipeline's steps and memory were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median

from whole import targets
from whole.comparing import differences
from whole.contending import FIRST_LOADS
from whole.data import Data
from whole.running import Ran, run_pipeline, size, steps, warm
from whole.session import Session


class NotEqualError(RuntimeError):
    """The hand-written script has made other tables than the pipeline: there is nothing to compare."""


def first_load(session: Session) -> None:
    """One table for each number of events."""
    for events in session.first_load_events:
        _first_load(session, events)


def _first_load(session: Session, events: int) -> None:
    data, table = session.data(events), targets.first_load(events)
    contenders = {name: contend for name, contend in FIRST_LOADS.items() if name not in session.left_out}
    rans: dict[str, list[Ran]] = {name: [] for name in contenders}
    sizes: dict[str, int] = {}
    taken: list[dict[str, float]] = []
    for repeat in range(session.repeats):
        folders = {}
        for name, contend in contenders.items():
            folders[name] = session.folder(f"first-{name}")
            warm(data.folder)
            ran, sizes[name] = contend(data, folders[name])
            rans[name].append(ran)
            session.say(f"{events:,} events, {repeat + 1} of {session.repeats}: {name} {ran.seconds:.1f} s")
        if repeat == 0:
            _refuse_differences(folders["pipeline"] / "home", folders["by hand"] / "by_hand.duckdb")
        taken.append(steps(folders["pipeline"] / "home", rans["pipeline"][-1]))
        for folder in folders.values():
            shutil.rmtree(folder)
    session.results.shares[table] = middle(taken)
    for name, of_name in rans.items():
        notes = _notes(of_name[-1], data, size_of_pipeline=name == targets.PIPELINE)
        session.add(table, name, of_name, rows=events, database_bytes=sizes[name], notes=notes)
    _add_notes(session)


def _refuse_differences(home: Path, by_hand: Path) -> None:
    if found := differences(home, by_hand):
        told = "; ".join(f"{table}: {ours} / {theirs}" for table, (ours, theirs) in found.items())
        raise NotEqualError(f"Rows that only the pipeline / only the hand-written script has: {told}")


def _notes(ran: Ran, data: Data, *, size_of_pipeline: bool) -> str:
    if size_of_pipeline:
        return f"{size(data.landing) / 1e6:,.0f} MB of files; working and published database"
    counts = ran.notes.get("rows")
    if not isinstance(counts, dict):
        return ""
    answers = json.loads((data.folder / "answers.json").read_text())
    totals = answers["totals"]
    loaded, *facts = counts.values()
    lines = f"{loaded:,} of {totals['lines']:,} lines, {totals['malformed']:,} of which are malformed"
    return lines + (f"; {facts[0]:,} of {totals['facts']:,} facts" if facts else "")


def middle(taken: list[dict[str, float]]) -> dict[str, float]:
    """The median of each step."""
    return {step: median(t.get(step, 0.0) for t in taken) for step in dict.fromkeys(step for t in taken for step in t)}


NOTES = """
by hand: after the first repeat its tables were found equal to the published ones, row by row (`except all` both
ways); of times of loading the file is compared, of floating point numbers 12 digits.

by hand does not treat as strictly: NaN, Infinity and commas before a closing bracket, equal keys of one object,
numbers such as 1e3, blank lines of other white space than spaces and tabs, seconds with a decimal comma. The generated
files have none of these. It makes no raw table beside the validated one, no ledger, no history, no published copy.

dbt build: the lines are loaded by the pipeline before, which is not timed; models and data tests, no unit tests.

dlt: loading only, by its filesystem source. Its own reader of JSON lines stops the load at a malformed line, so that
one of our own leaves those out.

plain dbt: `read_ndjson` with `ignore_errors`; a malformed line loses its text, and all lines their numbers; ids are
trimmed of spaces only, as usual. One fact table and two dimensions.

Users are Parquet, made by DuckDB from the users.csv of the generator; episodes are CSV. No file is bad for a gate.
"""


def _add_notes(session: Session) -> None:
    session.results.notes = [" ".join(note.split()) for note in NOTES.strip().split("\n\n")]


def step_shares(session: Session) -> None:
    """Seconds of each step at the largest first load."""
    _pipeline_alone(session, session.first_load_events[-1:])


def memory(session: Session) -> None:
    """The most that the tree held, for each first load."""
    _pipeline_alone(session, session.first_load_events)


def _pipeline_alone(session: Session, sizes: list[int]) -> None:
    """What the first loads have not told already, by one run."""
    for events in sizes:
        table = targets.first_load(events)
        if session.results.row(table, targets.PIPELINE):
            continue
        data, folder = session.data(events), session.folder("alone")
        warm(data.folder)
        ran = run_pipeline(folder / "home", data.landing, data.seeds)
        session.results.shares[table] = steps(folder / "home", ran)
        held = size(folder / "home" / "warehouse")
        session.add(table, targets.PIPELINE, [ran], rows=events, database_bytes=held, notes="one run alone")
        shutil.rmtree(folder)
