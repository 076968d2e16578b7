"""dbt's documentation as one page of the site that asks nobody for anything and names no folder of this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import files, reference_files
from flows.errors import PipelineError
from flows.settings import DBT_PROJECT

if TYPE_CHECKING:
    from flows.settings import Settings

FOLDER = "dbt_docs"

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The page's scripts and styles stand inside it; it holds the project's own words only, none from an event."""

# What stands in dbt's page, and what takes its place.
CHANGES = {
    '<meta charset="utf-8">': f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">',
    'ng-app="dbt"': 'ng-app="dbt" ng-csp="no-unsafe-eval"',
    "<title>dbt Docs</title>": "<title>dbt docs - Podcast pipeline</title>",
    '<link rel="canonical" href="/overview/"/>': "",
    "${require('./assets/favicons/favicon.ico')}": "data:,",
    'xlink:href="{{': 'ng-attr-xlink:href="{{',  # would be loaded as it stands, before it is filled in
}

# Folders of this machine; and unit tests, which would be most of the lineage.
LEFT_OUT = ("root_path", "compiled_path", "build_path", "unit_tests")


def build(settings: Settings, made: Path) -> Path:
    """Write the page from the folder in which dbt left its page, manifest and catalog, where it would be another.

    Raises `PipelineError` when dbt's page is not what it was.
    """
    target = settings.site_dir / FOLDER / "index.html"
    stamp, made_of = target.with_name("made_of"), _made_of(settings, made)
    if target.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == made_of:
        return target
    page = (made / "index.html").read_text(encoding="utf-8")
    for before, after in CHANGES.items():
        page = _replace(page, before, after)
    for name in ("manifest", "catalog"):
        page = _replace(page, f'"{name.upper()}.JSON INLINE DATA"', _inline(settings, made / f"{name}.json"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    stamp.write_text(made_of, encoding="utf-8")
    return target


def _made_of(settings: Settings, made: Path) -> str:
    """Hash of what dbt left there, and of what is changed in it."""
    digest = hashlib.sha256(repr((CHANGES, LEFT_OUT, _folders(settings))).encode())
    for name in ("index.html", "manifest.json", "catalog.json"):
        digest.update(files.sha256(made / name).encode())
    return digest.hexdigest()


def _replace(page: str, before: str, after: str) -> str:
    if before not in page:
        raise PipelineError(
            f"dbt's documentation page lacks {before!r}: this version of dbt makes it in another way, and it cannot be "
            "made safe. What is published is whole; install the pinned version of dbt."
        )
    return page.replace(before, after)


def _inline(settings: Settings, path: Path) -> str:
    """A file of dbt's as a literal of the page's script."""
    text = json.dumps(_strip(json.loads(path.read_text(encoding="utf-8")), _folders(settings)))
    return text.replace("<", "\\u003c")  # no string of it may end the script


def _folders(settings: Settings) -> tuple[str, ...]:
    seeds = (settings.seeds, reference_files.escaped(settings.seeds))
    return tuple(f"{folder}/" for folder in (settings.home / "dbt", settings.home, DBT_PROJECT, *seeds))


def _strip(value: Any, folders: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
    """The value without the folders of this machine."""
    if isinstance(value, dict):
        return {key: _strip(part, folders) for key, part in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [_strip(part, folders) for part in value]
    if isinstance(value, str):
        for folder in folders:
            value = value.replace(folder, "")
    return value
