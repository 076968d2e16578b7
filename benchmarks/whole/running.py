"""Commands under watch, and the folders that they work in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.settings import PROJECT_ROOT

BENCHMARKS = PROJECT_ROOT / "benchmarks"
BENCH_PYTHON = PROJECT_ROOT / ".venv-bench" / "bin" / "python"
BESIDES = "start and end of the process"
QUIET = {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "RUNTIME__DLTHUB_TELEMETRY": "false"}


@dataclass(frozen=True)
class Ran:
    """One run of a command: seconds, and the bytes that it and its children held at most.

    What works for it beside it, such as the workers of a cluster, is stated apart. CPU seconds are of both.
    """

    seconds: float
    peak_bytes: int
    notes: dict[str, object] = field(default_factory=dict)
    beside_bytes: int = 0
    cpu_seconds: float = 0.0


class CommandError(RuntimeError):
    """A contender failed, so that there is nothing to compare."""


def watch(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    *,
    beside: Sequence[int] = (),
    most_seconds: float | None = None,
) -> Ran:
    """Run it to its end, what it prints going to `log`. Raises `CommandError`, also where it takes too long."""
    log.parent.mkdir(parents=True, exist_ok=True)
    result = log.with_suffix(".json")
    options = [f"--beside={','.join(map(str, beside))}", *([f"--most-seconds={most_seconds}"] if most_seconds else [])]
    watched = [BENCH_PYTHON, BENCHMARKS / "whole" / "watched.py", *options, result, *command]
    with log.open("w") as out:
        subprocess.run(
            [*map(str, watched)], env=os.environ | QUIET | environment, stdout=out, stderr=subprocess.STDOUT, check=True
        )
    found = json.loads(result.read_text())
    if found["exit_code"]:
        raise CommandError(f"{' '.join(map(str, command))} ended with {found['exit_code']}; it said:\n{_end(log)}")
    return Ran(
        found["seconds"],
        found["peak_bytes"],
        beside_bytes=found["beside_bytes"],
        cpu_seconds=found["cpu_seconds"] + found["beside_cpu_seconds"],
    )


def tool(name: str) -> Path:
    """A command of this environment."""
    return Path(sys.executable).with_name(name)


def podcast_environment(home: Path, landing: Path, seeds: Path) -> dict[str, str]:
    """A warehouse of its own, with the seconds of its steps in a log."""
    return {
        "PODCAST_HOME": str(home),
        "PODCAST_LANDING": str(landing),
        "PODCAST_SEEDS": str(seeds),
        "PODCAST_LOG_FILE": str(steps_log(home)),
    }


def run_pipeline(
    home: Path,
    landing: Path,
    seeds: Path,
    *,
    environment: Mapping[str, str] | None = None,
    beside: Sequence[int] = (),
    most_seconds: float | None = None,
) -> Ran:
    """`podcast run`, with further variables, and beside processes that work for it."""
    variables = podcast_environment(home, landing, seeds) | dict(environment or {})
    log = home.with_name(f"{home.name}-run.txt")
    return watch([tool("podcast"), "run"], variables, log, beside=beside, most_seconds=most_seconds)


def steps_log(home: Path) -> Path:
    """What the runs of a home have said of their steps."""
    return home.with_name(f"{home.name}-steps.log")


def steps(home: Path, ran: Ran) -> dict[str, float]:
    """Seconds of each step of the last run of a home, from its log; steps of one name are summed up.

    The last is what the process took besides, from its start to its end.
    """
    found: dict[str, float] = {}
    for said in last_run(home):
        if said.get("step") and said.get("seconds") is not None:
            found[said["step"]] = found.get(said["step"], 0.0) + float(said["seconds"])
    return found | {BESIDES: max(ran.seconds - sum(found.values()), 0.0)}


def longest_models(home: Path, count: int) -> dict[str, float]:
    """Seconds of the models that the last run of a home took longest for."""
    found: dict[str, float] = {}
    for said in last_run(home):
        for model, seconds in said.get("models", {}).items():
            found[model] = found.get(model, 0.0) + float(seconds)
    return dict(sorted(found.items(), key=lambda each: -each[1])[:count])


def last_run(home: Path) -> list[dict[str, Any]]:
    """What the log of a home has of its last run, line by line."""
    lines = [json.loads(line) for line in steps_log(home).read_text().splitlines()]
    began = [number for number, said in enumerate(lines) if said["message"] == "run began"]
    return lines[began[-1] :]


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
