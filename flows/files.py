"""Files on disk, hashed, copied and named so that a crash leaves the old or the new, and nothing between."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(path: Path) -> bytes:
    """The first line, up to 1 MB, without its end; `.gz` is unpacked. Raises `OSError`, and `EOFError`."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.readline(2**20).splitlines()[0] if file.peek(1) else b""


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder, none where there is no folder; links are left out."""
    for root, _, names in os.walk(folder):
        paths = (Path(root) / name for name in sorted(names))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def copy(source: Path, target: Path) -> None:
    """A copy whose bytes have reached the disk; folders on the way are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sync(target)


def write(path: Path, text: str) -> None:
    """A file that is there whole, or as it was before."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    sync(beside)
    rename(beside, path)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder its name, and the name to the disk; a file that has the name is replaced."""
    source.replace(target)
    sync(target.parent)


def move(source: Path, target: Path) -> None:
    """`rename`, of a folder also to another disk, or from or onto a mount point: then what is in it is moved."""
    try:
        rename(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EBUSY) or not source.is_dir():
            raise
        target.mkdir(exist_ok=True)
        for child in sorted(source.iterdir()):
            _move_or_copy(child, target / child.name)
        sync_folders(target)
        with suppress(OSError):  # a mount point stays
            source.rmdir()


def _move_or_copy(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if source.is_dir():
            shutil.copytree(source, target, copy_function=lambda a, b: copy(Path(a), Path(b)), dirs_exist_ok=True)
            sync_folders(target)
            shutil.rmtree(source)
        else:
            copy(source, target)
            source.unlink()


def remove(path: Path) -> None:
    """Delete a file so that the disk knows; it may be gone already."""
    path.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folder: Path) -> None:
    """Wait until all names below a folder have reached the disk."""
    for root, _, _ in os.walk(folder):
        sync(Path(root))
