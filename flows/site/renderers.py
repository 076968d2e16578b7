"""What a page says of an expectation besides what the library says: severity, call, and the query for failing rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from great_expectations.render import CollapseContent, RenderedStringTemplateContent
from great_expectations.render.renderer.content_block import (
    ExpectationSuiteBulletListContentBlockRenderer,
    ValidationResultsTableContentBlockRenderer,
)

from flows.site.views import SEVERITY

HEADER = ["Result", "Severity", "Expectation", "Found"]


class ResultsTable(ValidationResultsTableContentBlockRenderer):  # type: ignore[misc] # the library has no types
    """The results of one column's expectations, or of the table's."""

    @classmethod
    def _process_content_block(cls, content_block: Any, has_failed_evr: Any, render_object: Any = None) -> None:  # noqa: ANN401
        super()._process_content_block(content_block, has_failed_evr, render_object)
        content_block.header_row = HEADER

    @classmethod
    def _get_content_block_fn(cls, *args: Any, **kwargs: Any) -> Callable[..., Any]:  # noqa: ANN401
        render = super()._get_content_block_fn(*args, **kwargs)

        def with_more(*, result: Any, **options: Any) -> list[list[Any]]:  # noqa: ANN401
            mark, expectation, found = render(result=result, **options)[0][:3]
            config = result.expectation_config
            shown = [*_as_list(expectation), _call(config), *_query(result)]
            return [[mark, _severity(config, failed=not result.success), shown, found]]

        return with_more


class SuiteList(ExpectationSuiteBulletListContentBlockRenderer):  # type: ignore[misc] # the library has no types
    """The expectations of a suite."""

    @classmethod
    def _get_content_block_fn(cls, *args: Any, **kwargs: Any) -> Callable[..., Any]:  # noqa: ANN401
        render = super()._get_content_block_fn(*args, **kwargs)

        def with_more(*, configuration: Any, **options: Any) -> list[Any]:  # noqa: ANN401
            shown = render(configuration=configuration, **options)
            return [[*shown, _words(f"({configuration.severity.value})"), _call(configuration)]]

        return with_more


def _as_list(block: Any) -> list[Any]:  # noqa: ANN401
    return block if isinstance(block, list) else [block]


def _words(value: str, tag: str = "span", **styling: Any) -> Any:  # noqa: ANN401
    template = {"template": "$value", "params": {"value": value}, "tag": tag, "styling": styling}
    return RenderedStringTemplateContent(string_template=template)


def _severity(config: Any, *, failed: bool) -> Any:  # noqa: ANN401
    """Coloured only where it matters: of an expectation that failed."""
    word = str(config.severity.value)
    return _words(word, default={"classes": [SEVERITY]}) if failed else _words(word)


def _call(config: Any) -> Any:  # noqa: ANN401
    """The expectation as it is called, with what it allows."""
    kwargs = {k: v for k, v in config.kwargs.items() if k not in ("batch_id", "meta_properties_to_render")}
    return _words(f"{config.type}({', '.join(f'{k}={_argument(v)}' for k, v in kwargs.items())})", "code")


def _argument(value: object) -> str:
    """A value, or the name of the threshold that is filled in when the suite is run."""
    if isinstance(value, dict) and set(value) == {"$PARAMETER"}:
        return f"${value['$PARAMETER']}"
    return repr(value)


def _query(result: Any) -> list[Any]:  # noqa: ANN401
    """How to find the rows that fail, of an expectation that failed."""
    query = (result.result or {}).get("unexpected_index_query")
    if result.success or not query:
        return []
    return [CollapseContent([_words(query, "pre")], collapse_toggle_link="Query for the rows that fail")]
