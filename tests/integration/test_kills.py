"""The real pipeline, killed at named steps and a few times at random: nobody has to repair anything."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from comparison import write_reference_data
from kills.boundaries import BOUNDARIES
from lines import event, lines

from flows import publish
from flows.errors import PublishError
from flows.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Home

THIRDS = 3
HARNESS = PROJECT_ROOT / "tests" / "kills" / "harness.py"


@pytest.mark.timeout(2400)
def test_no_kill_loses_doubles_or_shows_half_of_anything(tmp_path: Path) -> None:
    """A third of the steps, another one each day, so that all are tried within three; `make test-long` tries all."""
    first = datetime.now(UTC).toordinal() % THIRDS
    # A process of its own: it forks, and this one has threads.
    harness = subprocess.Popen(
        [sys.executable, HARNESS, "--json", "--home", tmp_path, "--steps", str(first), str(THIRDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, progress = harness.communicate()
    finally:
        harness.terminate()
        harness.wait()
    assert output, progress
    result = json.loads(output)
    print(f"steps from {first} on\n{progress}")  # noqa: T201 - shown when something below fails
    assert result["wrong"] == {kind: [] for kind in ("lost", "duplicated", "partial", "unopenable", "manual")}
    assert set(result["reached"]) == {str(boundary) for boundary in BOUNDARIES[first::THIRDS]}
    assert result["kills"] > len(result["reached"]) > 10
    assert harness.returncode == 0


@pytest.fixture
def known(home: Home) -> Home:
    """A home whose reference data knows the user and the episode of the events."""
    home.set(seeds=write_reference_data(home.path / "seeds", [("u1", None, "NO")], [("e1", "p1", "One", None, 1000)]))
    return home


def run_until_renamed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends when its copy is public and the ledger does not know it yet."""
    settle = publish._settle

    def settle_the_copy_only(settings: Any, connection: Any, catalog: str, *rest: Any) -> None:
        if catalog != "published":
            raise PublishError("killed")
        settle(settings, connection, catalog, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_settle", settle_the_copy_only)
        with pytest.raises(PublishError):
            home.run()


def test_a_file_that_changes_after_a_kill_between_rename_and_ledger_stays_published(
    known: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.land({"a.json": lines(*(event(minute) for minute in range(5)))})
    run_until_renamed(known, monkeypatch)
    facts = "select count(*) from gold.fact_user_interactions"
    assert known.query(facts, published=True) == [(5,)]

    known.land({"a.json": b"{"})
    known.run()

    assert known.query("select reason from ops.batches where attempt = 2") == [("mutated_file",)]
    assert known.query(facts, published=True) == [(5,)]


def test_the_ledger_catches_up_with_all_that_was_published(known: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with attempts that the run did not work on: the held-back one, which the corrected one supersedes."""
    known.land({"a.json": b"{"})
    known.run()
    known.land({"a.json": lines(event(1))})
    run_until_renamed(known, monkeypatch)

    known.land({"b.json": lines(event(2))})
    known.run()

    attempts = "select filename, attempt, status, pending, invalid_count from ops.batches order by all"
    expected = [
        ("a.json", 1, "superseded", False, 1),
        ("a.json", 2, "published", False, 0),
        ("b.json", 1, "published", False, 0),
    ]
    assert known.query(attempts) == expected
    assert known.query(attempts, published=True) == expected
    assert known.query("select status, count(*) from ops.runs group by all") == [("passed", 3)]
