"""The log: records with fields, as lines of JSON in a file or on standard error; that it fails, fails nothing else."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from flows.settings import Settings

    ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

OURS = "podcast"
OF_RUNS = ("prefect.flow_runs", "prefect.task_runs")
"""Loggers of Prefect that speak of runs; of others than these and ours only warnings and errors are taken."""
TOLD_ALREADY = "podcast_told"
"""Mark of a record for the Prefect UI that stands in the log with its fields."""
NAMES = {
    "levelname": "level",
    "name": "logger",
    "process": "pid",
    "file": "filename",  # which for the library is the name of the source file
    "flow_run_id": "run_id",  # as Prefect's records of runs have it
}

_run: ContextVar[dict[str, Any] | None] = ContextVar("log_run", default=None)
_program = ["flow run"]
_ours = logging.getLogger(OURS)
_ours.addHandler(logging.NullHandler())
_ours.propagate = False


def configure(settings: Settings, *, program: str | None = None) -> None:
    """Begin to log as the settings say; a further call, as after Prefect has set up its own, does so anew.

    Handlers are added beside those of Prefect; with `json` its console gives way to ours. A program that gives no name
    has the one that was given before, or is a flow run that a worker started.
    """
    if program:
        _program[:] = [program]
    for logger in (_ours, logging.getLogger()):
        for handler in [h for h in logger.handlers if getattr(h, "is_of_podcast", False)]:
            logger.removeHandler(handler)
            handler.close()
    _ours.setLevel(settings.log_level)
    for handler in _handlers(settings):
        _attach(handler, settings.log_level)
    if settings.log_format == "json":
        _silence_console()


def event(message: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:  # noqa: ANN401
    """A record about the run that is open, with fields; what is None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    _ours.log(level, message, exc_info=error, extra=given)


@contextmanager
def about_run(run_id: str, flow_run_name: str) -> Iterator[None]:
    """Give every record inside of the block the names of the run."""
    token = _run.set({"run_id": run_id, "flow_run_name": flow_run_name})
    try:
        yield
    finally:
        _run.reset(token)


def run_tag() -> str:
    """What statements of the run that the records are about are called in another system's history."""
    return f"podcast/{(_run.get() or {}).get('run_id', 'no run')}"


class SharedFileHandler(WatchedFileHandler):
    """A file that several processes append to, and of which whoever fills it sets a bounded number aside.

    A record is one write at the end of the file, so that records of two processes stand behind each other. Under a
    lock the file is renamed; the library's handler finds before each record whether its file still has its name.
    """

    def __init__(self, path: Path, *, max_bytes: int, kept: int) -> None:
        self._max_bytes, self._kept = max_bytes, kept
        self._has_failed = False
        super().__init__(path, encoding="utf-8", delay=True)

    def _open(self) -> io.TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        return io.TextIOWrapper(io.FileIO(path, "a"), encoding="utf-8", write_through=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or say once that it cannot be done; a file that cannot be set aside grows on."""
        try:
            with suppress(OSError):
                if self.stream and os.fstat(self.stream.fileno()).st_size >= self._max_bytes:
                    self._set_aside()
            super().emit(record)
        except OSError:  # the library lets that of opening the file through
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library's name
        """A log that cannot be written fails nothing."""
        error = sys.exc_info()[1]
        if self._has_failed or self._is_of_record(error):
            return
        self._has_failed = True
        with suppress(Exception):
            why = getattr(error, "strerror", None) or type(error).__name__
            sys.stderr.write(f"warning: the log {self.baseFilename} cannot be written: {why}; all else goes on.\n")

    @staticmethod
    def _is_of_record(error: BaseException | None) -> bool:
        """Whether it was a record that could not be made a line; the next can."""
        return not isinstance(error, OSError)

    def _set_aside(self) -> None:
        """Rename the file, and those that were set aside before it, unless another process just did."""
        from filelock import FileLock, Timeout

        path = Path(self.baseFilename)
        # who finds the lock taken writes on, as whoever has it is at the same, or just has been
        with suppress(Timeout, FileNotFoundError), FileLock(f"{path}.lock", timeout=0):
            if path.stat().st_size < self._max_bytes:
                return
            names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, self._kept + 1))]
            for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
                with suppress(FileNotFoundError):
                    newer.replace(older)
            if not self._kept:
                path.unlink()


def _handlers(settings: Settings) -> Iterator[logging.Handler]:
    if settings.log_file:
        yield SharedFileHandler(settings.log_file, max_bytes=settings.log_max_mb * 2**20, kept=settings.log_kept)
    if settings.log_format == "json":
        yield logging.StreamHandler(sys.stderr)


def _attach(handler: logging.Handler, level: str) -> None:
    handler.is_of_podcast = True  # type: ignore[attr-defined]
    handler.setFormatter(_formatter())
    handler.addFilter(_is_wanted)
    handler.setLevel(level)
    _ours.addHandler(handler)
    logging.getLogger().addHandler(handler)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether it belongs into the log; a record of ours gets the names of the run that is open."""
    if record.name == OURS or record.name.startswith(f"{OURS}."):
        for name, value in (_run.get() or {}).items():
            record.__dict__.setdefault(name, value)
        return True
    if record.name.startswith(OF_RUNS):
        return not hasattr(record, TOLD_ALREADY)
    return record.levelno >= logging.WARNING


def _silence_console() -> None:
    """Prefect writes to the console through a handler of the root logger."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h).__name__ == "PrefectConsoleHandler"]:
        root.removeHandler(handler)


def _formatter() -> logging.Formatter:
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.json import JsonFormatter

    class Formatter(JsonFormatter):
        """One object a line, the time first; of an exception its kind and where it came up, and no value."""

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            time = log_data.pop("time")
            return {"time": time, **log_data}

        def formatException(self, ei: ExceptionInfo) -> list[str]:  # type: ignore[override]  # noqa: N802
            return list(_places(ei[1]))

    return Formatter(
        ["levelname", "name", "message", "process"],
        rename_fields=NAMES,
        static_fields={"program": _program[0]},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, TOLD_ALREADY],
    )


def _places(error: BaseException | None) -> Iterator[str]:
    """The exception's kind and its frames; what it says may quote a value, and so may a line of its traceback."""
    while error is not None:
        yield type(error).__name__
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
