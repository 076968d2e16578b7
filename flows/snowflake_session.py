"""The way to Snowflake: what it needs, the session of this process, and what is said of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from flows import logs
from flows.errors import SettingsError, TransformError

if TYPE_CHECKING:
    from flows.settings import Settings

PACKAGES = ("snowflake.connector", "snowflake.sqlalchemy", "dbt.adapters.snowflake", "pyarrow")

NETWORK_SECONDS = 600
"""After which a request that is not answered is given up; the connector would send it again for ever."""

LOGIN_SECONDS = 60
"""After which a host that does not answer is given up."""

APPLICATION = "podcast"
"""What Snowflake knows a session as; without, the connector would take what a library has left in `SF_PARTNER`."""

OF_LOGINS = range(390_000, 400_000)
"""Errors of Snowflake's about who wants to log in: these quote account, user, role and address, and no row."""

NO_SUCH_TABLE, NOT_GRANTED = 2003, 3001
OF_NAMES = (NO_SUCH_TABLE, 2043, NOT_GRANTED)
"""Of something that is not there or may not be used: these quote no more than its name."""
GRANT_IT = "Grant it to PODCAST_SNOWFLAKE_ROLE, or to the user's own role where that is unset, and run again."
ERROR_KIND = re.compile(
    r"\b\d{6} \([0-9A-Z]{5}\)|\bline \d+ at position \d+|\b[A-Z][a-z]+ '[\w.\"$]+' does not exist or not authorized"
    r"|\bInsufficient privileges to operate on \w+ '[\w.\"$]+'"
)
"""What an error of Snowflake's says of itself, where in the SQL it is, and the name of what is not there; no values."""
NO_CONNECTION = re.compile(r"25000\d \([0-9A-Z]{5}\)")
"""An error of the connector's own: nobody answers, or nobody is let in."""


def refuse_missing(settings: Settings, *, asked_by: str = "PODCAST_ENGINE=snowflake") -> None:
    """Raise `SettingsError` where what Snowflake needs is not installed or not set."""
    if not all(_is_there(name) for name in PACKAGES):
        raise SettingsError(
            f"{asked_by} needs the extra [snowflake], in an environment of its own: make setup-snowflake, and then "
            "call .venv-snowflake/bin/podcast; or pip install '.[snowflake]'"
        )
    lacking = [f"PODCAST_SNOWFLAKE_{name.upper()}" for name in ("account", "user") if not _of(settings, name)]
    if not (settings.snowflake_password or settings.snowflake_private_key_path):
        lacking.append("PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH (or _PASSWORD)")
    if lacking:
        raise SettingsError(f"{asked_by} needs {', '.join(lacking)}.")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def _of(settings: Settings, name: str) -> Any:  # noqa: ANN401 - of several types
    return getattr(settings, f"snowflake_{name}")


def environment(settings: Settings, tag: str = "podcast") -> dict[str, str]:
    """What dbt's profile reads, by the names of variables; what is called a secret dbt keeps out of what it prints."""
    names = (
        "account",
        "user",
        "private_key_path",
        "role",
        "warehouse",
        "database",
        "threads",
        "host",
        "port",
        "protocol",
    )
    plain = {f"DBT_PODCAST_SNOWFLAKE_{name.upper()}": _of(settings, name) for name in names}
    secret = {
        "DBT_ENV_SECRET_PODCAST_SNOWFLAKE_PASSWORD": settings.snowflake_password,
        "DBT_ENV_SECRET_PODCAST_SNOWFLAKE_PASSPHRASE": settings.snowflake_private_key_passphrase,
    }
    return {
        "DBT_PODCAST_SNOWFLAKE_QUERY_TAG": tag,
        **{name: "" if value is None else str(value) for name, value in plain.items()},
        **{name: value.get_secret_value() if value else "" for name, value in secret.items()},
    }


_sessions: dict[Settings, Any] = {}
"""The one that this process has open, by the settings that it was opened with."""


def session(settings: Settings) -> Any:  # noqa: ANN401 - the connector has no types
    """The connection of this process. Raises `SettingsError` and, where Snowflake lets nobody in, `TransformError`."""
    if settings not in _sessions:
        _sessions[settings] = connect(settings)
    return _sessions[settings]


def close(settings: Settings) -> None:
    """End that connection: one that waits for hours is no longer let in."""
    from snowflake.connector.errors import Error

    if held := _sessions.pop(settings, None):
        with suppress(Error):
            held.close()


def connect(settings: Settings) -> Any:  # noqa: ANN401 - the connector has no types
    """A connection of one's own. Raises `SettingsError` and, where Snowflake lets nobody in, `TransformError`."""
    refuse_missing(settings)
    _refuse_useless_key(settings)
    import snowflake.connector

    host = settings.snowflake_host or settings.snowflake_account
    with in_words(f"cannot be reached at {host}"):
        try:
            return snowflake.connector.connect(**arguments(settings), application=APPLICATION)
        except snowflake.connector.errors.DatabaseError as error:
            if error.errno not in OF_LOGINS:
                raise
            raise TransformError(_refused(settings, f"{host}", error)) from None


def _refuse_useless_key(settings: Settings) -> None:
    """Raise `SettingsError` where the private key cannot be read, or is none that its passphrase opens."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path, passphrase = settings.snowflake_private_key_path, settings.snowflake_private_key_passphrase
    if path is None:
        return
    given = passphrase.get_secret_value().encode() if passphrase else None
    try:
        load_pem_private_key(path.read_bytes(), given)
    except OSError as error:
        raise SettingsError(f"PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH: {path} cannot be read: {error.strerror}.") from None
    except TypeError:  # a passphrase without need for one, or none where one is needed
        need = "has no passphrase: unset" if given else "needs its passphrase in"
        raise SettingsError(f"The private key {path} {need} PODCAST_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE.") from None
    except (ValueError, UnsupportedAlgorithm):
        opened = " that PODCAST_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE opens" if given else ""
        raise SettingsError(
            f"PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH: {path} is no private key in PEM (PKCS#8){opened}."
        ) from None


def _refused(settings: Settings, host: str, error: Any) -> str:  # noqa: ANN401 - the connector has no types
    """What is said where Snowflake does not let the user in, and what to look at."""
    user, has_key = settings.snowflake_user, settings.snowflake_private_key_path is not None
    by = "PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH" if has_key else "PODCAST_SNOWFLAKE_PASSWORD"
    public = f", and that the public half of the key is set (desc user {user})" if has_key else ""
    words = " ".join(str(error.raw_msg or "").rpartition(f":{settings.snowflake_port}. ")[2].split())
    return (
        f"Snowflake at {host} does not let {user} in by {by}; nothing was published: {error.errno} {words} Check "
        f"that, PODCAST_SNOWFLAKE_ACCOUNT, _USER and _ROLE{public}."
    )


def arguments(settings: Settings, query_tag: str = "podcast") -> dict[str, Any]:
    """What the connector is given for a session; of what is unset, nothing."""
    key, password = settings.snowflake_private_key_path, settings.snowflake_password
    passphrase = settings.snowflake_private_key_passphrase
    given = {
        **{name: _of(settings, name) for name in ("account", "user", "role", "warehouse", "database", "host", "port")},
        "protocol": settings.snowflake_protocol,
        "private_key_file": str(key) if key else None,
        "private_key_file_pwd": passphrase.get_secret_value() if passphrase else None,
        "password": password.get_secret_value() if password else None,
        "login_timeout": LOGIN_SECONDS,
        "network_timeout": NETWORK_SECONDS,
        "session_parameters": {
            "TIMEZONE": "UTC",
            "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
            "QUERY_TAG": query_tag,
        },
    }
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def in_words(what: str = "failed") -> Iterator[None]:
    """Say what the connector raises as a `TransformError`, without what it may quote of a row."""
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        said = without_values(str(error))
        kind = said if said != str(error) else f"{type(error).__name__} {error.errno}"
        told = " ".join(str(error).split()) if error.errno in OF_NAMES else kind
        todo = f". {GRANT_IT}" if error.errno == NOT_GRANTED else ""
        raise TransformError(f"Snowflake {what}; nothing was published: {told}{todo}") from None


def without_values(text: str) -> str:
    """Of an error of Snowflake's what it is and where, since nothing of a row may be logged; any other as it is."""
    said = " ".join(dict.fromkeys(ERROR_KIND.findall(text))) or text
    return f"{said}, no connection to Snowflake" if NO_CONNECTION.fullmatch(said) else said


def execute(settings: Settings, *statements: str) -> None:
    """Statements whose result says nothing, one after the other."""
    with in_words():
        for statement in statements:
            session(settings).cursor().execute(statement)


def make_schemas(settings: Settings, *schemas: str, database: str | None = None) -> None:
    """Make those that are not there.

    CREATE ... IF NOT EXISTS would need the right to make them where they are, too.
    """
    database = database or settings.snowflake_database
    lacking = _lacking(settings, f"select schema_name from {database}.information_schema.schemata", schemas)
    execute(settings, *(f"create schema if not exists {database}.{schema}" for schema in lacking))


def make_databases(settings: Settings, *databases: str) -> None:
    """Make those that are not there, likewise; their tables are transient."""
    found = f"select database_name from {settings.snowflake_database}.information_schema.databases"
    execute(settings, *(f"create transient database if not exists {d}" for d in _lacking(settings, found, databases)))


def _lacking(settings: Settings, query: str, names: Sequence[str]) -> list[str]:
    with in_words():
        found = {name.upper() for (name,) in session(settings).cursor().execute(query).fetchall()}
    return [name for name in names if name.upper() not in found]


def tag(settings: Settings, step: str) -> None:
    """Name what comes next in the history of queries by the run and what it does, as dbt does by the model."""
    execute(settings, f"alter session set query_tag = '{logs.run_tag()}/{step}'")
