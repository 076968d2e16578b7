"""The published file before the last, kept aside: the next copy begins with it, so that no whole file is written.

Whoever opened it when it was public keeps it as it was. So it is taken only when nobody has it open, and no other name
leads to it; where the system cannot tell (a lease is what Linux tells it by), it is never taken.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.domain import fingerprint

if TYPE_CHECKING:
    from pathlib import Path


def path_beside(published: Path) -> Path:
    """Where it lies."""
    return published.with_name(f"{published.name}.spare")


def keep(published: Path, former: str | None) -> None:
    """Give the published file a second name before another replaces it, if it is the one with this fingerprint.

    A file system that gives no second names leaves none behind.
    """
    with suppress(OSError):
        if fingerprint(published.stat()) == former:
            os.link(published, path_beside(published))


def remove(published: Path) -> None:
    """It is of no more use."""
    path_beside(published).unlink(missing_ok=True)


def is_as_left(spare: Path, noted: str | None) -> bool:
    """Whether it is there and has the fingerprint that was noted, and nobody can look at it."""
    try:
        info = spare.stat()
    except FileNotFoundError:
        return False
    return fingerprint(info) == noted and info.st_nlink == 1 and _is_open_nowhere(spare)


def _is_open_nowhere(path: Path) -> bool:
    """Linux gives a lease to write to the only one that has a file open, so that it tells who else has."""
    try:
        import fcntl

        lease, write, none = fcntl.F_SETLEASE, fcntl.F_WRLCK, fcntl.F_UNLCK
    except (ImportError, AttributeError):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, lease, write)
        fcntl.fcntl(descriptor, lease, none)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
