"""Where Great Expectations finds the tables of a gate on Snowflake: the options of its own data source for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flows import logs
from flows.handover import GateSource
from flows.snowflake_session import arguments

if TYPE_CHECKING:
    from flows.domain import Gate
    from flows.settings import Settings


def gate_source(settings: Settings, gate: Gate) -> GateSource:
    """Its session is opened as that of the builds, with a tag that names run and gate in the history of queries.

    By a connection string, since with anything else the library opens a session for each question. What a string has to
    name and the settings leave open, or what is secret, only the connector is told, whose arguments count.
    """
    place = f"{settings.snowflake_account}/{settings.snowflake_database}/ops"
    string = f"snowflake://{quote(settings.snowflake_user or '', safe='')}:@{place}?role=own&warehouse=own"
    return GateSource(
        "snowflake",
        {
            "connection_string": string,
            "create_temp_table": False,
            "kwargs": {"connect_args": _connect_args(settings, f"gate {gate}")},
        },
    )


def _connect_args(settings: Settings, step: str) -> dict[str, Any]:
    """All that the connector is given, so that nothing which the string says in its place counts."""
    unset = {"role": None, "warehouse": None, "password": "", "host": _host(settings)}
    return unset | arguments(settings, f"{logs.run_tag()}/{step}")


def _host(settings: Settings) -> str:
    """By the account, as the connector finds it."""
    if settings.snowflake_host:
        return settings.snowflake_host
    from snowflake.connector.util_text import construct_hostname

    return str(construct_hostname(None, settings.snowflake_account))
