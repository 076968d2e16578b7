"""The reference data before it is used: columns, ids, types and text, so that a broken file changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from flows import reference_files, reference_parts, reference_seeds
from flows.errors import ReferenceDataError
from flows.reference_files import Source

SHOWN = 5
"""Problems of the users, and of the episodes, that are told."""


def check(folder: Path, *, memory_limit: str = "2GB", scratch: Path | None = None) -> None:
    """Raise `ReferenceDataError` naming what is wrong in which line of which file, for all files together.

    What the engine reads is looked at within the limit of memory, with a folder to put aside what is more.
    """
    try:
        sources = reference_files.find(folder)
    except ValueError as error:
        problems = [f"{folder}: {error}"]
    else:
        problems = [
            problem for source in sources for problem in _some(source, _problems(source, memory_limit, scratch))
        ]
    if problems:
        raise ReferenceDataError(
            "The reference data is broken; nothing was changed, the last published state stays.\n"
            + "\n".join(problems)
            + "\nCorrect the files, or name another folder with PODCAST_SEEDS; then: podcast run"
        )


def _some(source: Source, problems: Iterator[str]) -> list[str]:
    """The first few, and how many more there are."""
    found = list(islice(problems, SHOWN))
    more = sum(1 for _ in problems)
    return found + ([f"{source.where}: and {more:,} more problems"] if more else [])


def _problems(source: Source, memory_limit: str, scratch: Path | None) -> Iterator[str]:
    if source.is_seed:
        return reference_seeds.problems(source)
    scratch = scratch or Path(tempfile.gettempdir()) / "podcast-reference"
    return reference_parts.problems(source, memory_limit=memory_limit, scratch=scratch)
