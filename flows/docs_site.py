"""The browsable site under `<home>/site`: a home page and the Data Docs of Great Expectations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

from flows import history, ledger, reports
from flows.domain import BatchStatus, Gate, RunSummary
from flows.gx_context import SITE_NAME, load_suites, open_context, results_dir

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings

OFFLINE = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Podcast pipeline</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --good: #1b6e3c; }
  @media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #81c995; } }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
  .scroll { overflow-x: auto } table { border-collapse: collapse; min-width: 24rem }
  th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
  .held { color: var(--bad) } .fine { color: var(--good) } code { overflow-wrap: anywhere }
</style>
<h1>Podcast pipeline</h1>
<p class="{{ 'held' if summary.quarantined else 'fine' }}"><strong>{{ headline }}</strong><br>
<small>run {{ summary.run_id }}, finished {{ summary.finished_at.strftime('%Y-%m-%d %H:%M:%S') }} UTC</small></p>
<p><a href="data_docs/index.html">Data Docs: every expectation of every gate</a></p>
<h2>Where every line went</h2>
<div class="scroll"><table><tr><th>Lines</th><th class="number">this run</th><th class="number">warehouse</th></tr>
{% for label, run, all in accounting %}<tr><td>{{ label }}</td><td class="number">{{ '{:,}'.format(run) }}</td>\
<td class="number">{{ '{:,}'.format(all) }}</td></tr>
{% endfor %}</table></div>
<h2>In quarantine</h2>
{% if quarantined %}<div class="scroll"><table>
<tr><th>File</th><th>Batch</th><th>Gate</th><th>Reason</th><th>Found</th><th class="number">Lines</th></tr>
{% for batch in quarantined %}<tr><td><code>{{ batch.filename }}</code></td><td><code>{{ batch.batch_id }}</code></td>\
<td>{{ batch.gate }}</td><td>{{ batch.reason }}</td><td>{{ batch.detail or '' }}</td>\
<td class="number">{{ '{:,}'.format(batch.row_count) }}</td></tr>
{% endfor %}</table></div>
<p>To see the failing lines of one: <code>podcast quarantine show BATCH</code></p>
{% else %}<p>None.</p>{% endif %}
<h2>Batches by state</h2>
<div class="scroll"><table>{% for status, count in statuses.items() %}<tr><td>{{ status }}</td>\
<td class="number">{{ '{:,}'.format(count) }}</td></tr>{% endfor %}</table></div>
<h2>Last runs</h2>
<div class="scroll"><table>
<tr><th>Finished (UTC)</th><th>Status</th><th class="number">published</th><th class="number">held back</th>\
<th class="number">lines</th><th class="number">facts</th></tr>
{% for run in runs %}<tr><td>{{ run.finished_at.strftime('%Y-%m-%d %H:%M:%S') }}</td><td>{{ run.status }}</td>\
<td class="number">{{ run.published_batches }}</td><td class="number">{{ run.quarantined_batches }}</td>\
<td class="number">{{ '{:,}'.format(run.lines) }}</td><td class="number">{{ '{:,}'.format(run.facts) }}</td></tr>
{% endfor %}</table></div>
</html>
"""


def build(settings: Settings, connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> Path:
    """Write the home page and the Data Docs pages of this run; returns the home page."""
    settings.site_dir.mkdir(parents=True, exist_ok=True)
    _prune(settings)
    _build_data_docs(settings, summary.run_id)
    _keep_offline(settings, summary.run_id)
    page = settings.site_dir / "index.html"
    page.write_text(render_home(connection, summary), encoding="utf-8")
    return page


def render_home(connection: duckdb.DuckDBPyConnection, summary: RunSummary) -> str:
    """The home page; every value in it is escaped."""
    accounting = [
        (label, run, warehouse)
        for (label, run), (_, warehouse) in zip(
            reports.accounting_rows(summary.run), reports.accounting_rows(summary.warehouse), strict=True
        )
    ]
    template = Environment(autoescape=True).from_string(PAGE)
    return template.render(
        summary=summary,
        headline=reports.headline(summary),
        accounting=accounting,
        quarantined=ledger.by_status(connection, BatchStatus.QUARANTINED),
        statuses=ledger.count_by_status(connection),
        runs=history.last_runs(connection, 20),
    )


def _build_data_docs(settings: Settings, run_id: str) -> None:
    """Pages for the results of this run and the suites only: the cost does not grow with history."""
    import great_expectations as gx

    context = open_context(settings)
    suites = [context.suites.add(gx.ExpectationSuite(**suite)) for gate in Gate for suite in load_suites(gate)]
    new = [key for key in context.validation_results_store.list_keys() if key.run_id.run_name == run_id]
    context.build_data_docs(
        site_names=[SITE_NAME], resource_identifiers=[*(_suite_key(suite) for suite in suites), *new]
    )


def _keep_offline(settings: Settings, run_id: str) -> None:
    """Forbid the new pages to load anything: as the library makes them, they ask other hosts for style and logo."""
    site = settings.site_dir / SITE_NAME
    pages = [site / "index.html", *site.glob("expectations/*.html"), *site.glob(f"validations/*/{run_id}/*/*.html")]
    for page in pages:
        page.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{OFFLINE}", 1), encoding="utf-8")


def _suite_key(suite: Any) -> Any:  # noqa: ANN401 - the library's own types
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier

    return ExpectationSuiteIdentifier(name=suite.name)


def _prune(settings: Settings) -> None:
    """Keep the results and pages of the newest `docs_kept` runs."""
    runs: dict[str, float] = {}
    for run in results_dir(settings).glob("*/*"):
        runs[run.name] = max(runs.get(run.name, 0), run.stat().st_mtime)
    for old in sorted(runs, key=runs.__getitem__, reverse=True)[settings.docs_kept :]:
        pages = settings.site_dir / SITE_NAME / "validations"
        for folder in [*results_dir(settings).glob(f"*/{old}"), *pages.glob(f"*/{old}")]:
            shutil.rmtree(folder)
