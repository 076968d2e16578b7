"""The index of the Data Docs: which results it lists, in which order, and from what it knows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.gx_context import results_dir
from flows.settings import Settings
from flows.site import results_index

NEW, OLD = "20240102T000000.000000Z", "20240101T000000.000000Z"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def _store(settings: Settings, path: str, *failed: str, page: bool = True) -> Path:
    """A stored result with a passed expectation and failed ones of the given severities, and its page."""
    results = [{"success": True, "expectation_config": {"severity": "critical"}}]
    results += [{"success": False, "expectation_config": {"severity": severity}} for severity in failed]
    stored = results_dir(settings) / f"{path}.json"
    html = settings.site_dir / "data_docs" / "validations" / f"{path}.html"
    for file in (stored, html):
        file.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps({"results": results}))
    if page:
        html.touch()
    return stored


def test_newest_first_with_the_worst_severity(settings: Settings) -> None:
    _store(settings, f"raw_rows/one/{OLD}/table", "info", "critical", "warning")
    _store(settings, f"raw_rows/two/{NEW}/table")
    newest, oldest = results_index.list_results(settings)
    assert (newest.run, newest.success, newest.severity, newest.evaluated) == ("two", True, None, 1)
    assert (oldest.run, oldest.success, oldest.severity, oldest.failed) == ("one", False, "critical", 3)
    assert oldest.page == f"validations/raw_rows/one/{OLD}/table.html"


def test_a_result_without_a_page_is_not_listed(settings: Settings) -> None:
    _store(settings, f"raw_rows/one/{OLD}/table", page=False)
    assert results_index.list_results(settings) == []


def test_a_result_is_read_once(settings: Settings) -> None:
    stored = _store(settings, f"raw_rows/one/{OLD}/table", "warning")
    first = results_index.list_results(settings)
    stored.write_text("not read again")
    assert results_index.list_results(settings) == first


def test_what_was_deleted_leaves_the_index(settings: Settings) -> None:
    stored = _store(settings, f"raw_rows/one/{OLD}/table")
    assert results_index.list_results(settings)
    stored.unlink()
    assert results_index.list_results(settings) == []


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_damaged_list_of_what_is_known_is_made_anew(settings: Settings, damage: str) -> None:
    _store(settings, f"raw_rows/one/{OLD}/table", "warning")
    first = results_index.list_results(settings)
    (results_dir(settings).parent / "results_index.json").write_text(damage)
    assert results_index.list_results(settings) == first
