"""Values as they come with a request and go with an answer: times in UTC, days, numbers the engine can compare."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _with_zone(value: Any) -> Any:  # noqa: ANN401 - as it comes from the engine
    """The warehouse has times in UTC without a zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _of_shape(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    """Text of one shape, and nothing else that could be taken for the kind of value."""

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise ValueError(what)
        return value

    return BeforeValidator(check)


def _without_zone(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError("the time in UTC is before the year 1 or after 9999") from None


def _bool(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("true or false")
    return value


def as_expression(pattern: str) -> str:
    """A pattern with `*` for anything and `?` for one character as a regular expression, which takes linear time."""
    parts = {"*": ".*", "?": "."}
    return "(?s)" + "".join(parts.get(c, re.escape(c)) for c in pattern)


Time = Annotated[datetime, BeforeValidator(_with_zone)]
"""In an answer: UTC, as in 2024-03-01T09:00:00Z."""

GivenTime = Annotated[
    datetime,
    _of_shape(_TIME, "a time with its offset, as in 2024-03-01T09:00:00Z"),
    AfterValidator(_without_zone),
]
GivenDay = Annotated[date, _of_shape(_DAY, "a day, as in 2024-03-01")]
GivenBool = Annotated[bool, BeforeValidator(_bool)]
GivenInt = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
GivenFloat = Annotated[float, Field(allow_inf_nan=False)]
GivenText = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
GivenPattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(as_expression)]
