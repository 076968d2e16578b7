"""The emulator of Snowflake on 127.0.0.1, in a process of its own that ends with the test, and dbt as its client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engine_place import Place

from flows.settings import PROJECT_ROOT

CLIENT = PROJECT_ROOT / ".venv-snowflake" / "bin" / "python"
EMULATOR = PROJECT_ROOT / ".venv-emulator" / "bin" / "python"
START_SECONDS = 120
STOP_SECONDS = 10
BUILD_SECONDS = 600
"""What hangs is ended: a statement that the emulator does not answer is sent again and again."""


def skip_unless_installed() -> None:
    if not CLIENT.exists() or not EMULATOR.exists():
        pytest.skip("needs the extra [snowflake] and its emulator: make setup-snowflake installs them")


@contextmanager
def start_emulator(folder: Path, public_key: Path | None = None) -> Iterator[dict[str, str]]:
    """What the profile reads from the environment to find it; with a public key nobody logs in but by key pair."""
    port, log = free_port(), folder / "emulator.log"
    command = [str(EMULATOR), str(PROJECT_ROOT / "tests" / "snowflake_emulator.py"), str(port)]
    command += [str(public_key)] if public_key else []
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)
        try:
            wait_until_open(port, log)
            yield found_at(port)
        finally:
            end(process)


def on_snowflake(home: Path, variables: Mapping[str, str]) -> Place:
    """A home whose runs have the emulator for Snowflake."""
    found = {name.replace("DBT_PODCAST", "PODCAST"): value for name, value in variables.items() if "SECRET" not in name}
    return Place(home, "snowflake", found | {"PODCAST_SNOWFLAKE_PASSWORD": SECRET}, python=CLIENT)


def asked_there(place: Place, query: str) -> list[list[Any]]:
    """The rows of an answer of the emulator, as values of JSON."""
    reading = f"""
import json
from flows.settings import load_settings
from flows.snowflake_session import session
print(json.dumps(session(load_settings()).cursor().execute({query!r}).fetchall()))
"""
    done = subprocess.run(
        [place.python, "-c", reading], env=place.environment(), capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def counted_there(place: Place, *relations: str) -> dict[str, int]:
    """Rows of tables on the emulator, each named with its database."""
    return dict(asked_there(place, " union all ".join(f"select '{name}', count(*) from {name}" for name in relations)))


def found_at(port: int) -> dict[str, str]:
    variables = {
        "ACCOUNT": "emulated", "USER": "podcast", "DATABASE": "podcast", "THREADS": "1",
        "HOST": "127.0.0.1", "PORT": str(port), "PROTOCOL": "http",
    }  # fmt: skip
    ours = {f"DBT_PODCAST_SNOWFLAKE_{name}": value for name, value in variables.items()}
    return ours | {"DBT_ENV_SECRET_PODCAST_SNOWFLAKE_PASSWORD": SECRET}


SECRET = "never-to-be-printed"  # noqa: S105 - of nobody


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_open(port: int, log: Path) -> None:
    end_at = time.monotonic() + START_SECONDS
    while time.monotonic() < end_at:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"the emulator did not start:\n{log.read_text(errors='replace')}")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def build(variables: Mapping[str, str], inputs: Path, outputs: Path) -> None:
    """All models and their data tests, on the relations in one folder; what is made comes into another."""
    command = [str(CLIENT), str(PROJECT_ROOT / "tests" / "on_snowflake.py"), str(inputs), str(outputs)]
    environment = os.environ | variables
    done = subprocess.run(
        command, env=environment, cwd=outputs, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    (outputs / "said.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
