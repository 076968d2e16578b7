"""What a verdict makes of the library's results, whichever engine they are of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from flows import checkpoints, judging
from flows.domain import Gate
from flows.errors import BrokenGateError

BATCHES = {"meta": {"judges": "batches"}}


@pytest.mark.parametrize(
    ("result", "observed"),
    [
        ({"observed_value": 1}, "1 row"),
        ({"observed_value": Decimal(12)}, "12 rows"),
        ({"observed_value": 12.0}, "12 rows"),
        ({"unexpected_count": Decimal(2), "element_count": 9.0}, "2 of 9 batches fail"),
        ({"unexpected_count": None, "element_count": 0}, "0 of 0 batches fail"),
    ],
)
def test_a_count_is_whole_in_whichever_type_it_comes(result: dict[str, Any], observed: str) -> None:
    assert checkpoints._observed(BATCHES, result) == observed


@pytest.mark.parametrize(
    ("given", "plain"),
    [(Decimal(2**70), 2**70), (Decimal("0.25"), 0.25), (0.25, 0.25), ("b1", "b1"), (None, None), (True, True)],
)
def test_a_number_has_the_type_that_the_working_database_gives(given: object, plain: object) -> None:
    found = judging.plain(given)
    assert (type(found), found) == (type(plain), plain)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ValueError("cut short"), "Gate gold could not judge: ValueError: cut short. Nothing was published."),
        (
            RuntimeError(
                "(snowflake) 100038 (22018): Numeric value 'u000042' is not recognized [SQL: SELECT 'u000042']"
            ),
            "Gate gold could not judge: RuntimeError: 100038 (22018). Nothing was published.",
        ),
        (
            OSError("Conversion Error: No 'u000042'"),
            "Gate gold could not judge: OSError: Conversion Error: No [the value is not shown]. Nothing was published.",
        ),
    ],
)
def test_a_gate_that_could_not_judge_says_why_without_values(raised: Exception, told: str) -> None:
    with pytest.raises(BrokenGateError) as found, checkpoints._in_words(Gate.GOLD):
        raise raised
    assert str(found.value) == told
    assert found.value.__cause__ is None
    assert found.value.__suppress_context__


def test_what_libraries_say_of_an_error_of_the_engine_is_left_out() -> None:
    error = ValueError("Account identifier 'a' MAY be invalid")
    error.__cause__ = OperationalError("select 1", {}, OSError("no route"))
    with pytest.raises(BrokenGateError, match=r"judge: OSError: no route\. Nothing"), checkpoints._in_words(Gate.RAW):
        raise error


def test_what_is_no_error_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), checkpoints._in_words(Gate.GOLD):
        raise KeyboardInterrupt
