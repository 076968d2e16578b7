"""The evidence of a batch that was held back: where it is kept, and its failing lines as they may be shown."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.masking import FailingLine, open_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from flows.settings import Settings

FAILING_LINES = "failing_lines.jsonl"


def folder(settings: Settings, batch_id: str) -> Path:
    """Where the evidence of a batch is kept."""
    return settings.quarantine_dir / batch_id


@dataclass(frozen=True)
class FailingLines:
    """The first failing lines of a batch, whether there are more, and whether they are masked, as the settings say."""

    first: tuple[FailingLine, ...]
    has_more: bool
    are_masked: bool


def failing_lines(
    settings: Settings, connection: duckdb.DuckDBPyConnection, batch_ids: Sequence[str], *, limit: int
) -> dict[str, FailingLines]:
    """The first failing lines of each batch; none of one without evidence."""
    read = {batch_id: _read(folder(settings, batch_id) / FAILING_LINES, limit) for batch_id in batch_ids}
    mask = open_mask(settings)
    known = _known_episodes(connection, [record for records, _ in read.values() for record in records])
    return {
        batch_id: FailingLines(tuple(mask.line(record, known) for record in records), has_more, mask.key is not None)
        for batch_id, (records, has_more) in read.items()
    }


def _read(path: Path, limit: int) -> tuple[list[dict[str, Any]], bool]:
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in itertools.islice(file, limit)], file.readline() != ""
    except FileNotFoundError:
        return [], False


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
