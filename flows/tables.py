"""What dbt's manifest and catalog say of each table: what it is, what it is made of, who answers for it, its rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = {"model": "table", "seed": "seed", "snapshot": "history", "source": "source"}
"""What a reader calls the kinds of dbt."""


@dataclass(frozen=True)
class Column:
    """One column; the type is empty where nobody has said it."""

    name: str
    type: str
    description: str
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A test or unit test of dbt's: its name, the column that it is about, and what it says."""

    name: str
    column: str = ""
    description: str = ""


@dataclass(frozen=True)
class Table:
    """One table, view or history; other tables are named as `schema.table`."""

    id: str
    name: str
    kind: str
    materialized: str
    description: str
    columns: tuple[Column, ...]
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    questions: tuple[str, ...]
    group: str
    owner: str
    tags: tuple[str, ...]
    has_contract: bool
    tests: tuple[Check, ...]
    unit_tests: tuple[Check, ...]

    @property
    def schema(self) -> str:
        """The schema that it stands in."""
        return self.name.split(".")[0]


def read(manifest: Path, catalog: Path | None = None) -> dict[str, Table]:
    """All tables, by dbt's own ids. Types that no contract gives are in the catalog only."""
    known = json.loads(manifest.read_text(encoding="utf-8"))
    types = _types(json.loads(catalog.read_text(encoding="utf-8"))) if catalog else {}
    return {id_: _table(known, id_, types.get(id_, {})) for id_ in _relations(known)}


def _types(catalog: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The types of the columns of each table, as the database has them, in the order of its columns."""
    return {
        id_: {column["name"]: column["type"] for column in sorted(found["columns"].values(), key=lambda c: c["index"])}
        for kind in ("nodes", "sources")
        for id_, found in catalog[kind].items()
    }


def _nodes(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {**manifest["sources"], **manifest["nodes"]}


def _relations(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is there to be queried: neither tests, nor models that are part of others' SQL only."""
    for id_, node in _nodes(manifest).items():
        if node["resource_type"] in KINDS and node["config"].get("materialized") != "ephemeral":
            yield id_


def _table(manifest: Mapping[str, Any], id_: str, types: Mapping[str, str]) -> Table:
    node = _nodes(manifest)[id_]
    group = manifest["groups"].get(f"group.{node['package_name']}.{node.get('group')}", {})
    return Table(
        id=id_,
        name=_name(node),
        kind=KINDS[node["resource_type"]],
        materialized=node["config"].get("materialized") or "",
        description=_text(node),
        columns=_columns(node, types),
        upstream=_related(manifest, id_, "parent_map"),
        downstream=_related(manifest, id_, "child_map"),
        questions=_questions(manifest, id_),
        group=group.get("name", ""),
        owner=group.get("owner", {}).get("name") or node["config"].get("meta", {}).get("owner", ""),
        tags=tuple(node["tags"]),
        has_contract=bool(node.get("contract", {}).get("enforced")),
        tests=_tests(manifest, id_),
        unit_tests=_unit_tests(manifest, id_),
    )


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node.get('alias') or node.get('identifier') or node['name']}"


def _text(described: Mapping[str, Any]) -> str:
    return " ".join((described.get("description") or "").split())


def _columns(node: Mapping[str, Any], types: Mapping[str, str]) -> tuple[Column, ...]:
    """Those of the database in its order, where it has been asked; else the described ones."""
    described = node["columns"]
    names = list(types) or list(described)
    return tuple(
        Column(
            name,
            types.get(name) or (described.get(name, {}).get("data_type") or "").upper(),
            _text(described.get(name, {})),
            tuple(rule["type"].replace("_", " ") for rule in described.get(name, {}).get("constraints") or ()),
        )
        for name in names
    )


def _related(manifest: Mapping[str, Any], id_: str, way: str) -> tuple[str, ...]:
    """The tables next to one; a model that is part of others' SQL only stands for what is behind it."""
    relations, nodes = set(_relations(manifest)), _nodes(manifest)
    found: set[str] = set()
    for other in manifest[way].get(id_, []):
        if other in relations:
            found.add(_name(nodes[other]))
        elif other.startswith("model."):
            found.update(_related(manifest, other, way))
    return tuple(sorted(found))


def _questions(manifest: Mapping[str, Any], id_: str) -> tuple[str, ...]:
    """What the exposures that use the table are called."""
    exposures, users = manifest["exposures"], manifest["child_map"].get(id_, [])
    return tuple(sorted(exposures[user]["label"] for user in users if user in exposures))


def _tests(manifest: Mapping[str, Any], id_: str) -> tuple[Check, ...]:
    """The data tests on the table and its columns; of those that compare tables, too."""
    tests = (node for node in manifest["nodes"].values() if node["resource_type"] == "test")
    mine = [t for t in tests if t.get("attached_node") == id_ or (not t.get("attached_node") and _is_about(t, id_))]
    checks = (
        Check((test.get("test_metadata") or {}).get("name") or test["name"], test.get("column_name") or "", _text(test))
        for test in mine
    )
    return tuple(sorted(checks, key=lambda check: (check.column, check.name)))


def _unit_tests(manifest: Mapping[str, Any], id_: str) -> tuple[Check, ...]:
    return tuple(
        Check(test["name"], description=_text(test)) for test in manifest["unit_tests"].values() if _is_about(test, id_)
    )


def _is_about(test: Mapping[str, Any], id_: str) -> bool:
    return id_ in test["depends_on"]["nodes"]
