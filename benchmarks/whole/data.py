"""Generated events and reference data, made once for each size, and kept."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flows.generating import GeneratorOptions, generate


@dataclass(frozen=True)
class Data:
    """A landing folder and its reference data; users as Parquet, as is recommended for more than some thousands."""

    folder: Path

    @property
    def landing(self) -> Path:
        """The files of events."""
        return self.folder / "landing"

    @property
    def seeds(self) -> Path:
        """users.parquet and episodes.csv."""
        return self.folder / "seeds"


def made(
    root: Path, *, events: int, files: int = 10, seed: int = 1, users: int | None = None, dirty: float = 0.03
) -> Data:
    """The data, from an earlier time if they are there.

    No file is so bad that a gate would hold it back: the other contenders have no gates.
    """
    final = root / f"events-{events}-files-{files}-seed-{seed}-users-{users or 'default'}-dirty-{dirty:g}"
    if not final.exists():
        part = final.with_name(f"{final.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        late = None if files > 1 else 0
        options = GeneratorOptions(
            events=events, files=files, seed=seed, users=users, dirty=dirty, bad_files=0, late_files=late
        )
        generate(options, part)
        to_parquet(part / "seeds" / "users.csv")
        part.rename(final)
    return Data(final)


def to_parquet(users: Path) -> None:
    """A CSV file as Parquet in its place."""
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select user_id, cast(signup_date as date) as signup_date, country "
            f"from read_csv('{users}', all_varchar = true)) to '{users.with_suffix('.parquet')}'"
        )
    users.unlink()


def linked(data: Data, folder: Path) -> Data:
    """The same files under another folder, to which further ones can be added."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data.folder, folder, copy_function=os.link)
    return Data(folder)


def add_file(history: Data, new: Data, name: str) -> None:
    """The one file of `new` lands beside those of `history`."""
    (path,) = [path for path in new.landing.rglob("*") if path.is_file()]
    suffixes = "".join(path.suffixes)
    shutil.copy2(path, history.landing / f"{name}{suffixes}")
