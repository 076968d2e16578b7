"""The table of the benchmark: medians, spread, ratios, targets."""

from __future__ import annotations

import json

import pytest
from whole import targets
from whole.table import Results, Row, Target, share

TEN_MILLION = targets.first_load(10_000_000)


@pytest.fixture
def results() -> Results:
    results = Results({"python": "3.11"}, repeats=3)
    results.rows = [
        Row(TEN_MILLION, "pipeline", [90.0, 60.0, 75.0], [2_000_000_000, 2_600_000_000], 10_000_000, 5_000_000),
        Row(TEN_MILLION, "by hand", [50.0, 40.0, 70.0], rows=10_000_000),
        Row(targets.FIXED, "podcast --help", [0.4]),
        Row(targets.FIXED, "nothing new", [1.4]),
        Row(targets.LOADING, "lossless", [5.0]),
        Row(targets.LOADING, "typed read_ndjson", [4.0]),
    ]
    results.shares = {TEN_MILLION: {"load": 60.0, "gate raw": 10.0, "report": 5.0, "publish": 25.0}}
    return results


def test_a_row_says_median_spread_rows_a_second_and_ratio(results: Results) -> None:
    page = results.as_markdown([])
    assert "| pipeline | 75.00 | 60.00 to 90.00 | 133,333 | 2.60 GB | 5 MB | 1.50 |  |" in page
    assert "| by hand | 50.00 | 40.00 to 70.00 | 200,000 |  |  | 1.00 |  |" in page
    assert "| podcast --help | 0.40 | 0.40 to 0.40 |  |  |  |  |  |" in page


def test_an_even_number_of_repeats_has_the_mean_of_the_two_in_the_middle() -> None:
    assert Row("t", "n", [1.0, 2.0, 4.0, 9.0]).median == 3.0


def test_what_was_not_measured_has_no_ratio(results: Results) -> None:
    assert results.ratio(TEN_MILLION, "dlt") is None
    assert results.ratio("no such table", "pipeline") is None


def test_shares_are_of_all_steps(results: Results) -> None:
    seconds = results.shares[TEN_MILLION]
    assert share(seconds, "gate ", "report") == 15.0
    assert share({}, "publish") is None


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("a", 1.2, 1.5), "met, 20% to spare"),
        (Target("a", 1.5, 1.5), "met, 0% to spare"),
        (Target("a", 3.0, 1.5), "missed by 100%"),
        (Target("a", 1.02, 0.85, better="higher"), "met, 20% to spare"),
        (Target("a", 0.68, 0.85, better="higher"), "missed by 20%"),
        (Target("a", None, 1.5), "not measured"),
    ],
)
def test_a_target_is_met_or_missed_by_so_much(target: Target, verdict: str) -> None:
    assert target.verdict == verdict


def test_targets_are_read_off_the_results(results: Results) -> None:
    measured = {target.name: target.measured for target in targets.of(results)}
    assert measured["discovery of 100,000 files that are loaded already"] is None
    assert measured["first load of 10 million, by the hand-written script"] == 1.5
    assert measured["first load of 1 million, by the hand-written script"] is None
    assert measured["a run with nothing new, after start-up"] == pytest.approx(1.0)
    assert measured["gates and reports"] == 15.0
    assert measured["publishing"] == 25.0
    assert measured["peak memory of first loads of up to 10,000,000 events"] == 2.6
    assert measured["speed of lossless loading of 0 events, by typed"] == 0.8


def test_the_data_can_be_read_again(results: Results) -> None:
    data = json.loads(json.dumps(results.as_data(targets.of(results))))
    assert data["rows"][0]["median"] == 75.0
    assert data["rows"][0]["ratio"] == 1.5
    assert {target["verdict"] for target in data["targets"]} >= {"not measured", "missed by 400%"}
