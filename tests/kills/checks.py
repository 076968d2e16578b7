"""What is looked at after a kill and after a run that completed, each in a process of its own.

Nobody tells these checks what the pipeline did: they read both databases, and ask the oracle what the files
that the ledger names have to give.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comparison
import duckdb
from kills import traffic

if TYPE_CHECKING:
    import oracle

KINDS = ("lost", "duplicated", "partial", "unopenable", "manual")
SHOWN = 3
CURRENT = "('published', 'released')"

# Each gives nothing where the published copy is of one piece.
INCONSISTENCIES = {
    "rows in silver of a batch that is not accepted": f"""
        select distinct batch_id from silver.cleansed_events
        where batch_id not in (select batch_id from ops.batches where status in {CURRENT})
    """,
    "rows in gold of a batch that is not accepted": f"""
        select distinct batch_id from gold.fact_user_interactions
        where batch_id not in (select batch_id from ops.batches where status in {CURRENT})
    """,
    "batches that wait": "select filename, status from ops.batches where pending or status = 'loaded'",
    "two accepted attempts at one file": f"""
        select filename from ops.batches where status in {CURRENT} group by filename having count(*) > 1
    """,
    "the last run does not add up, or not with the tables": """
        with last as (select * from ops.runs where status = 'passed' order by finished_at desc limit 1)
        select status, total_lines, total_facts from last
        where lines <> malformed + invalid + duplicates + facts + held_back
            or total_lines
                <> total_malformed + total_invalid + total_duplicates + total_facts + total_held_back
            or total_lines <> (select sum(row_count) from ops.batches)
            or total_facts <> (select count(*) from silver.cleansed_events)
            or total_facts <> (select count(*) from gold.fact_user_interactions)
    """,
    "facts without their dimension row": """
        select user_id, episode_id from gold.fact_user_interactions
        where user_id not in (select user_id from gold.dim_users)
            or episode_id not in (select episode_id from gold.dim_episodes)
    """,
}
# The rows of a batch and its entry are committed together.
UNACCOUNTED = """
    select batch_id, counted.lines, batches.row_count
    from (select batch_id, count(*) as lines from bronze.raw_events group by batch_id) as counted
    full join (select batch_id, row_count from ops.batches where row_count > 0) as batches using (batch_id)
    where counted.lines is distinct from batches.row_count
"""


@dataclass(frozen=True)
class Published:
    """The published state: its last run and a digest of all that is in it; None where there is none yet."""

    run_id: str | None = None
    digest: str | None = None


@dataclass
class Findings:
    """What was found wrong, by kind, and the published state that was found."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    published: Published = field(default_factory=Published)

    def add(self, kind: str, what: str, rows: Iterable[Any] = ()) -> None:
        found = list(rows)
        shown = ", ".join(str(row) for row in found[:SHOWN])
        self.wrong[kind].append(f"{what}: {len(found)} ({shown})" if found else what)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Findings:
        saved = json.loads(path.read_text())
        return cls(saved["wrong"], Published(**saved["published"]))


@dataclass(frozen=True)
class World:
    """What the checks are told: where the home is, every content that ever landed, and what people decided."""

    home: Path
    landed: Mapping[str, bytes]
    contents: Iterable[tuple[str, bytes]]
    decisions: Mapping[str, oracle.Decision]

    @property
    def working(self) -> Path:
        return self.home / "warehouse" / "podcast.duckdb"

    @property
    def public(self) -> Path:
        return self.home / "warehouse" / "published.duckdb"


def after_kill(world: World, before: Published) -> Findings:
    """Both databases open; the published one is what it was, or a complete new one."""
    findings = Findings()
    if world.working.exists():
        _opened(findings, world.working, _rows_are_accounted_for)
    _look_at_published(findings, world, before)
    return findings


def after_completion(world: World, before: Published) -> Findings:
    """As after a kill; and every table, in both databases, is what the oracle says."""
    findings = after_kill(world, before)
    expected = _opened(
        findings,
        world.working,
        lambda _, __: comparison.expected_world(
            world.working, world.landed, traffic.KNOWN_USERS, traffic.KNOWN_EPISODES, decisions=world.decisions
        ),
    )
    if expected is None or findings.published.run_id is None:
        findings.add("lost", "nothing is published after a run that completed")
        return findings
    missing = set(world.landed) - set(expected.statuses)
    if missing:
        findings.add("lost", "files that nobody loaded", sorted(missing))
        return findings
    _count_rows(findings, world, expected)
    if not any(findings.wrong.values()):
        try:
            comparison.assert_tables_equal(world.home, expected)
        except AssertionError as error:
            findings.add("partial", f"the tables differ from the oracle's: {error or _where(error)}")
    return findings


def _where(error: AssertionError) -> str:
    """The place of an assertion that says nothing else, which outside of pytest none does."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"comparison.py, line {trace.tb_lineno}" if trace else "?"


def _opened(findings: Findings, path: Path, look: Callable[[Findings, duckdb.DuckDBPyConnection], Any]) -> Any:
    """What `look` finds in a database that opens."""
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        findings.add("unopenable", f"{path.name}: {str(error).splitlines()[0]}")
        return None
    with connection:
        return look(findings, connection)


def _rows_are_accounted_for(findings: Findings, connection: duckdb.DuckDBPyConnection) -> None:
    tables = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where table_name in ('raw_events', 'batches')"
    ).fetchall()
    rows = connection.execute(UNACCOUNTED).fetchall() if len(tables) == 2 else []
    if rows:
        findings.add("partial", "rows without their ledger entry, or an entry without its rows", rows)


def _look_at_published(findings: Findings, world: World, before: Published) -> None:
    if not world.public.exists():
        if before.run_id is not None:
            findings.add("unopenable", "published.duckdb is gone")
        return
    found = _opened(findings, world.public, _read_published)
    if found is None:
        return
    findings.published, contents_of = found
    if findings.published.run_id != before.run_id:
        _compare_published(findings, world, contents_of)
    elif findings.published.digest != before.digest:
        findings.add("partial", f"what run {before.run_id} published is not what it was")


def _read_published(findings: Findings, connection: duckdb.DuckDBPyConnection) -> tuple[Published, dict[str, str]]:
    """The published state, and the content that its ledger knows of each file."""
    for what, sql in INCONSISTENCIES.items():
        if rows := connection.execute(sql).fetchall():
            findings.add("partial", what, rows)
    run = connection.execute("select run_id from ops.runs order by finished_at desc limit 1").fetchone()
    if run is None:
        findings.add("partial", "no run is entered in what is published")
    hashes = connection.execute("select filename, max_by(content_hash, attempt) from ops.batches group by 1").fetchall()
    return Published(run[0] if run else None, _digest(connection)), dict(hashes)


def _digest(connection: duckdb.DuckDBPyConnection) -> str:
    tables = connection.execute("select schema_name || '.' || table_name from duckdb_tables() order by all").fetchall()
    whole = hashlib.sha256()
    for (table,) in tables:
        rows = sorted(str(row) for row in connection.execute(f"from {table}").fetchall())
        whole.update(repr((table, rows)).encode())
    return whole.hexdigest()


def _compare_published(findings: Findings, world: World, hashes: Mapping[str, str]) -> None:
    """A new published state is what the oracle makes of the contents that its own ledger names."""
    by_hash = {(name, hashlib.sha256(content).hexdigest()): content for name, content in world.contents}
    contents = {name: by_hash[name, content_hash] for name, content_hash in hashes.items()}
    expected = comparison.expected_world(
        world.public, contents, traffic.KNOWN_USERS, traffic.KNOWN_EPISODES, decisions=world.decisions
    )
    try:
        comparison._assert_silver_and_gold(world.public, expected)
    except AssertionError as error:
        findings.add("partial", f"the published tables are not those of their batches: {error or _where(error)}")


def _count_rows(findings: Findings, world: World, expected: oracle.World) -> None:
    """Rows that are missing, and rows that should not be there or not as often."""
    raw = Counter((r.filename, r.line_number, r.load_at) for r in expected.raw)
    silver = Counter((s.user_id, s.episode_id, s.event_type, s.timestamp, s.duration, s.filename, s.line_number)
                     for s in expected.silver)  # fmt: skip
    columns = 'user_id, episode_id, event_type, "timestamp", duration, filename, line_number'
    latest = "batch_id in (select max_by(batch_id, attempt) from ops.batches group by filename)"
    for database, table, sql, wanted in (
        (world.working, "raw", f"select filename, line_number, load_at from bronze.raw_events where {latest}", raw),
        (world.working, "silver", f"select {columns} from silver.cleansed_events", silver),
        (world.public, "published silver", f"select {columns} from silver.cleansed_events", silver),
    ):
        there = Counter(comparison._rows(database, sql))
        if lost := wanted - there:
            findings.add("lost", f"{table} rows", lost.elements())
        if extra := there - wanted:
            findings.add("duplicated", f"{table} rows", extra.elements())
