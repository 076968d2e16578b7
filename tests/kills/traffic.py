"""What lands between the kills: files of every kind, corrections of held-back ones, and people's decisions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import oracle
from comparison import write_reference_data
from lines import event, lines
from strategies import EPISODES, USERS, big_landing

KNOWN_USERS, KNOWN_EPISODES = list(USERS[:-2]), list(EPISODES[:-2])
FILES = 12
NOW = datetime(2026, 6, 1)  # noqa: DTZ001 - UTC without a zone; no event is near any time at which files are loaded


# One file for each gate that a file can fail at, so that every step of a run has something to do.
HELD_BACK = {
    "malformed.json": lines(event(1), event(2, duration=77), "{"),
    "invalid.json": lines(event(3, duration=88), event(4, duration=0)),
    "unknown.json": lines(event(5, duration=99), *(event(minute, user="nobody") for minute in range(30, 33))),
}


@dataclass
class Traffic:
    """The landing directory of one home, as the oracle has to know it."""

    home: Path
    choose: random.Random
    landed: dict[str, bytes] = field(default_factory=dict)
    contents: list[tuple[str, bytes]] = field(default_factory=list)
    decisions: dict[str, oracle.Decision] = field(default_factory=dict)
    legs: int = 0
    turned: bool = False

    def __post_init__(self) -> None:
        (self.home / "landing").mkdir(parents=True)
        write_reference_data(self.home / "seeds", KNOWN_USERS, KNOWN_EPISODES)

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a run over this home."""
        return {
            "PODCAST_HOME": str(self.home),
            "PODCAST_SEEDS": str(self.home / "seeds"),
            "PODCAST_SETTLE_SECONDS": "0",
        }

    def next_leg(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Files to land before the next run, and files to land in the middle of it."""
        self.legs += 1
        new = big_landing(self.choose.getrandbits(32), FILES)
        named = [(f"{self.legs:03}/{name}", content) for name, content in sorted(new.items())]
        self.choose.shuffle(named)
        cut = self.choose.randrange(1, FILES)
        before = {f"{self.legs:03}-{name}": content for name, content in HELD_BACK.items()}
        before |= dict(named[:cut])
        if self.choose.random() < 0.5:
            before |= self._correction()
        return before, dict(named[cut:])

    def turn_reference_data(self) -> None:
        """The same rows in the other order: other files, and a version of the reference data that changes nothing."""
        self.turned = not self.turned
        step = -1 if self.turned else 1
        write_reference_data(self.home / "seeds", list(KNOWN_USERS)[::step], list(KNOWN_EPISODES)[::step])

    def land(self, files: Mapping[str, bytes]) -> None:
        """Whole files appear by a rename, as a careful sender does it."""
        for name, content in files.items():
            path = self.home / "landing" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.home / "unfinished"
            unfinished.write_bytes(content)
            unfinished.replace(path)
            self.landed[name] = content
            self.contents.append((name, content))

    def decide(self) -> tuple[str, oracle.Decision] | None:
        """A held-back file and what somebody decides about it, now and then."""
        candidates = [name for name in self.held_back() if self.decisions.get(name) is None]
        if not candidates or self.choose.random() < 0.5:
            return None
        name = self.choose.choice(candidates)
        has_rows = bool(_evaluate(name, self.landed[name]).raw)
        decision: oracle.Decision = self.choose.choice(("released", "discarded")) if has_rows else "discarded"
        self.decisions[name] = decision
        return name, decision

    def _correction(self) -> dict[str, bytes]:
        """Another content, good or bad, under the name of a file that is held back or discarded."""
        candidates = [name for name in self.held_back() if self.decisions.get(name) != "released"]
        if not candidates:
            return {}
        name = self.choose.choice(candidates)
        suffix = Path(name).suffix
        alike = [
            content
            for other, content in sorted(big_landing(self.choose.getrandbits(32), 2 * FILES).items())
            if Path(other).suffix == suffix and content != self.landed[name]
        ]
        if not alike:
            return {}
        self.decisions.pop(name, None)
        return {name: self.choose.choice(alike)}

    def held_back(self) -> list[str]:
        """The files that no gate lets pass, whatever was decided about them."""
        return [n for n, c in sorted(self.landed.items()) if _evaluate(n, c).statuses[n] == "quarantined"]


@cache
def _evaluate(name: str, content: bytes) -> oracle.World:
    """What becomes of a file by its content alone."""
    return evaluate([oracle.Batch(name, content, NOW)])


def evaluate(batches: list[oracle.Batch]) -> oracle.World:
    """The oracle's word with the reference data of these homes and the rules as they are by default."""
    return oracle.evaluate(batches, KNOWN_USERS, KNOWN_EPISODES, rules=oracle.Rules(), thresholds=oracle.Thresholds())
