"""The benchmark of growth: the line through sizes, where two meet, and the page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from growth.engines import conf, shuffle_partitions
from growth.measured import BASE, BESIDES_MODELS, FIRST, INCREMENT, Growth, Measured, steps_of
from growth.projection import share_of_day
from growth.trend import Line, fitted, meeting, verdict

SPARK = "Spark, two workers"


def measured(engine: str, events: int, seconds: float, *, kind: str = FIRST) -> Measured:
    steps = {"load": 1.0, "build bronze": seconds / 2, "build silver": 2.0, "build gold": 3.0}
    rows = events if kind == FIRST else 10_000
    return Measured(kind, engine, events, rows, [seconds], [seconds * 2], 2_000_000_000, 0, 5_000_000, steps)


@pytest.fixture
def growth() -> Growth:
    """DuckDB at 4 + 5 seconds a million, Spark at 40 + 2."""
    growth = Growth({"python": "3.11"}, {"Spark's options": "--conf a=b"})
    for events in (1_000_000, 5_000_000, 20_000_000):
        growth.add(measured(BASE, events, 4 + 5 * events / 1e6))
        growth.add(replace(measured(SPARK, events, 40 + 2 * events / 1e6), beside_bytes=3_000_000_000))
    return growth


def test_a_line_goes_through_points_that_lie_on_one() -> None:
    line = fitted({1_000_000: 7.0, 5_000_000: 15.0, 20_000_000: 45.0})
    assert line is not None
    assert (line.fixed, line.slope) == (pytest.approx(5.0), pytest.approx(2.0))
    assert line.at(10) == pytest.approx(25.0)


def test_a_line_lies_between_points_that_do_not() -> None:
    line = fitted({1_000_000: 1.0, 2_000_000: 1.0, 3_000_000: 4.0})
    assert line is not None
    assert (line.fixed, line.slope) == (pytest.approx(-1.0), pytest.approx(1.5))


@pytest.mark.parametrize("points", [{}, {1_000_000: 7.0}])
def test_fewer_than_two_sizes_make_no_line(points: dict[int, float]) -> None:
    assert fitted(points) is None


@pytest.mark.parametrize(
    ("other", "millions"),
    [
        (Line(40, 2), 12.0),
        (Line(40, 5), None),  # side by side for ever
        (Line(40, 6), None),  # they have met before there were events
        (Line(4, 6), None),
        (Line(1, 6), 3.0),
    ],
)
def test_where_two_lines_meet(other: Line, millions: float | None) -> None:
    assert meeting(Line(4, 5), other) == millions
    assert meeting(other, Line(4, 5)) == millions


@pytest.mark.parametrize(
    ("other", "largest", "says"),
    [
        (Line(40, 2), 20_000_000, "meet at 12.0 million events; beyond it Spark costs less"),
        (Line(40, 2), 5_000_000, "meet at 12.0 million events, 2.4 times the most that was measured; beyond it Spark"),
        (Line(1, 6), 20_000_000, "meet at 3.0 million events; beyond it DuckDB costs less"),
        (Line(40, 6), 20_000_000, "do not meet: DuckDB costs less at any size"),
        (Line(1, 5), 20_000_000, "do not meet: Spark costs less at any size"),
    ],
)
def test_the_verdict_says_who_costs_less_where(other: Line, largest: int, says: str) -> None:
    assert verdict("DuckDB", Line(4, 5), "Spark", other, largest=largest).startswith(says)


def test_the_page_has_runs_steps_with_their_lines_and_where_these_meet(growth: Growth) -> None:
    page = growth.as_markdown()
    assert "| 20,000,000 | Spark, two workers | 80.0 |  | 250,000 | 160.0 | 2.00 GB | 3.00 GB | 5 MB |" in page
    assert "| DuckDB | whole run | 9.0 | 29.0 | 104.0 | 4.0 | 5.00 |" in page
    assert "| Spark, two workers | CPU seconds, whole run | 84.0 | 100.0 | 160.0 | 80.0 | 4.00 |" in page
    assert "| Spark, two workers | whole run | 0.4 | meet at 12.0 million events; beyond it Spark" in page
    assert "increments" not in page


def test_a_session_that_was_broken_off_has_a_page_too() -> None:
    growth = Growth({"python": "3.11"}, {})
    assert growth.as_markdown() == "# Growth on either engine\n\npython 3.11.\n"
    growth.add(measured(BASE, 1_000_000, 9.0))
    assert "| DuckDB | whole run | 9.0 |  |  |" in growth.as_markdown()
    growth.add(measured(SPARK, 1_000_000, 60.0))
    growth.add(measured(BASE, 5_000_000, 29.0))
    assert "| Spark, two workers | build gold | 3.0 |  |  |  |" in growth.as_markdown()
    assert "they meet" not in growth.as_markdown()


def test_the_slopes_come_to_core_hours_and_to_shares_of_a_day(growth: Growth) -> None:
    """10 CPU seconds for each of 10,000 millions; loading took the same seconds at all sizes."""
    assert "| DuckDB | 10.0 | 28 | 1.2 | 0.00 |" in growth.as_markdown()
    assert share_of_day(Line(0, 8.64)) == pytest.approx(1)


def test_increments_are_named_by_the_history_that_they_come_onto(growth: Growth) -> None:
    growth.add(replace(measured(BASE, 1_000_000, 9.0, kind=INCREMENT), seconds=[8.0, 9.0, 11.0]))
    assert "| 10,000 onto 1,000,000 | DuckDB | 9.0 | 8.0 to 11.0 | 1,111 |" in growth.as_markdown()


def test_the_figures_have_the_lines_of_each_step(growth: Growth) -> None:
    found = json.loads(json.dumps(growth.as_data()))
    assert found["lines"][FIRST][BASE]["build bronze"] == {"fixed": pytest.approx(2.0), "slope": pytest.approx(2.5)}
    assert len(found["measured"]) == 6


def test_engines_that_publish_other_numbers_of_rows_are_told_of() -> None:
    growth = Growth({}, {})
    growth.add(replace(measured(BASE, 1_000_000, 9.0), tables={"gold.fact": 3}))
    growth.add(replace(measured(SPARK, 1_000_000, 9.0), tables={"gold.fact": 2}))
    growth.add(replace(measured(SPARK, 5_000_000, 9.0), tables={"gold.fact": 5}))
    assert len(growth.failed) == 1
    assert "1,000,000 events, first load: not as many rows: DuckDB" in growth.as_markdown()


def test_gates_are_one_step_and_what_is_no_model_is_apart() -> None:
    log = [
        {"step": "load", "seconds": 1.0},
        {"step": "load", "seconds": 2.0},
        {"step": "build reference", "seconds": 1.0, "models": {"users": 1.0}},
        {"step": "build bronze", "seconds": 5.0, "models": {"validated_events": 1.5, "a": 0.5}},
        {"step": "gate raw", "seconds": 0.25},
        {"step": "gate gold", "seconds": 0.5},
        {"message": "run began"},
    ]
    steps = steps_of(log, 12.0)
    assert steps == {
        "load": 3.0,
        "build reference": 1.0,
        "build bronze": 5.0,
        "gates": 0.75,
        BESIDES_MODELS: 3.0,
        "start and end of the process": 2.25,
    }


def test_a_shuffle_has_two_partitions_a_core_at_least_and_more_where_there_is_more() -> None:
    assert shuffle_partitions(1) >= 2
    assert shuffle_partitions(100_000_000) == 400
    assert "spark.sql.shuffle.partitions=400" in conf(100_000_000)
