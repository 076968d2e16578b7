"""The gold tables as lists: columns, types and descriptions as dbt has them, filters on each column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from flows.api.listings import ROW_KEYS, SHUFFLED, Listing, Paging
from flows.api.values import GivenBool, GivenDay, GivenFloat, GivenInt, GivenText, GivenTime, Time
from flows.settings import DBT_PROJECT

KEYS = {
    "fact_user_interactions": ('"timestamp"', "interaction_id"),
    "fact_listens": ("started_at", "listen_id"),
    "episode_daily": ("event_date", "episode_id"),
    "episode_listen_through": ("episode_id",),
    "episode_release_curve": ("episode_id", "days_since_release"),
    "episode_transitions": ("episode_id",),
    "country_listen_through": ("is_unknown", "coalesce(country, '')"),
    "listener_daily": ("event_date", SHUFFLED, "user_id"),
    "listener_episodes": ("first_listen_at", "episode_id", SHUFFLED, "user_id"),
    "listener_cohort_retention": ("cohort_week", "week_number"),
    "top_completed_episodes": ("-completion_count", "episode_id"),
    "listen_through_by_country": ("country",),
    "multi_episode_listeners_daily": ("event_date",),
    "quality_daily": ("load_date",),
    "dim_users": (SHUFFLED, "user_id"),
    "dim_episodes": ("episode_id",),
    "dim_podcasts": ("podcast_id",),
    "dim_dates": ("date_day",),
}
"""The order of each mart. Large ones come by time, so that a page is found without reading the others."""

LARGE = ("fact_user_interactions", "fact_listens", "listener_daily", "listener_episodes")
"""Marts that grow with the events."""
INTERNAL = ("key_hash",)
"""Columns that nobody outside can use."""

_TYPES: dict[str, tuple[Any, Any]] = {
    "varchar": (str, GivenText),
    "integer": (int, GivenInt),
    "bigint": (int, GivenInt),
    "ubigint": (int, GivenInt),
    "double": (float, GivenFloat),
    "boolean": (bool, GivenBool),
    "date": (date, GivenDay),
    "timestamp": (Time, GivenTime),
}
"""By the types of the contracts: that of an answer, and that of a filter."""

_DOC = re.compile(r"{{ *doc\('(\w+)'\) *}}")


@dataclass(frozen=True)
class Column:
    """A column of a mart."""

    name: str
    type: str
    description: str
    is_nullable: bool


@dataclass(frozen=True)
class Mart:
    """A gold table, and how it is listed."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def listing(self) -> Listing:
        """The list of its rows."""
        return Listing(
            self.name,
            f"gold.{self.name}",
            self._row(),
            self._filters(),
            KEYS[self.name],
            dict(self._conditions()),
            is_large=self.name in LARGE,
        )

    def _row(self) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        for column in self.columns:
            kind = _TYPES[column.type][0]
            fields[column.name] = (
                kind | None if column.is_nullable else kind,
                Field(description=_shown(column)),
            )
        return create_model(f"{_camel(self.name)}Row", __config__=ConfigDict(title=self.name), **fields)

    def _filters(self) -> type[Paging]:
        fields: dict[str, Any] = {}
        for column in self.columns:
            kind = _TYPES[column.type][1]
            for name, _, words in _comparisons(column):
                fields[name] = (kind | None, Field(None, description=words))
        return create_model(f"{_camel(self.name)}Filters", __base__=Paging, **fields)

    def _conditions(self) -> list[tuple[str, str]]:
        return [
            (name, f'"{column.name}" {sign} ${name}')
            for column in self.columns
            for name, sign, _ in _comparisons(column)
        ]


def _comparisons(column: Column) -> list[tuple[str, str, str]]:
    """Filters on a column: the parameter, the sign, and what it says; none on hashes, which are shown by another."""
    if column.name in ROW_KEYS:
        return []
    equal = (column.name, "=", f"Only rows with this `{column.name}`.")
    if column.name == "user_id":
        return [(column.name, "=", "Only rows of this listener, by the id as the events have it.")]
    if column.type in ("varchar", "boolean"):
        return [equal]
    return [
        equal,
        (f"{column.name}_from", ">=", f"Only rows with this `{column.name}` or a greater one."),
        (f"{column.name}_before", "<", f"Only rows with a smaller `{column.name}`."),
    ]


def _shown(column: Column) -> str:
    masked = {"user_id": " Masked unless the server shows user ids."} | dict.fromkeys(
        ROW_KEYS, " Hashed again with the key of the mask unless the server shows user ids."
    )
    return column.description + masked.get(column.name, "")


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


@cache
def marts() -> tuple[Mart, ...]:
    """All gold tables that are listed, by name, as the dbt project describes them."""
    import yaml

    docs = _docs()
    folder = DBT_PROJECT / "models" / "gold"
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yml"))]
    models = {model["name"]: model for document in documents for model in document.get("models", ())}
    return tuple(_mart(models[name], docs) for name in sorted(KEYS))


def _mart(model: dict[str, Any], docs: dict[str, str]) -> Mart:
    columns = [_column(column, docs) for column in model["columns"] if column["name"] not in INTERNAL]
    return Mart(model["name"], _text(model["description"], docs), tuple(columns))


def _column(column: dict[str, Any], docs: dict[str, str]) -> Column:
    return Column(
        column["name"],
        column["data_type"].lower(),
        _text(column["description"], docs),
        "not_null" not in column.get("data_tests", ()),
    )


def _text(description: str, docs: dict[str, str]) -> str:
    return " ".join(_DOC.sub(lambda found: docs[found[1]], description).split())


def _docs() -> dict[str, str]:
    """The shared descriptions."""
    text = (DBT_PROJECT / "models" / "docs.md").read_text(encoding="utf-8")
    return dict(re.findall(r"{% docs (\w+) %}(.*?){% enddocs %}", text, re.DOTALL))
