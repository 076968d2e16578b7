"""What there is to do: the landing directory against the ledger, and the rules against the last run's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flows import engines, history, landing, ledger
from flows.warehouse import can_be_opened

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Plan
    from flows.settings import Settings


def plan_run(settings: Settings, connection: duckdb.DuckDBPyConnection) -> Plan:
    """Files to load, batches that wait, and whether reference data, rules or models have changed.

    They count as changed also when the published copy is gone or damaged, so that it is made anew, and when what is
    behind it was built by another engine, or a build of it was cut off.

    Raises `LandingError` where the landing directory cannot be read.
    """
    plan = landing.discover(settings, connection)
    is_current = history.last_inputs_hash(connection) == settings.inputs_hash()
    is_whole = can_be_opened(settings.published_path) and engines.is_at_one(connection, settings)
    return replace(
        plan,
        inputs_changed=not is_current or not is_whole,
        outdated_batches=ledger.outdated(connection, settings.rules_version()),
    )
