"""The catalog: of each table what it is, from where, who answers for it, its rules, and what was last said of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows import limits, tables
from flows.domain import VALIDATION_CODES, Gate
from flows.gx_context import load_suites
from flows.site import pages, verdicts
from flows.warehouse import read_dicts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import duckdb

    from flows.settings import Settings
    from flows.site.verdicts import GateVerdict
    from flows.tables import Table

Suites = list[dict[str, Any]]

PAGE = "catalog.html"
FOLDER = "catalog"
SCHEMAS = ("bronze", "silver", "gold", "ops")

GUARDS = {"bronze": Gate.VALIDATED, "silver": Gate.CLEANSED, "gold": Gate.GOLD}
"""The gate behind what is built under a tag."""
STEPS = {"reference": "build reference", "raw": "build raw"} | {tag: f"build {tag}" for tag in GUARDS}
"""The step that builds what has a tag."""
COUNTED = {
    "expected_batches": "the number of batches to judge",
    "expected_rows": "the number of lines of these batches",
    "min_rows": "the number of new keys",
    "expected_sources": "the number of sources",
    "one": 1,
}
"""What a gate counts for itself, instead of taking it from a setting."""


@dataclass(frozen=True)
class Expectation:
    """What a gate expects of a table: what it allows as the settings are now, and how it came out last."""

    description: str
    severity: str
    allowed: str
    setting: str
    outcome: str
    observed: str


@dataclass(frozen=True)
class Entry:
    """A table as the catalog shows it. Times are UTC; a view has no rows of its own."""

    table: Table
    gate: Gate | None
    verdict: GateVerdict | None
    expectations: tuple[Expectation, ...]
    codes: tuple[str, ...]
    rows: int | None
    built_at: datetime | None
    published_at: datetime | None

    @property
    def page(self) -> str:
        """Its page in the site."""
        return f"{FOLDER}/{self.table.name}.html"


def build(settings: Settings, connection: duckdb.DuckDBPyConnection, *, published: Collection[str]) -> None:
    """Write the list and a page for each table, as far as dbt has documented the project by now.

    A page that would be as it is stays.
    """
    documented = settings.home / "dbt" / "docs"
    if not (documented / "made_of").is_file():
        return
    found = tables.read(documented / "manifest.json", documented / "catalog.json")
    entries = _entries(settings, connection, found.values(), published)
    there = {entry.table.name for entry in entries}
    for entry in entries:
        title = entry.table.name
        shown = pages.render("table", title=title, here="Catalog", depth=1, entry=entry, there=there)
        _write(settings, entry.page, shown)
    for name in pages.names(settings, FOLDER) - there:
        (settings.site_dir / FOLDER / f"{name}.html").unlink()
    by_schema = {schema: [e for e in entries if e.table.schema == schema] for schema in SCHEMAS}
    _write(settings, PAGE, pages.render("catalog", title="Catalog", here="Catalog", schemas=by_schema))


def _write(settings: Settings, name: str, page: str) -> None:
    path = settings.site_dir / name
    if not path.is_file() or path.read_text(encoding="utf-8") != page:
        pages.write(settings, name, page)


def _entries(
    settings: Settings, connection: duckdb.DuckDBPyConnection, found: Iterable[Table], published: Collection[str]
) -> list[Entry]:
    said, suites = verdicts.last(connection), {gate: load_suites(gate) for gate in Gate}
    rows, built, published_at = _rows(connection), _built(connection), _published_at(connection)
    return [
        Entry(
            table=table,
            gate=(gate := _gate(table, suites)),
            verdict=said.get(gate) if gate else None,
            expectations=tuple(_expectations(settings, table, suites[gate], said.get(gate))) if gate else (),
            codes=VALIDATION_CODES if any(c.name == "validation_errors" for c in table.columns) else (),
            rows=rows.get(table.name),
            built_at=built.get(_step(table)),
            published_at=published_at if table.name in published else None,
        )
        for table in sorted(found, key=lambda table: table.name)
        if table.schema in SCHEMAS
    ]


def _gate(table: Table, suites: Mapping[Gate, Suites]) -> Gate | None:
    """The gate that looks at the table, or that stands behind its layer."""
    for gate, of_gate in suites.items():
        if any(_looks_at(suite, table) for suite in of_gate):
            return gate
    if table.name == "bronze.raw_events":
        return Gate.RAW
    layers = [GUARDS[tag] for tag in table.tags if tag in GUARDS and table.schema in GUARDS]
    return layers[0] if layers else None


def _looks_at(suite: dict[str, Any], table: Table) -> bool:
    return bool(f"ops.{suite['meta']['table']}" == table.name)


def _step(table: Table) -> str:
    if table.name == "bronze.raw_events":
        return "load"
    return next((STEPS[tag] for tag in table.tags if tag in STEPS), "")


def _expectations(
    settings: Settings, table: Table, suites: Suites, verdict: GateVerdict | None
) -> Iterable[Expectation]:
    """Those on the table itself, where a gate looks at it; else all of the gate."""
    own = [suite for suite in suites if _looks_at(suite, table)]
    for suite in own or suites:
        for expectation in suite["expectations"]:
            result = verdict.results.get(expectation["description"], {}) if verdict else {}
            parameter = _parameter(expectation["kwargs"])
            yield Expectation(
                description=expectation["description"],
                severity=expectation["severity"],
                allowed=limits.in_words(_resolved(expectation["kwargs"], settings.thresholds())),
                setting=f"PODCAST_{parameter.upper()}" if parameter in settings.thresholds() else "",
                outcome=result.get("outcome", ""),
                observed=result.get("observed", ""),
            )


def _parameter(kwargs: Mapping[str, Any]) -> str:
    """The parameter that an expectation takes its limit from; empty where the limit stands in the suite."""
    return next((str(value["$PARAMETER"]) for value in kwargs.values() if isinstance(value, dict)), "")


def _resolved(kwargs: Mapping[str, Any], thresholds: Mapping[str, float]) -> dict[str, Any]:
    known = {**COUNTED, **thresholds}
    return {
        name: known.get(value["$PARAMETER"], value["$PARAMETER"]) if isinstance(value, dict) else value
        for name, value in kwargs.items()
    }


def _rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The rows of the tables that there are."""
    names = connection.execute(
        """
        select schema_name || '.' || table_name from duckdb_tables()
        where schema_name in (select unnest(?::varchar[])) and database_name = current_database()
        """,
        [list(SCHEMAS)],
    ).fetchall()
    counts = " union all ".join(f"select '{name}', count(*) from {name}" for (name,) in names)
    return dict(connection.execute(counts).fetchall()) if names else {}


def _built(connection: duckdb.DuckDBPyConnection) -> dict[str, datetime]:
    """When the last run that came through a step ended, of the last hundred runs."""
    rows = read_dicts(
        connection,
        """
        select run_steps.step, max(recent.finished_at) as finished_at
        from (select run_id, finished_at from ops.runs order by started_at desc limit 100) as recent
        inner join ops.run_steps on recent.run_id = run_steps.run_id
        group by run_steps.step
        """,
        [],
    )
    return {row["step"]: row["finished_at"] for row in rows}


def _published_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    row = connection.execute("select max(finished_at) from ops.runs where status = 'passed'").fetchone()
    return row[0] if row else None
