"""Data Docs and dbt docs, in a browser: they stand on their own, and nothing that they show is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PHONE, Browser, barriers, dead_links, serve, too_wide
from conftest import Home
from hostile import FRAGMENTS, TEXT, seen

from flows.settings import PROJECT_ROOT

GOOD = {
    "event_type": "play",
    "user_id": "u000001",
    "episode_id": "e0001",
    "timestamp": "2024-01-01T10:00:00Z",
    "duration": 60,
}
RUN = "<img src=x onerror=hit=1> run"


def _lines(count: int, **changes: Any) -> bytes:
    rows = [GOOD | {"timestamp": f"2024-01-01T10:00:{second:02}Z"} | changes for second in range(count)]
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Path]:  # noqa: ARG001
    """The site after one run over files with hostile names and values."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        home = Home(tmp_path_factory.mktemp("docs"), monkeypatch, shares_docs=False)
        home.land({
            "good.json": _lines(9),
            "<img src=x onerror=hit=1>.json": _lines(5, duration=TEXT),
            "'; drop --/=1+1 `b` [a](javascript:hit=1) {{ 7*7 }} $PARAMETER.json": _lines(5, user_id=TEXT),
        })  # fmt: skip
        home.run()
        yield home.path / "site"


@pytest.fixture(scope="module")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data Docs of a suite and of a result that are hostile in every field."""
    from flows import gx_context
    from flows.settings import Settings
    from flows.site import data_docs, results_index

    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(gx_context, "SUITES", folder / "suites")
        (folder / "suites").mkdir()
        for gate in ("raw", "validated", "cleansed", "gold"):
            (folder / "suites" / f"{gate}_rows.json").write_text(json.dumps(_suite(f"{gate}_rows")))
        settings = Settings(home=folder)
        results = gx_context.results_dir(settings) / "raw_rows" / RUN / "20240101T000000.000000Z"
        results.mkdir(parents=True)
        (results / "<svg onload=hit=1>.json").write_text(json.dumps(_result("raw_rows")))
        data_docs.build(settings, RUN)
        results_index.build(settings)
        yield folder / "site"


def _expectations() -> list[dict[str, Any]]:
    return [
        {"type": kind, "kwargs": kwargs, "severity": severity, **described}
        for severity, described in (("critical", {"description": TEXT}), ("warning", {"meta": {"notes": TEXT}}))
        for kind, kwargs in (
            ("expect_column_values_to_not_be_null", {"column": TEXT}),
            ("expect_column_values_to_be_in_set", {"column": TEXT, "value_set": [TEXT, "b"]}),
            ("expect_column_values_to_match_regex", {"column": TEXT, "regex": TEXT}),
            ("expect_column_pair_values_to_be_equal", {"column_A": TEXT, "column_B": "b"}),
            ("expect_compound_columns_to_be_unique", {"column_list": [TEXT, "b"]}),
            ("expect_column_distinct_values_to_be_in_set", {"column": "plain", "value_set": [TEXT]}),
            ("expect_column_most_common_value_to_be_in_set", {"column": "plain", "value_set": [TEXT]}),
            ("unexpected_rows_expectation", {"unexpected_rows_query": f"select '{TEXT}' from {{batch}}"}),
            ("expect_table_row_count_to_equal", {"value": 1}),
        )
    ]


def _suite(name: str) -> dict[str, Any]:
    return {"name": name, "meta": {"table": TEXT, "judges": TEXT, "notes": TEXT}, "expectations": _expectations()}


def _result(suite: str) -> dict[str, Any]:
    """A validation result as the library stores it, of expectations that failed, one that passed and one that broke."""
    found = {
        "observed_value": TEXT,
        "element_count": 3,
        "unexpected_count": 2,
        "unexpected_percent": 66.6,
        "unexpected_percent_total": 66.6,
        "unexpected_percent_nonmissing": 66.6,
        "missing_count": 0,
        "missing_percent": 0,
        "partial_unexpected_list": [TEXT, TEXT],
        "partial_unexpected_counts": [{"value": TEXT, "count": 2}],
        "partial_unexpected_index_list": [{"batch_id": TEXT, TEXT: TEXT}],
        "unexpected_index_query": f"select {TEXT}",
        "unexpected_index_column_names": ["batch_id"],
        "details": {"value_counts": [{"value": TEXT, "count": 1}], "unexpected_rows": [{TEXT: TEXT}]},
    }
    calm = {"exception_message": None, "exception_traceback": None, "raised_exception": False}
    broken = {"exception_message": TEXT, "exception_traceback": TEXT, "raised_exception": True}
    results = [
        {"success": False, "expectation_config": e, "result": found, "exception_info": calm, "meta": {}}
        for e in _expectations()
    ]
    results[8] |= {"success": True}
    results[9] |= {"exception_info": broken, "result": {}}
    return {
        "suite_name": suite,
        "success": False,
        "results": results,
        "statistics": {
            "evaluated_expectations": 18,
            "successful_expectations": 1,
            "unsuccessful_expectations": 17,
            "success_percent": 5.5,
        },
        "suite_parameters": {TEXT: TEXT},
        "meta": {
            "run_id": {"run_name": TEXT, "run_time": "2024-01-01T00:00:00+00:00"},
            "great_expectations_version": TEXT,
            "batch_spec": {"data_asset_name": TEXT, "nested": {TEXT: TEXT}, TEXT: [TEXT]},
            "batch_markers": {TEXT: TEXT},
            "active_batch_definition": {"datasource_name": TEXT, "data_asset_name": TEXT},
        },
        "id": None,
    }  # fmt: skip


def _pages(site: Path) -> list[Path]:
    return sorted((site / "data_docs").rglob("*.html"))


def _new_kinds(site: Path) -> list[Path]:
    """The index, a suite, and the results with a failure."""
    docs = site / "data_docs"
    validations = [p for p in docs.glob("validations/**/*.html") if 'data-success="false"' in p.read_text()]
    return [docs / "index.html", next(docs.glob("expectations/*.html")), *validations]


def test_every_link_leads_to_a_file(site: Path) -> None:
    results = list((site.parent / "gx" / "validation_results").rglob("*.json"))
    suites = list((PROJECT_ROOT / "expectations").glob("*.json"))
    assert len(_pages(site)) == 1 + len(suites) + len(results)
    assert dead_links(site / "data_docs") == []


def test_links_to_hostile_names_lead_there(hostile_site: Path) -> None:
    dead = dead_links(hostile_site / "data_docs")
    others = ("../catalog.html", *(f"../{place}index.html" for place in ("", "runs/", "quarantine/", "dbt_docs/")))
    assert [link for link in dead if not link.endswith(others)] == []


def test_no_page_has_anything_inline(site: Path, hostile_site: Path) -> None:
    for page in [*_pages(site), *_pages(hostile_site)]:
        text = page.read_text(encoding="utf-8")
        assert "default-src 'none'; style-src 'self'; script-src 'self'" in text
        assert text.count("<script") == text.count('assets/site.js" defer></script>') == 1
        assert " style=" not in text


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"width": PHONE}], ids=["light", "dark", "phone"])
def test_pages_are_whole_and_readable(site: Path, browser: Browser, look: dict[str, Any]) -> None:
    for path in _new_kinds(site):
        page = browser.open(path, **look)
        assert browser.problems(page) == []
        assert barriers(page) == []
        assert too_wide(page) == []
        assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "1152px"


def test_pages_are_whole_from_a_server_too(site: Path, browser: Browser) -> None:
    with serve(site) as address:
        for path in [*_new_kinds(site), site / "dbt_docs" / "index.html"]:
            page = browser.open(f"{address}/{path.relative_to(site)}", wait="networkidle")
            assert browser.problems(page) == []


def test_the_filter_leaves_what_failed(site: Path, browser: Browser) -> None:
    for path in [p for p in _new_kinds(site) if "expectations" not in p.parts]:
        page = browser.open(path)
        rows, failed = page.locator("tr[data-success]"), page.locator("tr[data-success=false]")
        assert 0 < failed.count() < rows.count()
        page.get_by_role("button", name="Failed").focus()
        page.keyboard.press("Enter")
        assert rows.filter(visible=True).count() == failed.count() == failed.filter(visible=True).count()
        assert page.locator("button[aria-pressed=true]").inner_text() == f"Failed {failed.count()}"
        page.get_by_role("button", name="All").click()
        assert rows.filter(visible=True).count() == rows.count()


def test_the_index_says_what_failed_and_how_badly(site: Path, browser: Browser) -> None:
    page = browser.open(site / "data_docs" / "index.html")
    held_back = page.locator("tr", has_text="validated_batches").filter(has_text="2")
    assert held_back.locator(".badge.bad").inner_text() == "failed: critical"
    held_back.get_by_role("link", name="validated_batches").click()
    assert page.locator("h1").inner_text() == "validated_batches"
    assert "Most rows of a batch are valid." in page.locator("tr[data-success=false]").first.inner_text()
    page.get_by_role("link", name="Data Docs").first.click()
    assert page.url == (site / "data_docs" / "index.html").as_uri()


def test_what_comes_from_elsewhere_is_shown_and_never_run(hostile_site: Path, browser: Browser) -> None:
    for path in _new_kinds(hostile_site):
        page = browser.open(path)
        for details in page.locator("details").all():
            details.locator("> summary").first.click()
        page.mouse.move(300, 300)
        assert page.evaluate("typeof window.hit") == "undefined"
        assert page.locator("main").locator("img, svg, script, style, iframe, a[href^=javascript]").count() == 0
        assert browser.problems(page) == []
        if "index.html" not in path.name:
            shown = page.locator("main").inner_text()
            assert [fragment for fragment in FRAGMENTS if seen(fragment) not in shown] == []


@pytest.mark.parametrize("look", [{"dark": True}, {"width": PHONE}], ids=["dark", "phone"])
def test_hostile_pages_stay_readable(hostile_site: Path, browser: Browser, look: dict[str, Any]) -> None:
    for path in _new_kinds(hostile_site):
        page = browser.open(path, **look)
        assert too_wide(page) == []
        assert barriers(page) == []


def test_dbt_docs_ask_nobody_and_lead_back(site: Path, browser: Browser) -> None:
    page = browser.open(site / "dbt_docs" / "index.html", wait="networkidle")
    assert "The tables of the podcast pipeline" in page.inner_text("body")
    page.get_by_role("link", name="fact_user_interactions").first.click()
    page.get_by_text("Grain: one event, as in silver.cleansed_events.").first.wait_for()
    page.goto(f"{(site / 'dbt_docs' / 'index.html').as_uri()}#!/overview?g_v=1")
    page.reload()
    page.locator("canvas").first.wait_for()
    assert browser.problems(page) == []
    page.goto((site / "dbt_docs" / "index.html").as_uri())
    page.reload()
    page.get_by_role("link", name="Data Docs").click()
    assert page.url == (site / "data_docs" / "index.html").as_uri()


def test_dbt_docs_hold_no_folder_of_this_machine_and_no_event(site: Path) -> None:
    text = (site / "dbt_docs" / "index.html").read_text(encoding="utf-8")
    assert str(site.parent) not in text
    assert str(PROJECT_ROOT) not in text
    assert "onerror=hit" not in text


def test_dbt_docs_are_made_anew_only_when_they_would_change(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import transform
    from flows.settings import Settings

    settings = Settings(home=site.parent)
    monkeypatch.setattr(transform, "_environment", lambda _: pytest.fail("dbt was called"))
    assert transform.generate_docs(settings) == settings.home / "dbt" / "docs"
    assert settings.documentation_hash() != Settings(home=site.parent, window_days=3).documentation_hash()
