"""What is read of dbt's manifest: neighbours through models that are no tables, owners, types, tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows import tables


def node(kind: str, name: str, **values: Any) -> dict[str, Any]:
    known = {
        "resource_type": kind, "package_name": "p", "schema": "gold", "alias": name, "name": name, "tags": [],
        "description": "One\n  row.", "columns": {}, "config": {"materialized": "table"}, "group": "g",
        "depends_on": {"nodes": []},
    }  # fmt: skip
    return known | values


def manifest(folder: Path, **values: Any) -> Path:
    known: dict[str, Any] = {
        "nodes": {
            "model.p.a": node("model", "a", columns={"x": {"description": "An x.", "data_type": "integer"}}),
            "model.p.between": node("model", "between", config={"materialized": "ephemeral"}),
            "model.p.b": node("model", "b", contract={"enforced": True}),
            "test.p.t": node("test", "t", attached_node="model.p.a", column_name="x", test_metadata={"name": "unique"}),
            "test.p.whole": node("test", "whole", depends_on={"nodes": ["model.p.b"]}),
        },
        "sources": {
            "source.p.s": {
                **node("source", "s", schema="ops", config={"meta": {"owner": "Data engineering"}}, group=None),
                "alias": None, "identifier": "s",
            }
        },
        "groups": {"group.p.g": {"name": "g", "owner": {"name": "Analytics engineering"}}},
        "exposures": {"exposure.p.e": {"label": "A question"}},
        "unit_tests": {"u": {"name": "u", "description": "So it is.", "depends_on": {"nodes": ["model.p.b"]}}},
        "parent_map": {"model.p.b": ["model.p.between"], "model.p.between": ["model.p.a", "source.p.s"]},
        "child_map": {
            "model.p.a": ["model.p.between", "test.p.t"],
            "model.p.between": ["model.p.b"],
            "model.p.b": ["exposure.p.e", "test.p.whole"],
        },
    }  # fmt: skip
    path = folder / "manifest.json"
    path.write_text(json.dumps(known | values))
    return path


def test_what_is_part_of_other_sql_only_stands_for_what_is_behind_it(tmp_path: Path) -> None:
    found = tables.read(manifest(tmp_path))
    assert set(found) == {"model.p.a", "model.p.b", "source.p.s"}
    assert found["model.p.b"].upstream == ("gold.a", "ops.s")
    assert found["model.p.a"].downstream == ("gold.b",)
    assert found["model.p.b"].questions == ("A question",)


def test_an_owner_is_that_of_the_group_or_of_the_source(tmp_path: Path) -> None:
    owners = {table.name: table.owner for table in tables.read(manifest(tmp_path)).values()}
    assert owners == {
        "gold.a": "Analytics engineering",
        "gold.b": "Analytics engineering",
        "ops.s": "Data engineering",
    }


def test_types_are_those_of_the_database_where_it_was_asked(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.json"
    columns = {"y": {"name": "y", "type": "BIGINT", "index": 2}, "x": {"name": "x", "type": "HUGEINT", "index": 1}}
    catalog.write_text(json.dumps({"nodes": {"model.p.a": {"columns": columns}}, "sources": {}}))
    path = manifest(tmp_path)
    assert tables.read(path)["model.p.a"].columns == (tables.Column("x", "INTEGER", "An x."),)
    asked = tables.read(path, catalog)["model.p.a"].columns
    assert asked == (tables.Column("x", "HUGEINT", "An x."), tables.Column("y", "BIGINT", ""))


def test_rules_are_found_on_the_table_that_they_are_about(tmp_path: Path) -> None:
    found = tables.read(manifest(tmp_path))
    assert found["model.p.a"].tests == (tables.Check("unique", "x", "One row."),)
    assert [check.name for check in found["model.p.b"].tests] == ["whole"]
    assert found["model.p.b"].unit_tests == (tables.Check("u", description="So it is."),)
    assert (found["model.p.a"].has_contract, found["model.p.b"].has_contract) == (False, True)
    assert found["model.p.a"].description == "One row."
