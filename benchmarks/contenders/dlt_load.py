"""Load a landing folder into DuckDB with dlt: its filesystem source, and its reader of JSON lines.

A line that is no JSON stops that reader and so the load. What dlt documents for such input is a reader of one's own,
which is here: lines that cannot be read are counted and left out. zstd is no compression that its files know. Files go
to the database as Parquet, as it recommends: by default it writes statements, which took twenty times as long.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import orjson
from contenders.by_hand import opened
from dlt.sources.filesystem import filesystem

SCALARS = (str, int, float, bool, type(None))
LOST: list[int] = []


@dlt.transformer(name="events")
def events(items: Any) -> Iterator[list[dict[str, Any]]]:  # noqa: ANN401 - dlt's own type
    """The objects of each file, a thousand at a time."""
    for item in items:
        with opened(Path(item.local_file_path)) as file:
            page: list[dict[str, Any]] = []
            for line in file:
                row = _read(line)
                if row is not None:
                    page.append(row | {"filename": item["relative_path"]})
                if len(page) == 1000:  # noqa: PLR2004 - as dlt's own reader
                    yield page
                    page = []
            yield page


def _read(line: bytes) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        LOST.append(1)
        return None
    return row


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("landing", "database"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    destination = dlt.destinations.duckdb(str(arguments.database))
    pipeline = dlt.pipeline("landing", destination=destination, dataset_name="landed")
    files = filesystem(bucket_url=arguments.landing.resolve().as_uri(), file_glob="**/*")
    print(pipeline.run(files | events, loader_file_format="parquet"))
    print(f"{len(LOST)} lines are no JSON objects and were left out")


if __name__ == "__main__":
    main()
