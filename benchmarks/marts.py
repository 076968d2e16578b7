"""What the gold layer costs with a history of so many events: made anew, and by a run with ten thousand new ones."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEW_EVENTS = 10_000
KEYED = (
    "touched_listening",
    "fact_listens",
    "episode_daily",
    "listener_daily",
    "listener_episodes",
    "episode_listen_through",
)
"""Recomputed for what a run touches."""
WHOLE = (
    "country_listen_through",
    "episode_release_curve",
    "listener_cohort_retention",
    "episode_transitions",
    "dim_podcasts",
    "dim_dates",
)
"""Worked out anew by each run."""


TIMED = """
import json
from flows import cli, transform

build_layer, seconds = transform.build_layer, {}

def timed(settings, layer, **options):
    built = build_layer(settings, layer, **options)
    seconds.update((model.name, model.seconds) for model in built)
    return built

transform.build_layer = timed
try:
    cli.main()
finally:
    print(json.dumps(seconds))
"""
"""The command, and after what it prints the seconds of each model."""


def main() -> None:
    """Measure and print a table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000])
    arguments = parser.parse_args()
    print(f"Seconds of dbt for each model, history made anew / {NEW_EVENTS:,} new events\n")
    columns = [measure(events) for events in arguments.events]
    print("| model |" + "".join(f" {events:,} events |" for events in arguments.events))
    print("|---|" + "---|" * len(columns))
    for model in (*KEYED, *WHOLE):
        print(f"| `{model}` |" + "".join(f" {whole[model]:.2f} / {new[model]:.2f} |" for whole, new in columns))


def measure(events: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by model: of a full refresh, and of a run with new events."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "history", events=events, files=20, seed=1)
        home = root / "home"
        run(home, root / "history")
        whole = run(home, root / "history", "--full-refresh")
        generate(root / "new", events=NEW_EVENTS, files=1, seed=2)
        (new,) = [path for path in (root / "new" / "landing").rglob("*") if path.is_file()]
        shutil.copyfile(new, root / "history" / "landing" / f"new-{new.name}")
        return whole, run(home, root / "history")


def generate(out: Path, *, events: int, files: int, seed: int) -> None:
    """Events of users and episodes that are the same for every seed."""
    options = ["--events", events, "--files", files, "--dirty", 0.01, "--seed", seed, "--out", out]
    subprocess.run([podcast(), "generate", *map(str, options)], check=True, stdout=subprocess.DEVNULL)


def run(home: Path, generated: Path, *options: str) -> dict[str, float]:
    """Seconds of dbt by model of the gold layer, which is the last that a run builds."""
    folders = {"HOME": home, "LANDING": generated / "landing", "SEEDS": generated / "seeds"}
    environment = os.environ | {f"PODCAST_{name}": str(path) for name, path in folders.items()}
    timed = [sys.executable, "-c", TIMED, "run", "--json", *options]
    done = subprocess.run(timed, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def podcast() -> str:
    """The command of this environment."""
    return str(Path(sys.executable).with_name("podcast"))


if __name__ == "__main__":
    main()
