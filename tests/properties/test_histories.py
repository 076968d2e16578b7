"""Any history gives the same tables: order of arrival, split into runs, rerun, full refresh."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from strategies import EPISODES, USERS, big_landing

from flows.domain import RunStatus

if TYPE_CHECKING:
    from conftest import Home

KNOWN_USERS, KNOWN_EPISODES = list(USERS[:-2]), list(EPISODES[:-2])


def reference_data(home: Home) -> tuple[list[Any], list[Any]]:
    """Reference data that lacks some of the ids in the events."""
    home.set(seeds=write_reference_data(home.path / "seeds", KNOWN_USERS, KNOWN_EPISODES))
    return KNOWN_USERS, KNOWN_EPISODES


@pytest.mark.parametrize("seed", [1, 2])
def test_one_run_equals_the_oracle_and_a_rerun_changes_nothing(home: Home, seed: int) -> None:
    users, episodes = reference_data(home)
    landing = big_landing(seed, 200)
    home.land(landing)

    summary = home.run()

    world = expected_world(home.path / "warehouse" / "podcast.duckdb", landing, users, episodes)
    assert_tables_equal(home.path, world)
    assert summary.run.reconciles
    assert {b.filename for b in summary.quarantined} == {f for f, s in world.statuses.items() if s == "quarantined"}
    before = snapshot(home.path / "warehouse" / "published.duckdb")
    assert home.run().status is RunStatus.NOTHING_NEW
    assert snapshot(home.path / "warehouse" / "published.duckdb") == before


def test_any_split_into_runs_and_a_full_refresh_equal_the_oracle(home: Home) -> None:
    users, episodes = reference_data(home)
    landing = big_landing(3, 120)
    names = sorted(landing)
    random.Random(3).shuffle(names)

    for part in (names[:1], names[1:40], names[40:80], names[80:]):
        home.land({name: landing[name] for name in part})
        home.run()
        arrived = {name: landing[name] for name in landing if (home.path / "landing" / name).exists()}
        world = expected_world(home.path / "warehouse" / "podcast.duckdb", arrived, users, episodes)
        assert_tables_equal(home.path, world)

    before = snapshot(home.path / "warehouse" / "published.duckdb")
    home.run(full_refresh=True)
    assert snapshot(home.path / "warehouse" / "published.duckdb") == before
