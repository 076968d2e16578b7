"""The look of the site: where templates, stylesheet and script stand, and how a page finds them."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flows.domain import Severity
from flows.masking import visible

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = Path(__file__).parent / "assets"

SEVERITIES: dict[str, str] = {Severity.CRITICAL: "bad", Severity.WARNING: "warn", Severity.INFO: "info"}
"""The kind of badge for each."""


STATES = {
    "passed": "ok",
    "published": "ok",
    "released": "ok",
    "ok": "ok",
    "quarantined": "warn",
    "noted": "warn",
    "failed": "bad",
    "crashed": "bad",
    "FAILED": "bad",
}
"""The kind of badge for each; any other is neither good nor bad."""


def environment() -> Environment:
    """Templates that escape every value, and show what would not be seen."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def printable(text: str) -> str:
    """The text with its invisible characters as codes: controls, and what turns the direction of writing."""
    return text if text.isprintable() else "\n".join(visible(line) for line in text.split("\n"))


def with_code(text: str) -> Markup:
    """A description, whose words between backticks are names."""
    kinds = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup().join(kinds[n % 2].format(printable(part)) for n, part in enumerate(text.split("`")))


def write_assets(site_dir: Path) -> None:
    """Styles and scripts, which pages link by a relative path, where they are not there as they are now."""
    folder = site_dir / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    for source in (*sorted(ASSETS.glob("*.*")), _drawing_library()):
        target = folder / source.name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)


def _drawing_library() -> Path:
    """The script that the installed package carries; found without importing the package, which takes long."""
    return Path(str(distribution("plotly").locate_file("plotly/package_data/plotly.min.js")))


def root(depth: int) -> str:
    """The way from a page so many folders deep to the site's own folder."""
    return "../" * depth


def badge(kind: str, word: str) -> Markup:
    """A status as a word; the kind is ok, warn, bad or info."""
    return Markup('<span class="badge {}">{}</span>').format(kind, word)


def state(word: str) -> Markup:
    """The state of a run or a batch, or the outcome of an expectation."""
    return badge(STATES.get(word, "info"), word)


def severity(word: str) -> Markup:
    """The severity of something that failed."""
    return badge(SEVERITIES.get(word, "bad"), word)
