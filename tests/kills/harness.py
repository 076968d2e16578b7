"""Kill the real pipeline again and again, and count what that did to anybody's data.

    python tests/kills/harness.py --kills 1000 --seed 1

Runs are killed by SIGKILL at random times and at every named step (`boundaries.py`), one to eight in a row,
while files keep landing, get corrected and decided upon. Then one run may complete, and everything is
compared with the oracle. After each single kill both databases must open, and the published one must be what
it was or a complete new one. The counters on standard output must all be zero, or the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kills import checks, processes
from kills.boundaries import BOUNDARIES, Boundary
from kills.traffic import Traffic

CHAINS_PER_HOME = 5
LONGEST_CHAIN = 8
COMMAND_EVERY = 10
"""Every so many kills it is the command `podcast run` that is killed."""
TRIES = 3
"""A step that a run did not come to is tried again; a name that none comes to is reported."""
DOCUMENTATION = Path("dbt", "docs")
LABELS = {"manual": "manual steps"}
AT_RANDOM = {"fork": "at a random time", "command": "of the command"}
FIRST_GUESS = {"fork": 8.0, "command": 14.0}
"""Seconds that a run takes, until one has been measured."""


@dataclass
class Tally:
    """What was done, and what it did."""

    kills: int = 0
    chains: int = 0
    homes: int = 0
    completed: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in checks.KINDS})

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found wrong."""
        return not any(self.wrong.values())

    def never_reached(self) -> list[str]:
        """Named steps that were tried, and that no run came to."""
        return sorted(set(self.missed) - set(self.reached))

    def add(self, other: Tally) -> None:
        """Count another series too."""
        for name in ("kills", "chains", "homes", "completed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("by_kind", "reached", "missed"):
            getattr(self, name).update(getattr(other, name))
        for kind, found in other.wrong.items():
            self.wrong[kind] += found

    def save(self, path: Path) -> None:
        """For the process that adds up."""
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def load(cls, path: Path) -> Tally:
        """What `save` wrote."""
        saved = json.loads(path.read_text())
        return cls(**saved | {name: Counter(saved[name]) for name in ("by_kind", "reached", "missed")})

    def as_json(self) -> dict[str, Any]:
        """The counters, and everything that was found."""
        counts = {kind: len(found) for kind, found in self.wrong.items()}
        return counts | vars(self) | {"never_reached": self.never_reached()}

    def as_table(self) -> str:
        """The counters for a person; the last five have to be zero."""
        rows = [("kills", self.kills)]
        rows += [(f"  {kind}", count) for kind, count in sorted(self.by_kind.items())]
        rows += [(f"  steps reached, of {len(BOUNDARIES)}", len(self.reached))]
        rows += [("homes", self.homes), ("runs that completed", self.completed)]
        rows += [(LABELS.get(kind, kind), len(found)) for kind, found in self.wrong.items()]
        return "\n".join(f"{name:<24}{count:>8,}" for name, count in rows)


def deck(kills: int, choose: random.Random, steps: Sequence[Boundary]) -> Iterator[Boundary | None]:
    """Where to kill, in order; None is a random time. First every one of the steps, then more and more at random."""
    given, at_random = 0, len(steps) // 4
    while given < kills:
        cards = [*steps, *[None] * at_random]
        choose.shuffle(cards)
        yield from cards[: kills - given]
        given += len(cards)
        at_random = 2 * len(steps)


@dataclass
class Harness:
    """One series of kills; `scratch` holds the homes, of which those where something was wrong stay."""

    scratch: Path
    cards: list[Boundary | None]
    choose: random.Random
    name: str = ""
    tally: Tally = field(default_factory=Tally)
    lengths: dict[str, float] = field(default_factory=lambda: dict(FIRST_GUESS))
    published: checks.Published = field(default_factory=checks.Published)
    traffic: Traffic = field(init=False)

    def run(self) -> None:
        """All chains, with a progress line for each."""
        cards = list(self.cards)
        tries: Counter[str] = Counter()
        while cards:
            if self.tally.chains % CHAINS_PER_HOME == 0:
                self.move_to_a_new_home()
            was_clean = self.tally.is_clean
            for _ in range(min(len(cards), self.choose.randint(1, LONGEST_CHAIN))):
                card = cards.pop(0)
                if not self.kill_a_run(card) and tries[str(card)] < TRIES:
                    tries[str(card)] += card is not None
                    cards.append(card)
            self.complete()
            self.tally.chains += 1
            self.tell(len(cards))
            if was_clean and not self.tally.is_clean:
                say(f"what went wrong lies in {self.traffic.home}")

    def move_to_a_new_home(self) -> None:
        """The pages on the models, which say the same in every home, go along."""
        before = self.traffic.home if self.tally.homes else None
        self.tally.homes += 1
        self.traffic = Traffic(self.scratch / f"home-{self.tally.homes}", self.choose)
        if before and (before / DOCUMENTATION).exists():
            shutil.copytree(before / DOCUMENTATION, self.traffic.home / DOCUMENTATION)
        if before and self.tally.is_clean:
            shutil.rmtree(before)
        self.published = checks.Published()

    def kill_a_run(self, card: Boundary | None) -> bool:
        """One run that is to be killed; whether it was."""
        now, later = self.traffic.next_leg()
        self.traffic.land(now)
        way = "command" if card is None and self.is_turn_of_command() else "fork"
        if card and card.function == "transform.build_reference":
            self.traffic.turn_reference_data()
        full_refresh = self.choose.random() < 0.1
        events: list[tuple[float, Callable[[], None]]] = []
        child = self.start(way, card, full_refresh=full_refresh)
        length = self.lengths[way]
        if card is None:
            events.append((self.choose.uniform(0, length), partial(processes.kill, child)))
        events.append((self.choose.uniform(0, length), partial(self.traffic.land, later)))
        fate = processes.wait(child, events=events)
        self.traffic.land({name: content for name, content in later.items() if name not in self.traffic.landed})
        if not self.note(card, way, fate):
            return False
        self.look(checks.after_kill)
        return True

    def is_turn_of_command(self) -> bool:
        return self.tally.by_kind[AT_RANDOM["command"]] * COMMAND_EVERY <= self.tally.kills

    def note(self, card: Boundary | None, way: str, fate: processes.Fate) -> bool:
        """Enter how a run ended that was to be killed; whether it was."""
        if fate.was_killed:
            self.tally.kills += 1
            kind = "at a named step" if card else AT_RANDOM[way]
            self.tally.by_kind[kind] += 1
            self.tally.reached.update([str(card)] if card else [])
        elif card and fate.code == 0:
            self.tally.missed[str(card)] += 1
        elif fate.code:
            self.wrong("manual", f"a run ended by itself with code {fate.code}: {self.last_words()}")
        return fate.was_killed

    def start(self, way: str, card: Boundary | None = None, *, full_refresh: bool = False) -> int:
        """A run; returns its process id."""
        options: dict[str, Any] = {"log": self.log, "environment": self.traffic.settings}
        if way == "command":
            words = [processes.podcast_command(), "run", *(["--full-refresh"] if full_refresh else [])]
            return processes.spawn(words, **options)
        return processes.fork(partial(run_pipeline, card, full_refresh=full_refresh), **options)

    def complete(self) -> None:
        """One run that nobody kills, and the comparison of everything."""
        now, later = self.traffic.next_leg()
        self.traffic.land(now | later)
        way = "command" if self.choose.random() < 0.1 else "fork"
        fate = processes.wait(self.start(way))
        if fate.code:
            self.wrong("manual", f"the next run ended with code {fate.code}: {self.last_words()}")
            return
        self.lengths[way] = fate.seconds
        self.tally.completed += 1
        self.look(checks.after_completion)
        self.decide()

    def decide(self) -> None:
        """A person releases or discards a batch; the next runs, killed or not, have to carry it out."""
        if (decided := self.traffic.decide()) is None:
            return
        child = processes.fork(partial(carry_out, *decided), log=self.log, environment=self.traffic.settings)
        if processes.wait(child).code:
            self.wrong("manual", f"{decided} was refused: {self.last_words()}")

    def look(self, check: Callable[[checks.World, checks.Published], checks.Findings]) -> None:
        """Run the checks in a fork, since this process opens no database."""
        saved = self.scratch / "findings.json"
        saved.unlink(missing_ok=True)
        t = self.traffic
        world = checks.World(t.home, t.landed, t.contents, t.decisions)
        child = processes.fork(
            partial(save_findings, check, world, self.published, saved), log=self.log, environment={}
        )
        if processes.wait(child).code:
            self.wrong("unopenable", f"the check broke off: {self.last_words()}")
            return
        findings = checks.Findings.load(saved)
        self.published = findings.published
        for kind, found in findings.wrong.items():
            for what in found:
                self.wrong(kind, what)

    @property
    def log(self) -> Path:
        return self.traffic.home / "output.log"

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def wrong(self, kind: str, what: str) -> None:
        self.tally.wrong[kind].append(f"{self.name}chain {self.tally.chains + 1}: {what}")
        say(f"{self.name}{kind}: {what}")

    def tell(self, left: int) -> None:
        counters = ", ".join(f"{kind} {len(found)}" for kind, found in self.tally.wrong.items())
        say(f"{self.name}chain {self.tally.chains}: {self.tally.kills} kills, {left} to go; {counters}")


def run_pipeline(card: Boundary | None, *, full_refresh: bool) -> int:
    """One run in this process, which dies at the named step if one is given."""
    from flows.pipeline import podcast_pipeline

    if card:
        card.lay()
    podcast_pipeline(full_refresh=full_refresh)
    return 0


def carry_out(name: str, decision: str) -> int:
    """What `podcast quarantine` notes in the ledger, without the run that follows."""
    from flows import quarantine
    from flows.domain import Decision, Selection
    from flows.settings import load_settings
    from flows.warehouse import connect, writer_lock

    settings = load_settings()
    what = {"released": Decision.RELEASE, "discarded": Decision.DISCARD}[decision]
    with writer_lock(settings, purpose=what), connect(settings) as connection:
        chosen = quarantine.choose(connection, what, Selection((name,)))
        quarantine.decide(connection, what, chosen, reason="because")
    return 0


def save_findings(
    check: Callable[[checks.World, checks.Published], checks.Findings],
    world: checks.World,
    before: checks.Published,
    path: Path,
) -> int:
    """Check, and leave what was found for the process that asked."""
    check(world, before).save(path)
    return 0


def say(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - what a person at the terminal reads


def run_jobs(scratch: Path, cards: list[Boundary | None], *, seed: int, jobs: int) -> Tally:
    """Series of kills side by side, each in a fork with homes of its own and its share of the cards."""
    children = []
    for job in range(jobs):
        own = scratch / f"job-{job + 1}"
        own.mkdir()
        name = f"job {job + 1}, " if jobs > 1 else ""
        harness = Harness(own, cards[job::jobs], random.Random(f"{seed} {job}"), name)
        children.append((own, processes.fork(partial(run_job, harness, own / "tally.json"))))
    total = Tally()
    for own, child in children:
        if code := processes.wait(child, limit=None).code:
            total.wrong["manual"].append(f"the harness broke off with code {code}; its message stands above")
        else:
            total.add(Tally.load(own / "tally.json"))
    return total


def run_job(harness: Harness, result: Path) -> int:
    """One series, its result left in a file."""
    harness.run()
    harness.tally.save(result)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every kill was survived and every named step that was tried was reached."""
    options = read_options(arguments)
    scratch = (options.home or Path(tempfile.mkdtemp(prefix="kills-"))).absolute()
    first, every = options.steps
    steps = BOUNDARIES[first::every]
    kills = options.kills or len(steps) + len(steps) // 4
    cards = list(deck(kills, random.Random(options.seed), steps))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then, too
    with processes.prefect_server(scratch) as environment:
        os.environ.update(environment)
        # Locks of dbt's that every fork leaves behind are told of at the end otherwise.
        os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
        processes.import_heavy_libraries()
        processes.read_project(scratch / "project")
        for boundary in BOUNDARIES:
            boundary.check()
        tally = run_jobs(scratch, cards, seed=options.seed, jobs=options.jobs)
    sys.stdout.write((json.dumps(tally.as_json(), indent=2) if options.json else tally.as_table()) + "\n")
    if options.home is None and tally.is_clean:
        shutil.rmtree(scratch)
    return 0 if tally.is_clean and not tally.never_reached() else 1


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Kill the pipeline at random times and at every named step.")
    parser.add_argument("--kills", type=int, help="default: each of the named steps once, and some at random")
    parser.add_argument(
        "--steps",
        type=int,
        nargs=2,
        default=(0, 1),
        metavar=("FIRST", "EVERY"),
        help="of the named steps only every so many, from a first one on, which is 0 or more; default: all",
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same files and places (not times)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="series side by side; default: as cores")
    parser.add_argument("--home", type=Path, help="empty folder to work in, which stays; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
