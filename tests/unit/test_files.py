"""Files on disk that are moved, also to another disk and onto what cannot be renamed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import files


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")  # noqa: S108 - of this test, and removed
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{memory} is no file system of its own here")
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def fill(folder: Path) -> None:
    (folder / "batch").mkdir(parents=True)
    (folder / "batch" / "report.md").write_text("why")
    (folder / "left.txt").write_text("x")


def is_filled(folder: Path) -> bool:
    return (folder / "batch" / "report.md").read_text() == "why" and (folder / "left.txt").read_text() == "x"


def test_a_folder_goes_to_another_disk(tmp_path: Path, other_disk: Path) -> None:
    fill(tmp_path / "here")
    files.move(tmp_path / "here", other_disk / "there")
    assert is_filled(other_disk / "there")
    assert not (tmp_path / "here").exists()


def test_what_came_there_before_a_kill_is_gone_on_with(tmp_path: Path, other_disk: Path) -> None:
    fill(tmp_path / "here")
    (other_disk / "there" / "batch").mkdir(parents=True)
    files.move(tmp_path / "here", other_disk / "there")
    assert is_filled(other_disk / "there")


@pytest.mark.parametrize("mounted", ["here", "there"])
def test_a_mount_point_stays_and_what_is_in_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str
) -> None:
    """The system refuses to rename a mount point, and to remove it."""
    fill(tmp_path / "here")
    if mounted == "there":
        (tmp_path / "there").mkdir()
    busy, rename, remove = tmp_path / mounted, os.rename, os.rmdir

    def replace(source: Path, target: Path) -> Path:
        if busy in (source, target):
            raise OSError(errno.EBUSY, "Device or resource busy")
        rename(source, target)
        return target

    def rmdir(path: Path) -> None:
        if path == busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        remove(path)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    files.move(tmp_path / "here", tmp_path / "there")
    assert is_filled(tmp_path / "there")
    assert not (tmp_path / "here").exists() or not any((tmp_path / "here").iterdir())


def test_another_trouble_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.move(tmp_path / "nowhere", tmp_path / "there")
