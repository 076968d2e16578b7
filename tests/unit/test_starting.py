"""What a command loads before it answers, counted in modules, and what a run loads ahead."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import starting
from flows.settings import Settings
from flows.warehouse import connect, utc_now

SLOW = {"prefect", "dbt", "great_expectations", "pandas"}
TYPED = """
import sys
from flows.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("LOADED", *sys.modules)
"""


def loaded(home: Path, code: str, *words: str) -> set[str]:
    """The modules that are loaded when a process of its own has come to its end."""
    environment = {"PODCAST_HOME": str(home), "PODCAST_LANDING": str(home), "PREFECT_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A warehouse with one run, and a published copy of it."""
    settings = Settings(home=tmp_path, landing=tmp_path)
    with connect(settings) as connection:
        run = "insert into ops.runs (run_id, status, started_at, finished_at) values ('r', 'passed', $1, $1)"
        connection.execute(run, [utc_now()])
        connection.execute('create table gold.fact_user_interactions ("timestamp" timestamp)')
    shutil.copyfile(settings.warehouse_path, settings.published_path)
    return tmp_path


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help_loads_the_command_only(home: Path, words: list[str]) -> None:
    assert loaded(home, TYPED, *words) & (SLOW | {"duckdb", "rich"}) == set()


@pytest.mark.parametrize("words", [["status"], ["quarantine", "list"]], ids=" ".join)
def test_no_slow_library_is_loaded_to_look(home: Path, words: list[str]) -> None:
    assert loaded(home, TYPED, *words) & (SLOW | {"duckdb"}) == {"duckdb"}


def test_a_run_loads_all_ahead_and_none_of_it_is_taken_for_garbage(tmp_path: Path) -> None:
    """Where a server is named, none is started."""
    code = """
import gc, os, sys
os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
from flows import starting
assert starting.load("flows.pipeline") is sys.modules["flows.pipeline"]
assert gc.isenabled() and gc.get_freeze_count() > 100_000
assert not set(starting.WITHOUT_BLOCKS) & set(os.environ)
print("LOADED", *sys.modules)
"""
    assert loaded(tmp_path, code) >= {"flows.pipeline", *starting.SLOW}


def test_a_server_of_the_runs_own_is_started_without_blocks(tmp_path: Path) -> None:
    """In the middle of the loading, and so that Prefect takes it as its own."""
    code = """
import os, sys
from prefect.server.api import server
started = []
server.SubprocessASGIServer.start = lambda self: started.append((self, dict(os.environ)))
from flows import starting
starting.load("flows.pipeline")
((first, environment),) = started
assert starting.WITHOUT_BLOCKS.items() <= environment.items()
assert server.SubprocessASGIServer() is first
from prefect.settings import Settings
known = Settings().server
assert (known.register_blocks_on_start, known.memoize_block_auto_registration) == (False, False)
"""
    loaded(tmp_path, code)
