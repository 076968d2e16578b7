"""Which pages a run makes anew, and which are kept: the cost of a run's pages does not grow with history."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from flows import ledger
from flows.domain import RunSummary
from flows.gx_context import SITE_NAME, results_dir
from flows.site import catalog, contents, data_docs, dbt_docs, pages, results_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from flows.domain import Batch
    from flows.settings import Settings


def build(settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> Path:
    """Write the pages of this run and of the batches that it concerned, and the home page; returns that."""
    _prune(settings, connection)
    data_docs.build(settings, summary.run_id)
    pages.write(settings, f"runs/{summary.run_id}.html", contents.run(settings, connection, summary))
    for batch_id, page in contents.batches(settings, connection, _batches_to_render(settings, connection, summary)):
        pages.write(settings, f"quarantine/{batch_id}.html", page)
    for name, title in ((f"{dbt_docs.FOLDER}/index.html", "dbt docs"), (catalog.PAGE, "Catalog")):
        if not (settings.site_dir / name).exists():
            pages.write(settings, name, pages.render("pending", title=title, here=title, depth=name.count("/")))
    results_index.build(settings)
    pages.write(settings, "quarantine/index.html", contents.quarantine(connection))
    pages.write(settings, "runs/index.html", contents.runs(settings, connection))
    return pages.write(settings, "index.html", contents.home(settings, connection, summary))


def _batches_to_render(
    settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary
) -> Sequence[Batch]:
    """Those in quarantine without a page, and those with one, or in quarantine, that this run has changed."""
    there = sorted(pages.names(settings, "quarantine"))
    rows = connection.execute(
        """
        select batch_id from ops.batches
        where (status = 'quarantined' or batch_id in (select unnest($there::varchar[])))
            and (updated_at >= $since or batch_id not in (select unnest($there::varchar[])))
        """,
        {"there": there, "since": summary.started_at},
    ).fetchall()
    return ledger.by_ids(connection, [batch_id for (batch_id,) in rows])


def _prune(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the pages and results of the newest `docs_kept` runs, and of those that held back what is held back now."""
    kept = _kept_runs(settings, connection)
    results, docs = results_dir(settings), settings.site_dir / SITE_NAME / "validations"
    for folder in [*results.glob("*/*"), *docs.glob("*/*")]:
        if folder.name not in kept:
            shutil.rmtree(folder)
    for name, names in (("runs", kept), ("quarantine", _kept_batches(connection, kept))):
        for page in pages.names(settings, name) - names:
            (settings.site_dir / name / f"{page}.html").unlink()


def _kept_runs(settings: Settings, connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        """
        select run_id from (select run_id from ops.runs order by started_at desc limit ?)
        union
        select run_id from ops.batches where status = 'quarantined'
        union
        select run_id from ops.validation_results
        where not success and severity = 'critical'
            and batch_id in (select batch_id from ops.batches where status = 'quarantined')
        """,
        [settings.docs_kept],
    ).fetchall()
    return {run_id for (run_id,) in rows}


def _kept_batches(connection: duckdb.DuckDBPyConnection, runs: set[str]) -> set[str]:
    """What is in quarantine, and what the page of a kept run can name."""
    rows = connection.execute(
        """
        select batch_id from ops.batches where status = 'quarantined' or run_id in (select unnest($runs::varchar[]))
        union
        select batch_id from ops.validation_results
        where not success and severity = 'critical' and run_id in (select unnest($runs::varchar[]))
        """,
        {"runs": sorted(runs)},
    ).fetchall()
    return {batch_id for (batch_id,) in rows}
