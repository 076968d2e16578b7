"""The right to write what Snowflake has, which workers on several machines share: a lease, in a table of one row."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flows import logs
from flows.errors import PipelineError, TransformError, WarehouseLockedError
from flows.snowflake_session import close, connect, execute, in_words, make_schemas, session

if TYPE_CHECKING:
    from flows.settings import Settings

LOCK = "ops.writer"

LEASE_SECONDS = 600
"""For which a worker has the right, unless it renews it; another one waits so long for one that is gone."""

RENEW_SECONDS = 60

_MADE = f"""
    create table if not exists {LOCK} as select
        cast(null as varchar) as token, cast(null as varchar) as home, cast(null as varchar) as holder,
        cast(null as timestamp_ntz) as held_until
"""

_tokens: dict[Settings, str] = {}
"""Of the lease that this process has, by the settings that it was taken with."""


@contextmanager
def held(settings: Settings, holder: str, home: str) -> Iterator[None]:
    """Have the right while it is needed, renewed by a thread of its own; the session ends with it.

    A lease that a process of the same home has left behind is taken over at once: the home has a lock of its own, so
    that process is gone. Raises `WarehouseLockedError` where another home has the right.
    """
    token = uuid.uuid4().hex
    make_schemas(settings, LOCK.partition(".")[0])
    execute(settings, _MADE)
    with in_words():
        _take(session(settings).cursor(), settings, token, holder, home)
    _tokens[settings] = token
    ended = threading.Event()
    renewing = threading.Thread(target=_renew_until, args=(settings, token, ended), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        del _tokens[settings]
        with suppress(TransformError):  # it ends by itself
            execute(settings, f"update {LOCK} set token = null, home = null, holder = null where token = '{token}'")
        close(settings)


def confirm(settings: Settings) -> None:
    """Renew the lease of this process. Raises `TransformError` where another one has the right by now."""
    token = _tokens.get(settings)
    with in_words():
        is_ours = token is not None and _renew(session(settings).cursor(), token)
    if not is_ours:
        raise TransformError(
            f"This run was out of reach of Snowflake for longer than {LEASE_SECONDS} s, and another worker has taken "
            "the right to write there; nothing was published. Run again."
        )


def _take(cursor: Any, settings: Settings, token: str, holder: str, home: str) -> None:  # noqa: ANN401 - no types
    """The lease, if nobody has it.

    An update holds the table until the transaction ends: whoever comes meanwhile waits with its own, and reads then
    what this one has committed (Snowflake's documentation of transactions: read committed, by statement).
    """
    cursor.execute("begin")
    try:
        cursor.execute(f"update {LOCK} set token = token")
        reading = f"select holder, home, datediff(second, sysdate(), held_until) from {LOCK} where token is not null"
        _refuse_other(settings, cursor.execute(reading).fetchone(), home)
        until = f"dateadd(second, {LEASE_SECONDS}, sysdate())"
        taking = f"update {LOCK} set token = %s, home = %s, holder = %s, held_until = {until}"
        taken = cursor.execute(taking, (token, home, holder)).rowcount
        cursor.execute("commit")
    except BaseException:
        with suppress(Exception):
            cursor.execute("rollback")
        raise
    if taken != 1:
        raise TransformError(f"{LOCK} on Snowflake has not the one row that it was made with: drop it, and run again.")


def _refuse_other(settings: Settings, found: tuple[str, str, int] | None, home: str) -> None:
    """Raise `WarehouseLockedError` where another home has the lease, and it has not ended."""
    if found and found[1] != home and found[2] > 0:
        raise WarehouseLockedError(
            f"The database {settings.snowflake_database} on Snowflake is being written by {found[0]}; its right "
            f"ends in {found[2]} s, unless renewed. Nothing was changed; wait until it has finished and try again."
        )


def _renew(cursor: Any, token: str) -> bool:  # noqa: ANN401 - no types
    """Whether the lease was there to be renewed."""
    until = f"dateadd(second, {LEASE_SECONDS}, sysdate())"
    return bool(cursor.execute(f"update {LOCK} set held_until = {until} where token = %s", (token,)).rowcount)


def _renew_until(settings: Settings, token: str, ended: threading.Event) -> None:
    """Renew again and again; what fails is tried again, and told at the next step that must not go wrong."""
    while not ended.wait(RENEW_SECONDS):
        try:
            with closing(connect(settings)) as own, in_words():
                _renew(own.cursor(), token)
        except PipelineError as error:
            logs.event("lease not renewed", level=logging.WARNING, cause=str(error))
