"""What a command loads before it answers, counted in modules, and what a run loads ahead."""

from __future__ import annotations

import shutil
import signal
import socket
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
from flows.settings import load_settings
assert starting.load("flows.pipeline", load_settings()) is sys.modules["flows.pipeline"]
assert gc.isenabled() and gc.get_freeze_count() > 100_000
assert "prefect.server" not in sys.modules
print("LOADED", *sys.modules)
"""
    assert loaded(tmp_path, code) >= {"flows.pipeline", *starting.SLOW}


def test_what_no_suite_needs_is_loaded_when_it_is_used(tmp_path: Path) -> None:
    """An expectation that needs it finds it whole."""
    code = """
import os, sys
os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
from flows import starting
from flows.settings import load_settings
starting.load("flows.pipeline", load_settings())
before = set(sys.modules)
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as expectation
assert round(expectation.stats.norm.cdf(0), 3) == 0.5
print("LOADED", *before)
"""
    found = loaded(tmp_path, code)
    assert "scipy.stats" in found
    assert not [name for name in found if name.startswith("scipy.stats.")]


OWN_SERVER = """
import os, sys, urllib.request
from flows import starting, transform
from flows.settings import load_settings
started, real = [], starting._start_server
starting._start_server = lambda: started.append(real()) or started[0]
starting.load("flows.pipeline", load_settings())
(server,) = started
from prefect.settings import get_current_settings
assert get_current_settings().api.url == server.api
"""


def test_a_server_of_the_runs_own_is_a_process_that_loads_it_instead(tmp_path: Path) -> None:
    """It answers when all is loaded, looks for no blocks, and has ended in order with the run."""
    code = """
from threading import Thread
from prefect import flow
ids = []
flow(lambda: ids.append(1), name="f")()
assert ids and server.process.poll() is None
blocks = urllib.request.Request(server.api + "/block_types/filter", b"{}", {"Content-Type": "application/json"})
assert urllib.request.urlopen(blocks).read() == b"[]"
server.stop()
assert server.process.returncode == 0
print("LOADED", *sys.modules)
"""
    assert not [name for name in loaded(tmp_path, OWN_SERVER + code) if name.startswith("prefect.server")]
    assert not (tmp_path / "prefect.db-wal").exists(), "the database was not closed"


def test_the_project_is_read_ahead_in_a_home_where_it_never_was(tmp_path: Path) -> None:
    """While the server makes its database; a later run reads it when it has something to build."""
    code = 'server.stop(); print("LOADED", "parsed", *transform._parsed)'
    assert loaded(tmp_path, OWN_SERVER + code) == {"parsed", "duckdb"}
    assert loaded(tmp_path, OWN_SERVER + code) == {"parsed"}


def test_what_keeps_the_project_from_being_read_is_left_for_the_build_to_say(tmp_path: Path) -> None:
    (tmp_path / "dbt").write_text("a file where the folder should be")
    code = 'server.stop(); print("LOADED", "parsed", *transform._parsed)'
    assert loaded(tmp_path, OWN_SERVER + code) == {"parsed"}


def test_a_server_of_the_runs_own_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    code = 'print("SERVER", server.port, flush=True); os.kill(os.getpid(), 9)'
    environment = {"PODCAST_HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", OWN_SERVER + code], env=environment, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # `run` has read the output to its end: nobody holds it any more, the server neither.
    _, port = killed.stdout.split()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_a_server_that_does_not_come_up_is_given_up(tmp_path: Path) -> None:
    code = """
import sys
from flows import starting
from prefect.settings import get_current_settings
starting.SERVER = [sys.executable, "-c", "raise SystemExit(3)"]
server = starting._start_server()
assert get_current_settings().api.url == server.api
server.await_answer()
assert get_current_settings().api.url is None
"""
    loaded(tmp_path, code)
