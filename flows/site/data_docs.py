"""The Data Docs of Great Expectations: a page for each validation result and each suite.

The library says what a page shows and writes it; its look is that of the site (`views.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flows.domain import Gate
from flows.errors import PipelineError
from flows.gx_context import SITE_NAME, load_suites, on_disk, open_context
from flows.site import look

if TYPE_CHECKING:
    from flows.settings import Settings


def build(settings: Settings, run_id: str) -> None:
    """Pages for the results of one run and for the suites; the cost does not grow with history."""
    look.write_assets(settings.site_dir)
    _build_pages(settings, run_id)


def _build_pages(settings: Settings, run_id: str) -> None:
    import great_expectations as gx

    context = open_context(settings, {SITE_NAME: _site(settings)})
    suites = [context.suites.add(gx.ExpectationSuite(**suite)) for gate in Gate for suite in load_suites(gate)]
    new = [key for key in context.validation_results_store.list_keys() if key.run_id.run_name == run_id]
    keys = [*(_suite_key(suite) for suite in suites), *new]
    context.build_data_docs(site_names=[SITE_NAME], resource_identifiers=keys, build_index=False)
    _check(settings, [_page(key) for key in keys])
    for page in (settings.site_dir / SITE_NAME / "expectations").glob("*.html"):
        if page.stem not in {suite.name for suite in suites}:
            page.unlink()


def _site(settings: Settings) -> dict[str, Any]:
    """The library's configuration: its renderers with our additions, our views, and nothing that its pages load."""
    view = {"module_name": "flows.site.views", "class_name": "PageView"}
    return {
        **on_disk("PagesOnly", settings.site_dir / SITE_NAME),
        "module_name": "flows.site.views",
        "show_how_to_buttons": False,
        "site_section_builders": {
            "expectations": {
                "renderer": {
                    "column_section_renderer": _section("ExpectationSuite", "bullet_list_renderer", "SuiteList")
                },
                "view": view,
            },
            "validations": {
                "renderer": {
                    "column_section_renderer": _section("ValidationResults", "table_renderer", "ResultsTable")
                },
                "view": view,
            },
            "profiling": "none",  # this word; a null is not understood
        },
    }


def _section(kind: str, part: str, class_name: str) -> dict[str, Any]:
    return {
        "class_name": f"{kind}ColumnSectionRenderer",
        part: {"module_name": "flows.site.renderers", "class_name": class_name},
    }


def _suite_key(suite: Any) -> Any:  # noqa: ANN401 - the library's own types
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier

    return ExpectationSuiteIdentifier(name=suite.name)


def _page(key: Any) -> str:  # noqa: ANN401 - the library's own types
    """The page of a suite or of a result, from the Data Docs' own folder."""
    section = "validations" if hasattr(key, "run_id") else "expectations"
    return f"{section}/{'/'.join(key.to_tuple())}.html"


def _check(settings: Settings, pages: Iterable[str]) -> None:
    """The library logs a page that it could not render, and goes on without it."""
    missing = [page for page in pages if not (settings.site_dir / SITE_NAME / page).is_file()]
    if missing:
        raise PipelineError(
            f"Data Docs: {len(missing)} pages could not be rendered, among them {missing[0]}; the cause is in the "
            "log above. What the run published is not touched by it."
        )
