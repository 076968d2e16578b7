"""What lies in the landing directory that the published ledger does not know, and the notice that files arrive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flows import landing, ledger

if TYPE_CHECKING:
    from watchfiles.main import FileChange

    from flows.settings import Settings

TICK_SECONDS = 0.5
"""How often `arriving` comes back when nothing happens."""
GROUP_MILLISECONDS = 200
"""Notices that come within this time are one."""


def landed(settings: Settings) -> dict[str, str]:
    """The fingerprint of each event file in the landing directory, by name, settled or not. Raises `LandingError`."""
    found = landing.look(settings.model_copy(update={"settle_seconds": 0}), {})
    return {file.filename: file.fingerprint for file in found.files}


def known(settings: Settings) -> dict[str, str]:
    """The fingerprint of each file that the published copy knows; none where there is no copy that can be read.

    The working database belongs to the runs and is never opened here.
    """
    import duckdb

    from flows.warehouse import open_file

    try:
        with open_file(settings.published_path, read_only=True) as connection:
            return ledger.fingerprints(connection)
    except duckdb.Error:  # not there yet, or damaged: the run that is asked for makes it anew
        return {}


def arriving(directory: object, warn: Callable[[str], None]) -> Iterator[bool]:
    """Come back every `TICK_SECONDS`, or at once when event files are written: whether there are any.

    A landing directory in object storage sends no notices. One that goes away, and comes back, is watched again;
    its coming back counts as a notice.
    """
    was_there = False
    while True:
        if isinstance(directory, Path) and (identity := _identity(directory)):
            notices = _notices(directory.resolve(), identity, warn)
            yield next(notices, False) or was_there  # by then it is watched, so that nothing falls in between
            was_there = True
            yield from notices
        time.sleep(TICK_SECONDS)
        yield False


def _notices(root: Path, identity: tuple[int, int], warn: Callable[[str], None]) -> Iterator[bool]:
    """As the system sends them, for as long as the folder is the one that it was."""
    from watchfiles import watch

    tick = int(TICK_SECONDS * 1000)
    try:
        for changes in watch(
            root, watch_filter=None, debounce=GROUP_MILLISECONDS, rust_timeout=tick, yield_on_timeout=True
        ):
            yield any(_is_arrival(change) for change in changes)
            if _identity(root) != identity:
                return
    except (OSError, RuntimeError) as error:  # as too many folders for the limit of the system
        warn(f"The system sends no notices for {root} ({error}); it is compared every PODCAST_WATCH_POLL_SECONDS.")
    while _identity(root) == identity:
        time.sleep(TICK_SECONDS)
        yield False


def _is_arrival(change: FileChange) -> bool:
    """Whether an event file was written, or a folder put there, which may have come with files in it."""
    from watchfiles import Change

    kind, path = change
    if kind is Change.deleted:
        return False
    return landing.is_event_file(os.path.basename(path)) or (kind is Change.added and os.path.isdir(path))  # noqa: PTH112, PTH119 - any bytes


def _identity(directory: Path) -> tuple[int, int] | None:
    """Which folder stands there; another one after it was unmounted or put there anew."""
    try:
        info = directory.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino
