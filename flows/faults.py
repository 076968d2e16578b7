"""Faults of the surroundings in words: a full disk, a missing right, a damaged database, too little memory, a lock."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import (
    BrokenGateError,
    DamagedWarehouseError,
    DiskFullError,
    MemoryLimitError,
    NotPermittedError,
    PipelineError,
    TransformError,
    WarehouseLockedError,
)

if TYPE_CHECKING:
    from flows.settings import Settings

FULL = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|database or disk is full|max_temp_directory_size"
)
FORBIDDEN = re.compile(r"Permission denied|Read-only file system|Operation not permitted|readonly database")
DAMAGED = re.compile(
    r"Corrupt database file|not a valid DuckDB database file|Could not read enough bytes|replaying WAL"
    r"|sqlite_scanner|IO Error: .*Is a directory"
)
MEMORY = re.compile(r"Out of Memory Error|Cannot allocate memory|^MemoryError$")
LOCKED = re.compile(r"Could not set lock|Conflicting lock")
HOLDER = re.compile(r"held in (?P<program>.+) \(PID (?P<pid>\d+)\)")
SAYS_KIND = re.compile(r"([A-Z][A-Za-z ]{0,30}?) Error: ")
"""As the engine begins what it says, wherever a library quotes it."""
NO_VALUE_IN_IT = (
    *("IO", "Permission", "Out of Memory", "Connection", "Interrupt", "Transaction", "TransactionContext", "FATAL"),
    *("Binder", "Catalog", "Parser", "Syntax", "Dependency", "Missing Extension"),
)
"""Kinds of errors that speak of files, tables or SQL; others may quote a value of a row."""
OF_SEED = re.compile(r"in seed [^\n]*\n(?!\s*(?:IO|Permission|Out of Memory|Connection|FATAL) Error: )")
"""Where dbt tells of an error in a seed, whose values it reads itself."""
VALUE_BEGINS = re.compile(r"['\"\n:(]|\d{4}")
LONGEST = 10_000
"""Characters of what the engine says that are looked at; it quotes values of any length."""
FULL_BYTES = 2**20
"""With less room nothing works that keeps its state in a database."""

QUOTING = (TransformError, BrokenGateError)
"""Our own errors that quote those of the engine."""


@contextmanager
def in_words(settings: Settings) -> Iterator[None]:
    """Turn what is a fault of the surroundings into a `PipelineError` that says what to do; let the rest through."""
    try:
        yield
    except Exception as error:
        explained = explain(error, settings)
        if is_of_engine(error):
            error.args = (without_values(f"{error}"),)
        if explained is None:
            raise
        raise explained from error


def explain(error: Exception, settings: Settings) -> PipelineError | None:
    """The error for the person at the terminal; None for one that is no such fault, or that says it already."""
    if isinstance(error, PipelineError) and not isinstance(error, QUOTING):
        return None
    text = f"{error}" or type(error).__name__
    for pattern, kind in _KINDS:
        if pattern.search(text) and _is_of_the_surroundings(error):
            return kind(_first_line(text), settings)
    return None


def is_of_engine(error: BaseException) -> bool:
    """Whether the engine has raised it."""
    return type(error).__module__.startswith(("_duckdb", "duckdb"))


def without_values(text: str) -> str:
    """What the engine says, cut off where it may go on to quote what is in a row: that comes into no log or page.

    Behind the cut stands, in fixed words, what is wrong with the surroundings.
    """
    text = text[:LONGEST]
    kinds = (match.end() for match in SAYS_KIND.finditer(text) if match[1].strip() not in NO_VALUE_IN_IT)
    seeds = (match.end() for match in OF_SEED.finditer(text))
    begin = min((*kinds, *seeds), default=None)
    value = None if begin is None else VALUE_BEGINS.search(text, begin)
    if value is None:
        return text
    shown = f"{text[: value.start()].rstrip()} [the value is not shown]"
    faults = (match[0] for pattern in (FULL, FORBIDDEN, MEMORY) if (match := pattern.search(text)))
    return ": ".join([shown, *(fault for fault in faults if fault not in shown)])


def told(error: BaseException) -> str:
    """What is said of an error in the log and the history: of what may quote anything, its kind only."""
    if not isinstance(error, Exception):
        return f"ended from outside: {type(error).__name__}"
    if isinstance(error, PipelineError | OSError) or is_of_engine(error):
        return without_values(f"{error}")
    is_of_prefect = type(error).__module__.startswith(("prefect", "httpx", "httpcore", "anyio"))
    return f"{error}" if is_of_prefect else f"{type(error).__name__}, of which no more is shown here"


def find(error: BaseException, settings: Settings) -> PipelineError | None:
    """The fault behind an error: itself, or what it came up from, or a disk that is full now.

    Prefect keeps its own state on the disk that is full, and then ends a run by an error of its own.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, PipelineError):
            return behind
        if isinstance(behind, Exception) and (explained := explain(behind, settings)):
            return explained
        behind = behind.__cause__ or behind.__context__
    return _disk_full(_first_line(f"{error}"), settings) if _is_full(settings.home) else None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def damaged(error: Exception, settings: Settings) -> PipelineError:
    """A working database that cannot be opened, for whatever reason the engine gives."""
    return explain(error, settings) or _damaged(_first_line(f"{error}"), settings)


def damaged_copy(settings: Settings) -> PipelineError:
    """A published copy that cannot be opened."""
    return DamagedWarehouseError(
        f"The published copy {settings.published_path} is damaged, or is no database.\n"
        "Nothing is lost: all of it is in the working database, and the next run makes the copy anew: podcast run"
    )


def _is_of_the_surroundings(error: Exception) -> bool:
    """Errors of the system, of the engine, and our own and the libraries' that quote one of these."""
    return not isinstance(error, OSError) or error.errno in _ERRNOS


_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


def _first_line(text: str) -> str:
    """What the engine says, without its advice, which is meant for people who write SQL."""
    telling = next((line for line in text.splitlines() if any(p.search(line) for p, _ in _KINDS)), text)
    return without_values(telling).strip().removesuffix(".")


def _disk_full(text: str, settings: Settings) -> PipelineError:
    return DiskFullError(
        f"The disk is full: {text}.\n{_room(settings)}"
        "The last published state stays, and nothing is lost: what was loaded is kept, what was not is still in the "
        "landing directory. Make room, or move PODCAST_HOME to a larger disk; then: podcast run"
    )


def _room(settings: Settings) -> str:
    """What is free, and what the databases take; empty where even that cannot be found out."""
    try:
        free = shutil.disk_usage(settings.home).free
    except OSError:
        return ""
    sizes = [_size(path) for path in (settings.warehouse_path, settings.published_path)]
    return (
        f"{settings.home} has {_megabytes(free)} free. The working database takes {_megabytes(sizes[0])}, the "
        f"published copy {_megabytes(sizes[1])}; a run needs room for one more of that copy, and for what it loads.\n"
    )


def _size(path: Path) -> int:
    """Of a file by its entry in the directory: the file itself may be open in the engine, and is left alone."""
    return path.stat().st_size if path.exists() else 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"


def _forbidden(text: str, _settings: Settings) -> PipelineError:
    return NotPermittedError(
        f"A file or folder may not be used: {text}.\nNothing was published. Give the user who runs the pipeline the "
        "right to read the reference data (PODCAST_SEEDS) and the landing directory (PODCAST_LANDING), and to write "
        "below PODCAST_HOME; then: podcast run"
    )


def _damaged(text: str, settings: Settings) -> PipelineError:
    path = settings.warehouse_path
    return DamagedWarehouseError(
        f"The working database {path} is damaged, or is no database: {text}.\n"
        f"Nothing was changed, and what is published stays readable ({settings.published_path}). Either put a backup "
        "in its place: podcast restore --force DIR\n"
        f"or move {path.name} and {path.name}.wal away and make the warehouse anew from the landing files: "
        f"podcast rebuild --ledger FILE{_OF_THE_LOG.format(name=path.name) if 'WAL' in text else ''}"
    )


_OF_THE_LOG = (
    "\nOnly the log beside it seems to be damaged: a third way is to move {name}.wal away. What was loaded since "
    "the last run that ended is then loaded again; decisions since then (release, discard) have to be made again."
)


def _memory(text: str, settings: Settings) -> PipelineError:
    return MemoryLimitError(
        f"The engine needs more memory than it may use (PODCAST_MEMORY_LIMIT={settings.memory_limit}): {text}.\n"
        "The last published state stays, and nothing is lost. Give it more; then: podcast run"
    )


def _locked(text: str, settings: Settings) -> PipelineError:
    found = HOLDER.search(text)
    holder = f"process {found['pid']} ({found['program']})" if found else "another process"
    return WarehouseLockedError(
        f"The working database {settings.warehouse_path} is open in {holder}. Nothing was changed; end that process "
        "or wait for it, and try again. Only the pipeline may open this file, not even to read; to query, open "
        f"{settings.published_path.name} beside it read-only."
    )


_KINDS: tuple[tuple[re.Pattern[str], Callable[[str, Settings], PipelineError]], ...] = (
    (LOCKED, _locked),
    (FULL, _disk_full),
    (MEMORY, _memory),
    (FORBIDDEN, _forbidden),
    (DAMAGED, _damaged),
)
