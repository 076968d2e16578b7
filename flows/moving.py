"""What is said of tables that were copied to another engine, whichever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.checksums import Difference


@dataclass(frozen=True)
class Proved:
    """A table that both engines have, with what both have worked out of their own."""

    relation: str
    rows: int
    columns: int
    checksum: str


def refusal(found: Sequence[Difference]) -> str:
    """What is said of copies that are not equal."""
    listed = "\n".join(f"- {difference}" for difference in found)
    return (
        f"The copy is not equal, so nothing was switched: the tables in use are those of before.\n{listed}\n"
        "Copy again by the same command. If it ends like this again, set PODCAST_ENGINE to the other engine and have "
        "it build all tables anew from the raw lines: podcast run"
    )
