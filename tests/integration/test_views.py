"""Every kind of block that the library's renderers make, with harmful text in each of its strings."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from great_expectations.render import RenderedDocumentContent, RenderedSectionContent
from hostile import FRAGMENTS, TEXT, seen

from flows.site.views import PageView, text

OURS = {
    "a", "body", "button", "br", "code", "details", "div", "h1", "h2", "h3", "head", "header", "html", "li", "link",
    "main", "meta", "nav", "ol", "p", "pre", "script", "section", "span", "strong", "summary", "table", "tbody", "td",
    "th", "thead", "title", "tr", "ul",
}  # fmt: skip


class Reader(HTMLParser):
    """The tags, the attributes and the words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def template(**changes: Any) -> dict[str, Any]:
    """A string of the library's with harm in its text, values, styles, attributes and tag."""
    styling = {"classes": [TEXT], "attributes": {"onclick": TEXT, "href": TEXT}, "styles": {TEXT: TEXT}}
    shown = {
        "template": f"{TEXT} $value ${{other}} $linked $dressed",
        "params": {"value": TEXT, "other": [TEXT], "linked": TEXT, "dressed": TEXT},
        "tag": TEXT,
        "tooltip": {"content": TEXT, "placement": TEXT},
        "styling": styling
        | {
            "default": {"tag": "script"} | styling,
            "params": {
                "linked": {"tag": "a", "attributes": {"href": "javascript:hit=1"}},
                "dressed": {"tag": "img", "classes": ["badge"]},
            },
        },
    }
    return {"content_block_type": "string_template", "string_template": shown | changes, "styling": styling}


BLOCKS: dict[str, dict[str, Any]] = {
    "header": {},
    "table": {"table": [[TEXT, template(), [TEXT, template()], {TEXT: TEXT}, 1.5, None]]},
    "table with a header": {
        "header_row": [TEXT, template()],
        "table": [[template(), TEXT]],
        "table_options": {TEXT: TEXT},
    },
    "bullet_list": {"bullet_list": [TEXT, template(), template(tag="hr")]},
    "value_list": {"value_list": [TEXT, template()]},
    "text": {"text": [TEXT, template()]},
    "markdown": {"markdown": TEXT},
    "collapse": {"collapse_toggle_link": template(), "collapse": [TEXT, template()], "inline_link": True},
    "content_block_container": {"content_blocks": [template(), {"content_block_type": "text", "text": [TEXT]}]},
    "tabs": {"tabs": [{"tab_name": TEXT, "tab_content": template()}]},
    "string_template": template(),
    "graph": {"graph": {TEXT: TEXT}},
    TEXT: {"content": TEXT},
}


def _page(*blocks: Any) -> str:
    section = RenderedSectionContent(section_name=TEXT, content_blocks=list(blocks))
    document = RenderedDocumentContent(
        renderer_type="ExpectationSuitePageRenderer",
        page_title=TEXT,
        expectation_suite_name="suite",
        sections=[section],
    )
    return PageView().render(document)


@pytest.mark.parametrize("kind", BLOCKS)
def test_nothing_in_a_block_becomes_markup(kind: str) -> None:
    block = {"content_block_type": kind.removesuffix(" with a header"), "header": template(), "subheader": TEXT}
    page = Reader(_page(block | BLOCKS[kind]))
    assert page.tags <= OURS
    assert page.tags.isdisjoint({"img", "svg", "style"})
    assert {name for name, _ in page.attributes}.isdisjoint({"style", "onclick", "onerror", "onload"})
    assert [
        v for n, v in page.attributes if n in ("href", "src") and not v.startswith(("../", "data:,", "#main"))
    ] == []
    words = "".join(page.words)
    assert [fragment for fragment in FRAGMENTS if seen(fragment) not in words] == []


def test_a_name_without_a_value_stays_as_it_is() -> None:
    assert text({"template": "$PARAMETER and $gone or ${gone}", "params": {}}) == "$PARAMETER and $gone or ${gone}"


@pytest.mark.parametrize(
    "href",
    ["javascript:x", "//host/x.html", "https://host/x.html", "../../x.html", "../expectations/:x.html", "../a\\b.html"],
)
def test_a_link_leads_to_the_data_docs_or_nowhere(href: str) -> None:
    styling = {"params": {"name": {"tag": "a", "attributes": {"href": href}}}}
    assert text({"template": "$name", "params": {"name": "n"}, "styling": styling}) == "n"
