"""dbt's documentation page on its way into the site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.errors import PipelineError
from flows.settings import DBT_PROJECT, Settings
from flows.site import dbt_docs

PAGE = "".join(dbt_docs.CHANGES) + ' "MANIFEST.JSON INLINE DATA" "CATALOG.JSON INLINE DATA"'


def _made(folder: Path, page: str = PAGE, **manifest: object) -> Path:
    folder.mkdir()
    (folder / "index.html").write_text(page)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "catalog.json").write_text("{}")
    return folder


def test_no_folder_of_the_machine_comes_with_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    made = _made(
        tmp_path / "made",
        nodes={"a": {"root_path": "/x", "original_file_path": f"{settings.home}/dbt/seeds/a.csv", "path": "a.sql"}},
        code=[f"read('{DBT_PROJECT}/models/a.sql')"],
    )
    page = dbt_docs.build(settings, made).read_text()
    assert str(tmp_path) not in page
    assert str(DBT_PROJECT) not in page
    assert '{"nodes": {"a": {"original_file_path": "seeds/a.csv", "path": "a.sql"}}' in page


def test_no_text_of_the_project_ends_the_script(tmp_path: Path) -> None:
    made = _made(tmp_path / "made", description="</script><script>alert(1)</script>")
    assert "</script>" not in dbt_docs.build(Settings(home=tmp_path), made).read_text()


@pytest.mark.parametrize("place", [*dbt_docs.CHANGES, '"MANIFEST.JSON INLINE DATA"'])
def test_a_page_that_cannot_be_made_safe_is_refused(tmp_path: Path, place: str) -> None:
    made = _made(tmp_path / "made", PAGE.replace(place, ""))
    with pytest.raises(PipelineError, match="lacks"):
        dbt_docs.build(Settings(home=tmp_path), made)
    assert not (tmp_path / "site" / "dbt_docs").exists()


def test_the_page_is_written_where_it_would_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, made = Settings(home=tmp_path), _made(tmp_path / "made")
    page = dbt_docs.build(settings, made)
    page.write_text("kept")
    assert dbt_docs.build(settings, made).read_text() == "kept"
    (made / "catalog.json").write_text('{"a": 1}')
    assert '{"a": 1}' in dbt_docs.build(settings, made).read_text()
    page.write_text("kept")
    monkeypatch.setattr(dbt_docs, "CHANGES", dbt_docs.CHANGES | {"data:,": "data:,x"})
    assert "data:,x" in dbt_docs.build(settings, made).read_text()
