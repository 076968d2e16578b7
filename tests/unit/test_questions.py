"""The definitions of the questions hold together, and their windows are what they say."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.cli import ASKING
from flows.cli import ask as group
from flows.errors import SettingsError
from flows.questions import CHOOSING, QUESTIONS, Answer, Question, Window, window_before
from flows.settings import DBT_PROJECT, Settings


def _columns() -> dict[str, set[str]]:
    """The documented columns of the gold models."""
    documents = [yaml.safe_load(path.read_text()) for path in (DBT_PROJECT / "models" / "gold").glob("*.yml")]
    models: list[dict[str, Any]] = [model for document in documents for model in document.get("models", [])]
    return {model["name"]: {column["name"] for column in model.get("columns", [])} for model in models}


COLUMNS = _columns()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_question_is_about_columns_that_are(question: Question) -> None:
    columns = COLUMNS[question.model]
    assert {part.split()[0] for part in question.order_by.split(", ")} <= columns
    assert {column for option, column in CHOOSING.items() if option in question.options} <= columns
    assert "user_id" not in columns or "user" in question.options
    if "end" in question.options and not question.is_recomputed:
        assert "days" in question.options
        assert "event_date" in columns


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_question_is_a_command_with_its_options_and_help(question: Question) -> None:
    command = group.commands[question.name]
    assert [parameter.name for parameter in command.params] == [ASKING[name].name for name in question.options] + [
        "as_json"
    ]
    assert command.help is not None
    assert command.help.startswith(question.text)
    assert question.text.endswith(".")
    assert ("user" in question.options) == ("masked" in command.help)


def test_names_and_models_are_given_once() -> None:
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)
    assert len({question.model for question in QUESTIONS}) == len(QUESTIONS)
    assert set(group.commands) == {question.name for question in QUESTIONS}


def test_a_recomputed_question_has_the_variables_of_dbt() -> None:
    assert {"analysis_end_date", "window_days"} <= Settings().dbt_vars().keys()
    assert all("end" in question.options for question in QUESTIONS if question.is_recomputed)


@given(st.dates(min_value=date(300, 1, 1)), st.integers(1, 10**5))
def test_a_window_has_as_many_days_as_were_asked_for(end: date, days: int) -> None:
    window = window_before(end, days)
    assert window.start is not None
    assert window.end - window.start == timedelta(days=days)


def test_a_window_ends_where_the_calendar_does() -> None:
    assert window_before(date(1, 1, 2), 1) == Window(date(1, 1, 1), date(1, 1, 2))
    with pytest.raises(SettingsError, match="2 days before 0001-01-02 is before the year 1"):
        window_before(date(1, 1, 2), 2)


def test_a_window_in_words_says_what_is_in_it() -> None:
    assert f"{Window(date(2024, 1, 1), date(2024, 1, 8))}" == "from 2024-01-01 up to and without 2024-01-08 (UTC)"
    assert f"{Window(None, date(2024, 1, 8))}" == "up to and without 2024-01-08 (UTC)"


def test_the_document_has_a_window_and_says_what_it_leaves_out_where_it_may() -> None:
    whole = Question("q", "m", "Q.", "a")
    some = Question("q", "m", "Q.", "a", ("limit",))
    assert Answer(whole, None, [{"a": None}]).document() == {"question": "q", "window": None, "rows": [{"a": None}]}
    document = Answer(some, Window(None, date(2024, 1, 8)), [], left_out=3).document()
    assert document["left_out"] == 3
    assert json.loads(json.dumps(document, default=str))["window"] == {"start": None, "end": "2024-01-08"}
