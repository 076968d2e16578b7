"""Cursors, values and listings of the read API, without a server."""

from __future__ import annotations

import fnmatch
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flows.api.cursors import LONGEST, CursorError, Cursors, Place, digest
from flows.api.headers import on_error
from flows.api.listings import SHUFFLED, Paging, Search
from flows.api.marts import KEYS, LARGE, marts
from flows.api.problems import ProblemError, respond
from flows.api.resources import BATCHES, QUARANTINE, RUNS, VERDICTS
from flows.api.values import GivenTime, Time, as_expression
from flows.masking import Mask

SEALING = Cursors("a secret of the tests")
VALUES = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.text(max_size=50), st.datetimes(), st.dates(), st.booleans(), st.floats(-9, 9)
)


# --- Cursors ------------------------------------------------------------------------------------


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_a_place_comes_out_of_its_cursor_as_it_went_in(key: list[object]) -> None:
    place = Place("batches", digest({"status": "published"}), tuple(key), "run")
    opened = SEALING.open(SEALING.seal(place))
    assert opened == place
    assert list(map(type, opened.key)) == list(map(type, place.key))


@given(st.text(max_size=200))
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(CursorError):
        SEALING.open(text)


def test_a_changed_cursor_is_none_and_so_is_one_of_another_secret() -> None:
    sealed = SEALING.seal(Place("batches", "", ("u000001",), "run"))
    for position in range(len(sealed)):
        other = "A" if sealed[position] != "A" else "B"
        with pytest.raises(CursorError):
            SEALING.open(sealed[:position] + other + sealed[position + 1 :] + "x")
    with pytest.raises(CursorError):
        Cursors("another secret of the tests").open(sealed)
    with pytest.raises(CursorError):
        SEALING.open("A" * (LONGEST + 1))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sealed)


def test_the_digest_tells_filters_apart() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest({}), digest({"a": 1}), digest({"a": "1"}), digest({"b": 1})}) == 4


# --- Values -------------------------------------------------------------------------------------


@given(st.text("ab*?[]!.\\+\n", max_size=8), st.text("ab.*[\\+\n", max_size=8))
def test_a_pattern_fits_what_a_shell_pattern_fits(pattern: str, text: str) -> None:
    shell = pattern.replace("[", "[[]")
    assert bool(re.fullmatch(as_expression(pattern), text)) == fnmatch.fnmatchcase(text, shell)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001 - UTC
def test_a_time_is_taken_in_utc_and_given_with_it(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert TypeAdapter(GivenTime).validate_python(there.isoformat()) == moment
    assert TypeAdapter(Time).validate_python(moment) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["0", "2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "now", "9999-12-31T23:59:59-01:00"]
)
def test_a_time_without_its_offset_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(GivenTime).validate_python(text)


# --- Listings -----------------------------------------------------------------------------------


def test_the_key_of_each_list_is_one_of_its_columns_or_made_of_them() -> None:
    for listing in [BATCHES, QUARANTINE, RUNS, VERDICTS, *(mart.listing for mart in marts())]:
        own = set(listing.row.model_fields)
        for part in listing.key:
            names = set(re.findall(r"[a-z_]+", part.replace("$salt", ""))) - {"coalesce", "hash"}
            assert names
            assert names <= own, (listing.name, part)
        if listing.is_large:
            assert listing.key[0].strip('"') in own
        assert set(listing.conditions) == set(listing.filters.model_fields) - set(Paging.model_fields)


def test_users_are_in_the_order_of_their_ids_only_where_these_are_shown() -> None:
    (listing,) = (mart.listing for mart in marts() if mart.name == "dim_users")
    assert Search(listing, {}, (), "salt").key == [SHUFFLED, "user_id"]
    assert Search(listing, {}, (), None).key == ["user_id", "user_id"]
    assert all(key[0] != "user_id" for key in KEYS.values())
    assert set(LARGE) <= set(KEYS)


def test_the_key_of_a_row_says_nothing_of_its_user_without_the_key_of_the_mask() -> None:
    masked = {Mask(key).row_key("693622e5") for key in (b"one", b"other", None)}
    assert len(masked) == 3
    assert "693622e5" in masked
    assert Mask(b"one").row_key("693622e5") == Mask(b"one").row_key("693622e5")


# --- Problems -----------------------------------------------------------------------------------


def test_a_problem_says_what_it_is_and_an_unexpected_one_says_nothing_more() -> None:
    answer = respond(503, "busy", "Later.", headers={"Retry-After": "5"})
    assert answer.media_type == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert b'"code":"busy"' in bytes(answer.body)
    body = bytes(on_error(None, ValueError("u000001")).body)  # type: ignore[arg-type]
    assert b"u000001" not in body
    assert ProblemError(401, "unauthorised", "").headers == {"WWW-Authenticate": "Bearer"}
