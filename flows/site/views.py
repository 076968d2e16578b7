"""How a suite or a validation result becomes a page: the library says what is shown, this module how.

Everything that is shown is a string from somewhere else, a column's name or a value found in the data, and is
escaped. Of the library's markup only a link within the site, a mark of success and code are kept.
"""

from __future__ import annotations

import re
from typing import Any

from great_expectations.render.renderer.site_builder import SiteBuilder
from great_expectations.render.view import DefaultJinjaPageView
from markupsafe import Markup, escape

from flows.site import look

PLACE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[_a-zA-Z]\w*)|\{(?P<braced>[_a-zA-Z]\w*)\})")

# What the library marks by an icon, as a word: (look, word).
MARKS = {
    "fa-check-circle": ("ok", "passed"),
    "fa-times": ("bad", "failed"),
    "fa-exclamation-triangle": ("bad", "error"),
}
TAGS = {
    "code": Markup("<code>{}</code>"),
    "pre": Markup("<pre>{}</pre>"),
    "strong": Markup("<strong>{}</strong>"),
}
WORDS = {"Succeeded": "ok", "Failed": "bad"}

SEVERITY = "severity"
"""Marks a value as the severity of a failed expectation."""

# Folders between a page and the Data Docs' own, the ones that a suite's name makes aside.
DEPTHS = {"ExpectationSuitePageRenderer": 0, "ValidationResultsPageRenderer": 3}


class PagesOnly(SiteBuilder):  # type: ignore[misc] # the library has no types
    """A site without the library's index, fonts and pictures."""

    def build(self, resource_identifiers: Any = None, build_index: bool = False) -> tuple[Any, None]:  # noqa: ANN401, ARG002, FBT001, FBT002
        """Write the pages of the given suites and results."""
        for section in self.site_section_builders.values():
            section.build(resource_identifiers=resource_identifiers)
        return self.get_resource_url(only_if_exists=False), None


class PageView(DefaultJinjaPageView):  # type: ignore[misc] # the library has no types
    """A page of the site, of a document that one of the library's page renderers made."""

    _template = "data_docs/page.j2"

    def __init__(self, custom_styles_directory: object = None, custom_views_directory: object = None) -> None:  # noqa: ARG002
        self.env = look.environment()
        self.env.filters.update(text=text, outcome=outcome, is_rule=is_rule)

    def render(self, document: Any, template: str | None = None, **_: object) -> str:  # noqa: ANN401
        """The page's HTML."""
        shown = document.to_json_dict()
        suite = str(shown["expectation_suite_name"])
        sections = [section | {"success": _all(outcomes(section))} for section in shown["sections"]]
        return str(
            super().render(
                document,
                template,
                root=look.root(DEPTHS[shown["renderer_type"]] + 2 + suite.count(".")),
                here="Data Docs",
                title=shown["page_title"],
                suite=suite,
                shown=sections,
                outcomes=[o for section in shown["sections"] for o in outcomes(section)],
            )
        )


def text(template: dict[str, Any]) -> Markup:
    """A template of the library with its values, all escaped."""
    shown = str(template.get("template") or "").strip("\n")  # line breaks around it are the library's way to make room
    pieces: list[Markup] = []
    end = 0
    for place in PLACE.finditer(shown):
        pieces += [_lines(shown[end : place.start()]), _piece(template, place)]
        end = place.end()
    content = Markup("").join([*pieces, _lines(shown[end:])])
    return TAGS.get(str(template.get("tag")), Markup("{}")).format(content)


def _piece(template: dict[str, Any], place: re.Match[str]) -> Markup:
    """What stands in one place of a template; a name that the template has no value for stays as it is."""
    name = place["name"] or place["braced"]
    params = template.get("params") or {}
    if place["dollar"]:
        return Markup("$")
    if name not in params:
        return _lines(place[0])
    styling = template.get("styling") or {}
    style = (styling.get("params") or {}).get(name) or styling.get("default") or {}
    return Markup("") if name == "html_success_icon" else _value(params[name], style)


def _value(value: object, style: dict[str, Any]) -> Markup:
    for icon in style.get("classes") or ():
        if icon in MARKS:
            return look.badge(*MARKS[icon])
        if icon == SEVERITY:
            return look.severity(str(value))
    shown = "" if value is None else str(value)
    href = str((style.get("attributes") or {}).get("href", ""))
    if style.get("tag") == "a" and _is_inside(href):
        return Markup('<a href="{}">{}</a>').format(href, look.printable(shown))
    if shown in WORDS:
        return look.badge(WORDS[shown], shown.lower())
    lines = _lines(shown)
    return Markup("<code>{}</code>").format(lines) if "badge" in (style.get("classes") or ()) else lines


def _is_inside(href: str) -> bool:
    """Whether a link is one of the library's own to another page of the Data Docs."""
    return re.fullmatch(r"(\.\./)+(expectations|validations)/[^:\\]*\.html", href) is not None


def _lines(shown: str) -> Markup:
    return escape(look.printable(shown)).replace("\n", Markup("<br>"))


def outcomes(section: dict[str, Any]) -> list[bool]:
    """Whether each expectation of a section succeeded."""
    tables = [b for b in section["content_blocks"] if isinstance(b, dict) and b.get("content_block_type") == "table"]
    found = [outcome(row) for table in tables for row in table["table"]]
    return [o for o in found if o is not None]


def outcome(row: Any) -> bool | None:  # noqa: ANN401
    """Whether the expectation of a row succeeded; None for a row of another kind."""
    template = row[0].get("string_template") if row and isinstance(row[0], dict) else None
    styles = ((template or {}).get("styling") or {}).get("params") or {}
    icons = [icon for style in styles.values() for icon in style.get("classes") or () if icon in MARKS]
    return MARKS[icons[0]][0] == "ok" if icons else None


def is_rule(block: Any) -> bool:  # noqa: ANN401
    """Whether a block is a line between two others."""
    return isinstance(block, dict) and (block.get("string_template") or {}).get("tag") == "hr"


def _all(found: list[bool]) -> bool | None:
    return all(found) if found else None
