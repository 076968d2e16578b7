"""Of the log of a home, the benchmark takes what its last run has told."""

from __future__ import annotations

import json
from pathlib import Path

from whole.running import BESIDES, Ran, longest_models, steps, steps_log

LOG = (
    {"message": "run began"},
    {"message": "10 files", "step": "load", "seconds": 90.0},
    {"message": "2 models", "step": "build gold", "seconds": 80.0, "models": {"of before": 70.0}},
    {"message": "run began"},
    {"message": "1 file", "step": "load", "seconds": 1.0},
    {"message": "2 files", "step": "load", "seconds": 2.0},
    {"message": "3 models", "step": "build gold", "seconds": 4.0, "models": {"a": 1.0, "b": 2.0, "c": 0.5}},
    {"message": "2 models", "step": "build gold", "seconds": 1.0, "models": {"a": 1.5}},
    {"message": "begun", "step": "publish", "seconds": None},
    {"message": "run ended"},
)


def home_with(log: tuple[dict[str, object], ...], tmp_path: Path) -> Path:
    home = tmp_path / "home"
    steps_log(home).write_text("".join(json.dumps(said) + "\n" for said in log))
    return home


def test_steps_are_those_of_the_last_run_and_what_is_left_of_its_seconds(tmp_path: Path) -> None:
    found = steps(home_with(LOG, tmp_path), Ran(10.0, 0))
    assert found == {"load": 3.0, "build gold": 5.0, BESIDES: 2.0}


def test_models_are_those_of_the_last_run_the_longest_first(tmp_path: Path) -> None:
    assert list(longest_models(home_with(LOG, tmp_path), 2).items()) == [("a", 2.5), ("b", 2.0)]
