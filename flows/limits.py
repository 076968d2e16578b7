"""What an expectation allows, in words."""

from __future__ import annotations

from typing import Any

NONE_FAILS = "none fails"
"""What an expectation without limits allows."""


def in_words(kwargs: dict[str, Any]) -> str:
    """The limits among the arguments of an expectation."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if high is not None:
        return f"at most {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    if "value" in kwargs:
        return f"exactly {_number(kwargs['value'])}"
    if "value_set" in kwargs:
        return "one of " + ", ".join(str(value) for value in kwargs["value_set"])
    return NONE_FAILS


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
