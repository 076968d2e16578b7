"""What a run costs that has little to do: increments, tiny files, many files, nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from whole import targets
from whole.contending import dbt_command, dbt_environment, settings_of
from whole.data import Data, add_file, linked
from whole.first_loads import middle
from whole.running import (
    Ran,
    longest_models,
    podcast_environment,
    run_pipeline,
    size,
    steps,
    tool,
    warm,
    watch,
)
from whole.session import Session

NEW_EVENTS = 10_000
LONGEST_MODELS = 6
TINY_EVENTS = 100
FIXED_HISTORY = 20_000
SMALL_FILES = 1_000
FILES_A_FOLDER = 1_000


def published(session: Session, events: int, folder: Path) -> Data:
    """A history that is published, in files that others can be added to."""
    history = linked(session.data(events), folder / "history")
    ran = run_pipeline(folder / "home", history.landing, history.seeds)
    session.say(f"a history of {events:,} events is published, in {ran.seconds:.1f} s")
    return history


def users_of(events: int) -> int:
    """As many as the generator gives a history, so that new events are of the same users."""
    return max(50, events // 20)


def increment(session: Session) -> None:
    """One new file on histories of several sizes; each repeat adds its own."""
    for events in session.history_events:
        folder = session.folder("increment")
        history = published(session, events, folder)
        rans, taken = [], []
        for repeat in range(session.repeats):
            new = session.data(NEW_EVENTS, files=1, seed=101 + repeat, users=users_of(events))
            add_file(history, new, f"new-{repeat}")
            rans.append(run_pipeline(folder / "home", history.landing, history.seeds))
            taken.append(steps(folder / "home", rans[-1]))
            session.say(f"{NEW_EVENTS:,} new events onto {events:,}: {rans[-1].seconds:.1f} s")
        longest = longest_models(folder / "home", LONGEST_MODELS)
        told = "the last run's longest models, in s: " + ", ".join(f"{name} {s:.1f}" for name, s in longest.items())
        session.add(targets.INCREMENTS, targets.increment(events), rans, rows=NEW_EVENTS, notes=told)
        session.results.shares[f"{targets.INCREMENTS} {targets.increment(events)}"] = middle(taken)
        shutil.rmtree(folder)


def fixed(session: Session) -> None:
    """A tiny file beside `dbt run`, a run with nothing new, and what only looks."""
    folder = session.folder("fixed")
    history = published(session, FIXED_HISTORY, folder)
    home = folder / "home"
    environment = podcast_environment(home, history.landing, history.seeds)
    settings = settings_of(home, history)
    rans: dict[str, list[Ran]] = {}
    for repeat in range(session.repeats):
        new = session.data(TINY_EVENTS, files=1, seed=201 + repeat, users=users_of(FIXED_HISTORY), dirty=0)
        add_file(history, new, f"tiny-{repeat}")
        took = {
            targets.TINY: run_pipeline(home, history.landing, history.seeds),
            targets.DBT_RUN: watch(dbt_command("run", settings, folder), dbt_environment(settings), folder / "dbt.txt"),
            targets.NOTHING: run_pipeline(home, history.landing, history.seeds),
            targets.HELP: watch([tool("podcast"), "--help"], environment, folder / "help.txt"),
            targets.STATUS: watch([tool("podcast"), "status"], environment, folder / "status.txt"),
        }
        for name, ran in took.items():
            rans.setdefault(name, []).append(ran)
    for name, of_name in rans.items():
        session.add(targets.FIXED, name, of_name)
    shutil.rmtree(folder)


def small_files(session: Session) -> None:
    """Many small files in one run, beside one with the same lines."""
    data = session.data(SMALL_FILES * TINY_EVENTS, files=SMALL_FILES)
    one = joined(data, session.folder("joined"))
    forms = {f"{SMALL_FILES:,} files": data, targets.SMALL_ONE: one}
    rans: dict[str, list[Ran]] = {name: [] for name in forms}
    for _ in range(session.repeats):
        for name, form in forms.items():
            folder = session.folder("small")
            warm(form.folder)
            rans[name].append(run_pipeline(folder / "home", form.landing, form.seeds))
            shutil.rmtree(folder)
    for name, of_name in rans.items():
        session.add(targets.SMALL, name, of_name, rows=SMALL_FILES * TINY_EVENTS)


def joined(data: Data, folder: Path) -> Data:
    """All lines of all files in one, in order of file name."""
    from contenders.by_hand import opened

    shutil.copytree(data.seeds, folder / "seeds")
    one = Data(folder)
    one.landing.mkdir()
    with (one.landing / "all.json").open("wb") as out:
        for path in sorted(path for path in data.landing.rglob("*") if path.is_file()):
            with opened(path) as file:
                out.write(file.read().removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n") + b"\n")
    return one


def many_files(session: Session) -> None:
    """A run with nothing new over many files of a line each, which one run of the pipeline has loaded before."""
    folder, count = session.folder("many"), session.many_files
    history = scattered(session.data(count, dirty=0), folder / "history", count)
    load = run_pipeline(folder / "home", history.landing, history.seeds)
    made = f"loaded by the pipeline in one run of {load.seconds:,.0f} s, at most {load.peak_bytes / 1e9:.2f} GB"
    rans = [run_pipeline(folder / "home", history.landing, history.seeds) for _ in range(session.repeats)]
    held = size(folder / "home" / "warehouse")
    session.add(targets.MANY, f"{count:,} files", rans, database_bytes=held, notes=made)
    shutil.rmtree(folder)


def scattered(data: Data, folder: Path, count: int) -> Data:
    """The first so many lines that are not blank, each in a file of its own."""
    from contenders.by_hand import opened

    shutil.copytree(data.seeds, folder / "seeds")
    many, number = Data(folder), 0
    for path in sorted(path for path in data.landing.rglob("*") if path.is_file()):
        with opened(path) as file:
            for line in file:
                if not line.strip() or number == count:
                    continue
                into = many.landing / f"{number // FILES_A_FOLDER:04d}"
                into.mkdir(parents=True, exist_ok=True)
                (into / f"event-{number:07d}.json").write_bytes(line.removeprefix(b"\xef\xbb\xbf"))
                number += 1
    return many
