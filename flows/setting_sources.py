"""Where settings are given besides their defaults: environment, env file, files of secrets; and what there is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "PODCAST_"
ENVIRONMENT, ENV_FILE, SECRET_FILE, DEFAULT = "environment", "env file", "secret file", "default"
PLACES = ("env_file", "secrets_dir")
"""Settings that say where others are, and so can stand in the environment only."""
_OF_LINKS = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?")
"""What Kubernetes and Docker add for a service named `podcast` or `podcast-...`, unasked; it is no mistake."""
_LINK = re.compile(r"(tcp|udp)://")


@dataclass(frozen=True)
class Sources:
    """Names of settings (lower case, without prefix) by the place that gives them, the strongest first."""

    env_file: Path | None
    secrets_dir: Path | None
    given: Mapping[str, frozenset[str]]
    problems: tuple[str, ...] = field(default=())

    def origin(self, name: str) -> str:
        """Where the value of a setting comes from."""
        return next((place for place, names in self.given.items() if name in names), DEFAULT)


def find(environment: Mapping[str, str], known: Collection[str]) -> Sources:
    """Look where the environment says; of a value it is seen whether there is one, and no more."""
    ours = {name.lower().removeprefix(PREFIX.lower()): value for name, value in _prefixed(environment)}
    paths = {place: Path(ours[place]).expanduser().absolute() if ours.get(place) else None for place in PLACES}
    problems: list[str] = []
    in_file = _in_env_file(paths["env_file"], problems)
    in_secrets = _in_secrets(paths["secrets_dir"], problems)
    unreadable = _unreadable(paths["secrets_dir"], in_secrets, known)
    problems += unreadable
    given = {
        ENVIRONMENT: frozenset(name for name, value in ours.items() if value),
        ENV_FILE: in_file,
        SECRET_FILE: frozenset(in_secrets),
    }
    problems += _unknown({n for n, value in ours.items() if not _is_of_link(n, value)}, known, "")
    env_file, secrets_dir = paths["env_file"], paths["secrets_dir"]
    for names, where in ((in_file, env_file), (frozenset(in_secrets), secrets_dir)):
        problems += _unknown(names, known, f" in {where}")
        problems += [f"{_variable(n)} in {where} can be set in the environment only." for n in names & {*PLACES}]
    readable = secrets_dir if in_secrets and not unreadable else None
    return Sources(env_file if in_file else None, readable, given, (*problems,))


def _prefixed(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in values.items() if name.upper().startswith(PREFIX))


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _is_of_link(name: str, value: str) -> bool:
    last = re.search(rf"(^|_)({_OF_LINKS.pattern})$", name.upper())
    return bool(last and (last[2] != "PORT" or _LINK.match(value)))


def _unknown(names: Collection[str], known: Collection[str], where: str) -> list[str]:
    """What nobody would read; a mistyped name must not be taken for a default."""
    return [f"{_variable(name)}{where} is no setting{_closest(name, known)}." for name in sorted({*names} - {*known})]


def _closest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; the closest is {_variable(close[0])}" if close else "; for all of them: podcast settings"


def _in_env_file(path: Path | None, problems: list[str]) -> frozenset[str]:
    """The names in the file; a line that is none is told by its number, as it may hold a secret."""
    from dotenv.parser import parse_stream

    if path is None:
        return frozenset()
    try:
        with path.open(encoding="utf-8") as stream:
            lines = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{_variable('env_file')}={str(path)!r}: cannot be read: {_why(error)}.")
        return frozenset()
    problems += [
        f"{_variable('env_file')}={str(path)!r}: line {line.original.line} is no NAME=value."
        for line in lines
        if line.error or (line.key and line.value is None)
    ]
    named = ((line.key or "", line.value or "") for line in lines)
    return frozenset(name.lower().removeprefix(PREFIX.lower()) for name, value in _prefixed(dict(named)) if value)


def _in_secrets(path: Path | None, problems: list[str]) -> dict[str, Path]:
    """The files there by name, of those that have the prefix, in capitals or not; others belong to others."""
    if path is None:
        return {}
    try:
        files = [file for file in path.iterdir() if file.name.upper().startswith(PREFIX)]
    except OSError as error:
        problems.append(f"{_variable('secrets_dir')}={str(path)!r}: cannot be read: {_why(error)}.")
        return {}
    return {file.name.lower().removeprefix(PREFIX.lower()): file for file in files}


def _unreadable(folder: Path | None, files: Mapping[str, Path], known: Collection[str]) -> list[str]:
    """What the library would pass over with a warning, or take for an empty value."""
    if folder is None:
        return []
    wrong = {name: _wrong_secret(folder, file) for name, file in files.items() if name in known}
    return [f"{_variable(name)} ({files[name]}): {why}." for name, why in wrong.items() if why]


def _wrong_secret(folder: Path, file: Path) -> str | None:
    try:
        if folder.resolve() not in file.resolve().parents:
            return "is a link to a file outside of PODCAST_SECRETS_DIR"
        return None if file.read_text(encoding="utf-8").strip() else "the file is empty"
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {_why(error)}"


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error.strerror}"
