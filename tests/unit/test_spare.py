"""The published file before the last, and who may still look at it."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from flows import spare
from flows.domain import fingerprint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a file open: run on Linux")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published file, and the one before it as the spare."""
    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows of before")
    spare.keep(path, fingerprint(path.stat()))
    newer = tmp_path / "newer"
    newer.write_bytes(b"rows")
    newer.replace(path)
    return path


def is_as_left(published: Path) -> bool:
    path = spare.path_beside(published)
    return spare.is_as_left(path, fingerprint(path.stat()))


def test_it_is_what_was_published(published: Path) -> None:
    assert spare.path_beside(published).read_bytes() == b"rows of before"
    assert is_as_left(published)


def test_it_is_left_alone_while_somebody_has_it_open(published: Path) -> None:
    with spare.path_beside(published).open("rb"):
        assert not is_as_left(published)
    assert is_as_left(published)


def test_it_is_left_alone_while_somebody_has_it_in_memory(published: Path) -> None:
    with spare.path_beside(published).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert not is_as_left(published)
    mapped.close()
    assert is_as_left(published)


def test_it_is_left_alone_where_another_name_leads_to_it(published: Path, tmp_path: Path) -> None:
    (tmp_path / "kept by somebody").hardlink_to(spare.path_beside(published))
    assert not is_as_left(published)


def test_another_file_than_the_one_that_was_known_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows")
    known = fingerprint(path.stat())
    path.write_bytes(b"rows of somebody")
    spare.keep(path, known)
    spare.keep(path, None)
    assert not spare.path_beside(path).exists()


def test_a_file_system_without_second_names_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    path = tmp_path / "published.duckdb"
    path.write_bytes(b"rows")
    monkeypatch.setattr("os.link", refuse)
    spare.keep(path, fingerprint(path.stat()))
    spare.remove(path)
    assert [p.name for p in tmp_path.iterdir()] == ["published.duckdb"]
