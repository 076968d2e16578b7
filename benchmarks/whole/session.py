"""What all measures share: where they work, how often they repeat, and what they have found."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from whole.data import Data, made
from whole.running import Ran
from whole.table import Results, Row


@dataclass
class Session:
    """The options of the command, and its results."""

    data_root: Path
    work: Path
    repeats: int
    results: Results
    first_load_events: list[int]
    history_events: list[int]
    many_files: int
    left_out: tuple[str, ...] = ()
    """Contenders that do not take part."""

    def data(
        self, events: int, *, files: int = 10, seed: int = 1, users: int | None = None, dirty: float = 0.03
    ) -> Data:
        """Generated data, made where they are not there yet."""
        self.say(f"data: {events:,} events in {files:,} files")
        return made(self.data_root, events=events, files=files, seed=seed, users=users, dirty=dirty)

    def folder(self, name: str) -> Path:
        """An empty folder."""
        folder = self.work / name.replace(" ", "-").replace(",", "")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def add(
        self,
        table: str,
        name: str,
        rans: list[Ran],
        *,
        rows: int | None = None,
        database_bytes: int | None = None,
        notes: str = "",
    ) -> None:
        """A row of a table."""
        seconds, peaks = [ran.seconds for ran in rans], [ran.peak_bytes for ran in rans if ran.peak_bytes]
        self.results.rows.append(Row(table, name, seconds, peaks, rows, database_bytes, notes))

    def say(self, message: str) -> None:
        """What goes on, on standard error."""
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
