"""What a run costs whatever is in it, counted: how often the project is parsed, and the reference data read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lines import event, lines

from flows import reference_seeds, transform
from flows.domain import RunStatus

if TYPE_CHECKING:
    from conftest import Home


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was called, as often as it was; the project counts as not parsed yet."""
    from dbt.parser.manifest import ManifestLoader

    monkeypatch.setattr(transform, "_parsed", {})
    called: list[str] = []

    def note(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    note(ManifestLoader, "load")
    note(reference_seeds, "copy")
    return called


def test_the_project_is_parsed_once_and_seeds_are_copied_where_they_are_built(home: Home, calls: list[str]) -> None:
    home.land({"a.json": lines(event(1))})
    assert home.run().status is RunStatus.PASSED
    assert sorted(calls) == ["copy", "copy", "load"]
    calls.clear()
    home.land({"b.json": lines(event(2))})
    assert home.run().status is RunStatus.PASSED
    assert calls == []
    home.set(window_days=5)
    assert home.run().status is RunStatus.PASSED
    assert calls == ["load"]


def test_a_later_process_takes_the_parse_of_the_one_before_as_it_is(
    home: Home, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the run that built the reference data, from files which the later one does not read."""
    from dbt.parser.partial import PartialParsing

    taken: list[bool] = []
    real = PartialParsing.skip_parsing
    monkeypatch.setattr(PartialParsing, "skip_parsing", lambda self: taken.append(real(self)) or taken[-1])
    home.land({"a.json": lines(event(1))})
    assert home.run().status is RunStatus.PASSED
    monkeypatch.setattr(transform, "_parsed", {})
    home.land({"b.json": lines(event(2))})
    assert home.run().status is RunStatus.PASSED
    assert calls.count("load") == 2
    assert taken == [True]
