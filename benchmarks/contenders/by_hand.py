"""Run `by_hand.sql` over a landing folder into a new database.

The script reads plain text in UTF-8. So what is compressed is unpacked first, and lines that are not UTF-8 are set
aside with their numbers, for the script to enter them as bytes.
"""

from __future__ import annotations

import argparse
import codecs
import csv
import gzip
import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

SCRIPT = Path(__file__).with_name("by_hand.sql")
SUFFIXES = (".json", ".ndjson", ".jsonl")
PIECE_BYTES = 8 * 2**20
FOLDERS = 2
"""The script reads so many folders side by side."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("landing", "seeds", "database"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    run(arguments.landing, arguments.seeds, arguments.database)


def run(landing: Path, seeds: Path, database: Path) -> None:
    """Everything, from the files to the tables that hold. Raises `duckdb.Error` when a test of the script fails."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=database.parent) as work:
        cut(landing, Path(work))
        with duckdb.connect(str(database)) as connection:
            variables = {
                "work": work,
                "users": str(seeds / "users.parquet"),
                "episodes": str(seeds / "episodes.csv"),
                "now": datetime.now(UTC).replace(tzinfo=None),
            }
            for name, value in variables.items():
                connection.execute(f"set variable {name} = ?::{'timestamp' if name == 'now' else 'varchar'}", [value])
            connection.execute(SCRIPT.read_text())


def cut(landing: Path, work: Path) -> None:
    """Every file as pieces of whole lines, with a list of the files and one of the lines that are not UTF-8."""
    for number in range(FOLDERS):
        (work / str(number)).mkdir()
    paths = [path for path in landing.rglob("*") if path.is_file() and _is_of_events(path)]
    names = sorted(path.relative_to(landing).as_posix() for path in paths)
    with (work / "files.csv").open("w", newline="") as files, (work / "broken.csv").open("w", newline="") as broken:
        listed, set_aside = csv.writer(files), csv.writer(broken)
        for number, name in enumerate(names):
            listed.writerow((number, name))
            with opened(landing / name) as file:
                for piece, (first_line, content) in enumerate(_pieces(file)):
                    text, bad = _without_broken(content)
                    set_aside.writerows((number, first_line + at, line.hex()) for at, line in bad)
                    (work / str(piece % FOLDERS) / f"{number}-{first_line}.txt").write_bytes(text)


def _is_of_events(path: Path) -> bool:
    return path.name.removesuffix(".gz").removesuffix(".zst").endswith(SUFFIXES)


def opened(path: Path) -> Any:  # noqa: ANN401 - a binary file of whichever library
    """A plain or compressed file to read bytes from."""
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True))
    return path.open("rb")


def _pieces(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The number of the first line, and whole lines without the end of the last."""
    number, rest = 1, b""
    while chunk := file.read(PIECE_BYTES):
        whole, end, after = (rest + chunk).rpartition(b"\n")
        if not end:
            rest = after
            continue
        yield number, whole.removeprefix(codecs.BOM_UTF8) if number == 1 else whole
        number, rest = number + whole.count(b"\n") + 1, after
    if rest:
        yield number, rest.removeprefix(codecs.BOM_UTF8) if number == 1 else rest


def _without_broken(content: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The lines with an empty one in place of each that is not UTF-8, and those with their places."""
    kept: list[bytes] = []
    bad: list[tuple[int, bytes]] = []
    begin, at, view = 0, 0, memoryview(content)
    while True:
        try:
            codecs.utf_8_decode(view[begin:], "strict", True)  # noqa: FBT003 - takes no names
        except UnicodeDecodeError as error:
            line = content.rfind(b"\n", 0, begin + error.start) + 1
            end = content.find(b"\n", line)
            end = len(content) if end < 0 else end
            at += content.count(b"\n", begin, line)
            bad.append((at, content[line:end].removesuffix(b"\r")))
            kept.append(content[begin:line])
            begin = end
        else:
            return b"".join([*kept, content[begin:]]), bad


if __name__ == "__main__":
    main()
