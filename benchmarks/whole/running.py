"""Commands under watch, and the folders that they work in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.settings import PROJECT_ROOT

BENCHMARKS = PROJECT_ROOT / "benchmarks"
BENCH_PYTHON = PROJECT_ROOT / ".venv-bench" / "bin" / "python"
BESIDES = "start and end of the process"
QUIET = {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "RUNTIME__DLTHUB_TELEMETRY": "false"}


@dataclass(frozen=True)
class Ran:
    """One run of a command: seconds, and the bytes that it and its children held at most."""

    seconds: float
    peak_bytes: int
    notes: dict[str, object] = field(default_factory=dict)


class CommandError(RuntimeError):
    """A contender failed, so that there is nothing to compare."""


def watch(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> Ran:
    """Run it to its end, what it prints going to `log`. Raises `CommandError`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    result = log.with_suffix(".json")
    watched: list[str | Path] = [BENCH_PYTHON, BENCHMARKS / "whole" / "watched.py", result, *command]
    with log.open("w") as out:
        subprocess.run(
            [*map(str, watched)], env=os.environ | QUIET | environment, stdout=out, stderr=subprocess.STDOUT, check=True
        )
    found = json.loads(result.read_text())
    if found["exit_code"]:
        raise CommandError(f"{' '.join(map(str, command))} ended with {found['exit_code']}; it said:\n{_end(log)}")
    return Ran(found["seconds"], found["peak_bytes"])


def tool(name: str) -> Path:
    """A command of this environment."""
    return Path(sys.executable).with_name(name)


def podcast_environment(home: Path, landing: Path, seeds: Path) -> dict[str, str]:
    """A warehouse of its own, with the seconds of its steps in a log."""
    return {
        "PODCAST_HOME": str(home),
        "PODCAST_LANDING": str(landing),
        "PODCAST_SEEDS": str(seeds),
        "PODCAST_LOG_FILE": str(home.with_name(f"{home.name}-steps.log")),
    }


def run_pipeline(home: Path, landing: Path, seeds: Path) -> Ran:
    """`podcast run`."""
    environment = podcast_environment(home, landing, seeds)
    return watch([tool("podcast"), "run"], environment, home.with_name(f"{home.name}-run.txt"))


def steps(home: Path, ran: Ran) -> dict[str, float]:
    """Seconds of each step of the one run of a home, from its log; steps of one name are summed up.

    The last is what the process took besides, from its start to its end.
    """
    found: dict[str, float] = {}
    for line in home.with_name(f"{home.name}-steps.log").read_text().splitlines():
        said = json.loads(line)
        if said.get("step") and said.get("seconds") is not None:
            found[said["step"]] = found.get(said["step"], 0.0) + float(said["seconds"])
    return found | {BESIDES: max(ran.seconds - sum(found.values()), 0.0)}


def warm(folder: Path) -> None:
    """Read every file, so that each contender finds the same in the page cache."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(2**24):
                    pass


def size(*paths: Path) -> int:
    """Bytes of files and folders together."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    return sum(file.stat().st_size for file in files)


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:])
