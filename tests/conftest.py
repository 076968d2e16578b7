"""What tests share: a Prefect to run flows in, homes to run the pipeline in, and the tables as plain values."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from browser import Browser, open_browser
from hypothesis import settings as hypothesis_settings

for _name in [name for name in os.environ if name.startswith(("PODCAST_", "PREFECT_", "DBT_"))]:
    del os.environ[_name]

# A busy machine is no reason for a test to fail.
hypothesis_settings.register_profile("default", hypothesis_settings.get_profile("default"), deadline=None)

# `make test-long`: more of everything, and other examples each time.
hypothesis_settings.register_profile("long", max_examples=40, stateful_step_count=25, print_blob=True)


# Searching what the libraries hold for garbage took an eighth of the time of a run.
gc.set_threshold(50_000, 20, 100)


LONGEST_FIRST = (
    "test_kills.py",
    "test_team.py",
    "test_dbt_project.py",
    "properties",
    "engines",
    "integration",
    "e2e",
    "unit",
)
"""Modules, or folders of them, in the order in which they begin: a long one at the end would leave a core idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; what is left within a module stays in its order."""
    items.sort(key=lambda item: next(i for i, name in enumerate(LONGEST_FIRST) if name in item.path.parts))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything has to be there, a test that was skipped has not passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@dataclass(frozen=True)
class Home:
    """A home of its own, with a landing directory and reference data, whose settings are in the environment."""

    path: Path
    monkeypatch: pytest.MonkeyPatch
    shares_docs: bool = True
    """dbt documents the same models in every home: the pages of one do for the others."""

    def __post_init__(self) -> None:
        (self.path / "landing").mkdir(parents=True, exist_ok=True)
        self.set(home=self.path, settle_seconds=0)

    def set(self, **settings: object) -> None:
        """Set settings by name."""
        for name, value in settings.items():
            self.monkeypatch.setenv(f"PODCAST_{name.upper()}", str(value))

    def land(self, files: Mapping[str, bytes]) -> None:
        """Put files into the landing directory."""
        for name, content in files.items():
            path = self.path / "landing" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, **parameters: Any) -> Any:
        """One run of the flow."""
        from flows.pipeline import podcast_pipeline

        own, shared = self.path / "dbt" / "docs", Path(os.environ["PREFECT_HOME"]) / "dbt_docs"
        if self.shares_docs and shared.exists() and not own.exists():
            shutil.copytree(shared, own)
        summary = podcast_pipeline(**parameters)
        if own.exists() and not shared.exists():
            shutil.copytree(own, shared)
        return summary

    def query(self, sql: str, *, published: bool = False) -> list[tuple[Any, ...]]:
        """Rows of the working database, or of the published copy."""
        name = "published.duckdb" if published else "podcast.duckdb"
        with duckdb.connect(str(self.path / "warehouse" / name), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of the tests' own, in this process."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401 - switches usage statistics off

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for a module of tests; what runs a flow comes before it."""
    with open_browser() as browser:
        yield browser


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect: None) -> Home:  # noqa: ARG001
    """A home to run the flow in."""
    return Home(tmp_path / "home", monkeypatch)
