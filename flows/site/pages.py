"""Values -> pages of our own: what the templates are given, and which pages there are."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from flows.masking import visible
from flows.site import look

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Environment

    from flows.settings import Settings
    from flows.site.figures import Chart


def render(template: str, *, title: str, here: str | None = None, depth: int = 0, **values: Any) -> str:  # noqa: ANN401 - what the template takes
    """A page of the site, `depth` folders below its root; `here` is the place in the site that it is."""
    return _environment().get_template(f"{template}.j2").render(title=title, here=here, root=look.root(depth), **values)


@cache
def _environment() -> Environment:
    """One for all pages, so that a template is read once."""
    environment = look.environment()
    environment.filters |= {"visible": visible, "as_json": _as_json, "with_code": look.with_code, "state": look.state}
    return environment


def write(settings: Settings, name: str, page: str) -> Path:
    """Put a page into the site, whole for whoever reads; what a crash takes, the next run writes again."""
    path = settings.site_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def names(settings: Settings, folder: str) -> set[str]:
    """The names of the pages that a folder of the site has, besides its index."""
    return {path.stem for path in (settings.site_dir / folder).glob("*.html")} - {"index"}


def _as_json(chart: Chart) -> Markup:
    """JSON that no HTML parser can take for anything else."""
    text = json.dumps(asdict(chart))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above, by the rules of JSON
