"""Pages of a table: its columns, the order that is total, the filters, and the statement that finds one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from flows.api import cursors
from flows.api.copies import Reading
from flows.api.cursors import LONGEST, CursorError, Cursors, Place
from flows.api.problems import ProblemError
from flows.api.values import GivenBool, Time

if TYPE_CHECKING:
    from flows.masking import Mask

MOST = 1000
USER = "user_id"
ROW_KEYS = ("interaction_id", "listen_id")
"""Hashes of a user id and further columns."""
SHUFFLED = f"hash($salt || {USER})"
"""An order of users that says nothing of their ids. Other versions of the engine may hash otherwise."""

Row = TypeVar("Row", bound=BaseModel)


class Published(BaseModel):
    """Which published state an answer is of."""

    run_id: str = Field(description="The run that published it.")
    at: Time = Field(description="When that run ended (UTC).")


class Page(BaseModel, Generic[Row]):
    """Some rows of a list, all of one published state."""

    items: list[Row] = Field(description="The rows, in the order of the list.")
    next_cursor: str | None = Field(description="What to ask for the rows after these with; null after the last one.")
    published: Published = Field(description="The state that the page is of; another one than the page before may be.")


class Paging(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST, description="Most rows of the page.")] = 100
    cursor: Annotated[
        str | None, Field(min_length=1, max_length=LONGEST, description="`next_cursor` of the page before.")
    ] = None
    same_copy: Annotated[
        GivenBool, Field(description="Answer 409 rather than go on in another copy than that of the page before.")
    ] = False


@dataclass(frozen=True)
class Listing:
    """A list that is given in pages.

    `key` are expressions that are never null and together unlike for any two rows; `conditions` give for each filter
    the condition, with the filter's name as its parameter.
    """

    name: str
    table: str
    row: type[BaseModel]
    filters: type[Paging]
    key: tuple[str, ...]
    conditions: Mapping[str, str] = field(default_factory=dict)
    is_newest_first: bool = False
    only: str | None = None
    """A condition that always holds."""
    is_large: bool = False
    """Whether there can be very many rows; the first part of the key is a column then."""

    @cached_property
    def columns(self) -> Sequence[str]:
        """The columns of a row, quoted."""
        return [f'"{name}"' for name in self.row.model_fields]


def find_page(listing: Listing, asked: Paging, reading: Reading, sealing: Cursors, mask: Mask) -> dict[str, Any]:
    """One page. Raises `ProblemError`, also for a cursor that is not one of this list with these filters."""
    filters = {name: value for name, value in asked if name not in Paging.model_fields and value is not None}
    place = Place(listing.name, cursors.digest(filters), (), reading.copy.run_id)
    after = _after(asked, place, sealing) if asked.cursor else ()
    salt = None if mask.key is None else mask.row_key("order of users")
    rows = Search(listing, filters, after, salt).rows(reading, asked.limit + 1)
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    keys = [[row.pop(f"key_{i}") for i in range(len(listing.key))] for row in rows]
    last = Place(place.listing, place.filters, tuple(keys[-1]), place.run_id) if more else None
    return {
        "items": [masked(row, mask) for row in rows],
        "next_cursor": sealing.seal(last) if last else None,
        "published": published(reading),
    }


def published(reading: Reading) -> dict[str, Any]:
    """The state that is read."""
    return {"run_id": reading.copy.run_id, "at": reading.copy.published_at}


def masked(row: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """A row as it may be shown."""
    shown = {USER: mask.user_id} | dict.fromkeys(ROW_KEYS, mask.row_key)
    return row | {name: show(row[name]) for name, show in shown.items() if row.get(name) is not None}


def _after(asked: Paging, place: Place, sealing: Cursors) -> tuple[Any, ...]:
    try:
        before = sealing.open(str(asked.cursor))
    except CursorError:
        raise ProblemError(422, "invalid_cursor", "The cursor is none that this server has given.") from None
    if (before.listing, before.filters) != (place.listing, place.filters):
        raise ProblemError(422, "invalid_cursor", "The cursor is of another list, or of other filters; keep those.")
    if asked.same_copy and before.run_id != place.run_id:
        detail = "Another run has published since the page before. Begin again without a cursor."
        raise ProblemError(409, "copy_replaced", detail)
    return before.key


@dataclass(frozen=True)
class Search:
    """What a page is looked for by; `after` is the key of the row before it, or nothing."""

    listing: Listing
    filters: Mapping[str, object]
    after: tuple[Any, ...]
    salt: str | None
    """Of the order of users; None where their ids are shown."""

    @property
    def key(self) -> list[str]:
        """The expressions of the key."""
        return [USER if part == SHUFFLED and self.salt is None else part for part in self.listing.key]

    def rows(self, reading: Reading, count: int) -> list[dict[str, Any]]:
        """The rows of a page with their keys."""
        where, values = self._conditions()
        if self.listing.is_large and (last := self._bound(reading, count)) is not None:
            where, values = [*where, f"{self.key[0]} {self._sign('<')}= $last"], values | {"last": last}
        keys = ", ".join(f"{part} as key_{i}" for i, part in enumerate(self.key))
        order = ", ".join(f"{part} {self._direction}" for part in self.key)
        columns = ", ".join(self.listing.columns)
        return self._find(reading, f"{columns}, {keys}", where, f"order by {order} limit {count}", values)

    def _bound(self, reading: Reading, count: int) -> object:
        """A first part of a key that no row of the page is beyond, found by that column alone.

        With it the engine reads and sorts what is near the page only, rather than all that follows.
        """
        where, values = self._conditions(only_first_part=True)
        order = f"order by 1 {self._direction} limit 1 offset {count - 1}"
        found = self._find(reading, f"{self.key[0]} as bound", where, order, values)
        return found[0]["bound"] if found else None

    def _find(
        self, reading: Reading, what: str, where: Sequence[str], order: str, values: Mapping[str, object]
    ) -> list[dict[str, Any]]:
        chosen = f"where {' and '.join(where)}" if where else ""
        sql = f"select {what} from published.{self.listing.table} {chosen} {order}"
        return reading.rows(sql, {**values, **({"salt": self.salt} if "$salt" in sql else {})})

    def _conditions(self, *, only_first_part: bool = False) -> tuple[list[str], dict[str, object]]:
        """Those that always hold, the filters, and what comes after the key: beyond all of it, or its first part."""
        listing = self.listing
        where = [*([listing.only] if listing.only else []), *(listing.conditions[name] for name in self.filters)]
        after = self.after[:1] if only_first_part else self.after
        if after:
            # the engine skips row groups by the first condition alone
            where += [f"{self.key[0]} {self._sign('>')}= $after_0", self._beyond(len(after))]
        return where, dict(self.filters) | {f"after_{i}": value for i, value in enumerate(after)}

    def _beyond(self, parts: int) -> str:
        """Part by part: a comparison of rows with each other is many times slower."""
        condition = ""
        for i in reversed(range(parts)):
            part, value = self.key[i], f"$after_{i}"
            further = f" or ({part} = {value} and {condition})" if condition else ""
            condition = f"({part} {self._sign('>')} {value}{further})"
        return condition

    @property
    def _direction(self) -> str:
        return "desc" if self.listing.is_newest_first else "asc"

    def _sign(self, sign: str) -> str:
        """A sign as it is in the direction of the list."""
        return {"<": ">", ">": "<"}[sign] if self.listing.is_newest_first else sign
