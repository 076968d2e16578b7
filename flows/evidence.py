"""The evidence of a batch that was held back: where it is kept, and its failing lines as they may be shown."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flows import logs, storage
from flows.domain import ObjectFolder
from flows.errors import EvidenceError
from flows.masking import FailingLine, open_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from flows.settings import Settings

FAILING_LINES = "failing_lines.jsonl"
MADE_BESIDE = "evidence-"
"""Beginning of the name of a folder under the home in which evidence is made that goes elsewhere."""


def folder(settings: Settings, batch_id: str) -> Path | ObjectFolder:
    """Where the evidence of a batch is kept."""
    return settings.quarantine_dir / batch_id


def kept(settings: Settings) -> list[str]:
    """The batches that evidence is there of. Raises `EvidenceError`."""
    place = settings.quarantine_dir
    if isinstance(place, ObjectFolder):
        return storage.of_evidence(settings, place).folders()
    return [path.name for path in place.glob("*") if path.is_dir()]


def exists(settings: Settings, batch_id: str) -> bool:
    """Whether there is evidence of the batch. Raises `EvidenceError`."""
    place = folder(settings, batch_id)
    if isinstance(place, ObjectFolder):
        return any(True for _ in storage.of_evidence(settings, place).objects())
    return place.exists()


@contextmanager
def replacing(settings: Settings, batch_id: str) -> Iterator[Path]:
    """An empty folder for the evidence of a batch, instead of what is there. Raises `EvidenceError`."""
    place = folder(settings, batch_id)
    if isinstance(place, Path):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        yield place
        return
    for left in settings.home.glob(f"{MADE_BESIDE}*"):  # by a run that was killed
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=MADE_BESIDE, dir=settings.home) as made:
        yield Path(made)
        storage.of_evidence(settings, place).replace(sorted(Path(made).iterdir()))


def remove(settings: Settings, batch_id: str) -> None:
    """Delete the evidence of a batch. Raises `EvidenceError`."""
    place = folder(settings, batch_id)
    if isinstance(place, ObjectFolder):
        storage.of_evidence(settings, place).empty()
    else:
        shutil.rmtree(place)


@dataclass(frozen=True)
class FailingLines:
    """The first failing lines of a batch, whether there are more, and whether they are masked, as the settings say."""

    first: tuple[FailingLine, ...]
    has_more: bool
    are_masked: bool


def failing_lines(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    batch_ids: Sequence[str],
    *,
    limit: int,
    must_be_read: bool = True,
) -> dict[str, FailingLines]:
    """The first failing lines of each batch; none of one without evidence.

    Raises `EvidenceError`, and `OSError`, where evidence cannot be read and has to be; else that is noted in the log.
    """
    read = {batch_id: _read_if_possible(settings, batch_id, limit, must_be_read) for batch_id in batch_ids}
    mask = open_mask(settings)
    known = _known_episodes(connection, [record for records, _ in read.values() for record in records])
    return {
        batch_id: FailingLines(tuple(mask.line(record, known) for record in records), has_more, mask.key is not None)
        for batch_id, (records, has_more) in read.items()
    }


def _read_if_possible(
    settings: Settings,
    batch_id: str,
    limit: int,
    must_be_read: bool,  # noqa: FBT001 - handed through
) -> tuple[list[dict[str, Any]], bool]:
    try:
        return _read(settings, batch_id, limit)
    except (EvidenceError, OSError) as error:
        if must_be_read:
            raise
        logs.event("evidence cannot be read", level=logging.WARNING, batch_id=batch_id, cause=f"{error}")
        return [], False


def _read(settings: Settings, batch_id: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The first lines, and whether there are more."""
    place = folder(settings, batch_id)
    if isinstance(place, ObjectFolder):
        return _parsed(_lines_of_object(settings, place), limit)
    try:
        with (place / FAILING_LINES).open(encoding="utf-8") as file:
            return _parsed(file, limit)
    except FileNotFoundError:
        return [], False


def _parsed(lines: Iterable[str | bytes], limit: int) -> tuple[list[dict[str, Any]], bool]:
    rest = iter(lines)
    return [json.loads(line) for line in itertools.islice(rest, limit)], next(rest, None) is not None


def _lines_of_object(settings: Settings, place: ObjectFolder) -> Iterator[bytes]:
    """The lines of the object with the failing lines, read as far as they are asked for; none where there is none."""
    store = storage.of_evidence(settings, place)
    found = next(store.look_up([FAILING_LINES]))
    if found is None:
        return
    with store.reading([found], parts_ahead=1) as ahead, ahead.open(found) as file:
        rest = b""
        while piece := file.read(2**20):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        if rest:
            yield rest


def _known_episodes(connection: duckdb.DuckDBPyConnection, records: Sequence[dict[str, Any]]) -> set[str]:
    """The episodes of the lines that the reference data has; none before the first publication."""
    import duckdb

    ids = list({record["episode_id"].strip() for record in records if record["episode_id"]})
    try:
        rows = connection.execute(
            "select episode_id from silver.episodes where episode_id in (select unnest(?::varchar[]))", [ids]
        ).fetchall()
    except duckdb.CatalogException:
        return set()
    return {episode_id for (episode_id,) in rows}
