"""Batches that fail at gates, and what is found of them there: the same, wherever a gate looks at its tables."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
from comparison import assert_nearly_same, write_reference_data
from engine_place import Place, land
from lines import event, lines

USERS = [("u1", None, "NO"), ("u2", None, None)]
EPISODES = [("e1", "p1", "One", None, 1000), ("e2", "p1", "Two", None, 2000)]
KINDS = {"play": 60, "pause": None, "seek": None, "complete": 60}
USUAL = {
    f"a{number:02}.json": lines(*(event(number, kind=kind, duration=seconds) for kind, seconds in KINDS.items()))
    for number in range(12)
}
FAILING = {
    "b-malformed.json": lines(*(event(m) for m in range(20, 24)), "{", event(3, duration=77)),
    "c-invalid.json": lines(*(event(m) for m in range(24, 26)), event(26, duration=0), event(4, duration=88)),
    "d-unknown.json": lines(event(5, duration=99), *(event(m, user="nobody") for m in range(30, 33))),
}
UNUSUAL = {"e-many.json": lines(*(event(m, user="u2") for m in range(50)))}
LANDING = USUAL | FAILING | UNUSUAL

GATES = ("validated", "cleansed", "gold")
"""Those that another engine is looked at by."""

STOP_AFTER_LOADING = """
from flows import transform
def stop(*_, **__): raise SystemExit(9)
transform.build_layer = transform.build_reference = stop
"""


def with_reference_data(place: Place, folder: Path) -> Place:
    seeds = write_reference_data(folder, USERS, EPISODES)
    return replace(place, variables={**place.variables, "PODCAST_SEEDS": str(seeds)})


def assert_finds_the_same(place: Place, elsewhere: Path) -> None:
    """Of the same batches, loaded once, so that even their times are the same, in a home of DuckDB's elsewhere."""
    for name, content in LANDING.items():
        land(place, Path(name), content)
    place.start("run", within=STOP_AFTER_LOADING)
    other = replace(place, home=elsewhere / "home")
    shutil.copytree(place.home, other.home)

    there, here = place.run(), other.run(engine="duckdb")
    held_back = {(batch["filename"], batch["gate"], batch["reason"]) for batch in there["quarantined"]}
    assert held_back == {
        ("b-malformed.json", "raw", "malformed_share"),
        ("c-invalid.json", "validated", "invalid_share"),
        ("d-unknown.json", "cleansed", "unknown_share"),
    }
    assert {(batch["filename"], batch["gate"], batch["reason"]) for batch in here["quarantined"]} == held_back

    found, expected = verdicts(place), verdicts(other)
    assert {gate for gate, *_ in expected} == {"raw", *GATES}
    assert [row for row in expected if "lines 50, usual_lines 4" in row[5]], "measures of a batch unlike those before"
    assert expected - found == set()
    again = found - expected  # bronze has been built once more without what was held back, and judged
    assert {(gate, success) for gate, _, _, _, success, *_ in again} == {("validated", True)}
    assert evidence(place) == evidence(other) != {}
    published = place.published()
    assert len(published["gold.fact_user_interactions"]) == 98
    assert published.keys() == other.published().keys()
    for table, rows in other.published().items():
        assert_nearly_same(published[table], rows, table)


def verdicts(place: Place) -> set[tuple[Any, ...]]:
    """All that was found at the gates, but for the run and the time."""
    told = (
        "select checkpoint, expectation, severity, batch_id, success, observed, threshold from ops.validation_results"
    )
    with duckdb.connect(str(place.home / "warehouse" / "podcast.duckdb"), read_only=True) as connection:
        return set(connection.execute(told).fetchall())


def evidence(place: Place) -> dict[str, bytes]:
    """Every file about the batches that were held back, but for the name of the run."""
    folder = place.home / "quarantine"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
