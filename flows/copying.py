"""The files of a backup, copied and checked in a process of their own.

A process that has a database open must not open its file a second time to read the bytes: closing that handle
would drop the lock on the database. Whoever makes a backup has had the database open a moment ago, and a library
in the same process may have it open still; so the bytes are read where nothing can have it open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from flows import files, manifest
from flows.errors import BackupError, PipelineError
from flows.manifest import Manifest
from flows.settings import PROJECT_ROOT


@dataclass(frozen=True)
class Order:
    """What to copy into `folder` (sources by name there), and what the manifest says besides the files."""

    folder: str
    sources: dict[str, str]
    created_at: str
    versions: dict[str, str]
    newest_load_at: str | None
    tables: dict[str, dict[str, int]]


def copy_in_process(order: Order) -> Manifest:
    """Carry the order out in another process. Raises `BackupError` with what that says."""
    path = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flows.copying"],
        input=json.dumps(asdict(order)),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or f"its process ended with {done.returncode}"
        raise BackupError(f"The backup could not be made, and nothing of it is left behind: {said}")
    return manifest.read(Path(order.folder))


def copy_and_check(order: Order) -> None:
    """Copy, write the manifest, and check the copies by it. Raises `BackupError` and `OSError`."""
    folder = Path(order.folder)
    for name, source in order.sources.items():
        files.copy(Path(source), folder / name)
    for path in files.files_below(folder):
        files.sync(path)
    taken = Manifest(
        created_at=order.created_at,
        versions=order.versions,
        newest_load_at=order.newest_load_at,
        tables=order.tables,
        files=manifest.entries(folder),
    )
    manifest.write(folder, taken)
    manifest.check(folder, taken)
    files.sync_folders(folder)


def main() -> None:
    """Read an order from standard input and carry it out."""
    try:
        copy_and_check(Order(**json.load(sys.stdin)))
    except (OSError, PipelineError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
