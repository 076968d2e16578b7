"""Where Great Expectations finds the tables of a gate on Spark: frames of the session that has built them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.handover import GateSource
from flows.spark_tables import session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from flows.domain import Gate
    from flows.settings import Settings


def gate_source(_settings: Settings, _gate: Gate) -> GateSource:
    """The library takes the session that is open, as dbt's profile has opened it."""
    return GateSource("spark", {}, frame=_frame)


@contextmanager
def _frame(table: str) -> Iterator[DataFrame]:
    """The view that dbt has built. The library caches its rows, which nobody may find after the next build."""
    rows = session().table(f"ops.{table}")
    try:
        yield rows
    finally:
        rows.unpersist()
