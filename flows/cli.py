"""What a person types: the command `podcast`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.errors import PipelineError
from flows.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Batch, Plan, RunSummary

EXIT_HELD_BACK = 3
LINES_SHOWN = 20


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Raw listening events in, an audited star schema out; every line is accounted for."""


def main() -> None:
    """Run the command; an error that is meant for a person is shown without a traceback."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PipelineError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        if type(error).__module__.startswith("_duckdb"):
            _fail(f"The warehouse could not be used: {error}", 1)
        raise


def _fail(message: str, exit_code: int) -> None:
    from flows.terminal import errors, plain

    errors.print("error: ", style="bold red", end="")
    for line in message.splitlines():
        errors.print(plain(line))
    sys.exit(exit_code)


# Running


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as one JSON object, and nothing else.")
@click.option("--strict", is_flag=True, help=f"Exit with {EXIT_HELD_BACK} when a batch was held back.")
@click.option("--full-refresh", is_flag=True, help="Recompute every table from the raw lines.")
def run(*, as_json: bool, strict: bool, full_refresh: bool) -> None:
    """Load what has landed, judge it, publish what passed."""
    settings = load_settings()
    plan = _plan(settings)
    if plan.has_work or full_refresh:
        summary = _run_flow(settings, lambda flows: flows.podcast_pipeline(full_refresh=full_refresh), quiet=as_json)
    else:
        summary = _nothing_new(plan)
    _show(settings, summary, as_json=as_json)
    if strict and summary.quarantined:
        sys.exit(EXIT_HELD_BACK)


def _plan(settings: Settings) -> Plan:
    """What there is to do, found out before the slow libraries are loaded."""
    from flows.planning import plan_run
    from flows.warehouse import connect, writer_lock

    with writer_lock(settings, purpose="looking for new files"), connect(settings) as connection:
        return plan_run(settings, connection)


def _nothing_new(plan: Plan) -> RunSummary:
    from flows.domain import RunStatus, RunSummary
    from flows.warehouse import utc_now

    now = utc_now()
    return RunSummary(
        "",
        RunStatus.NOTHING_NEW,
        now,
        now,
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused,
    )


def _run_flow(settings: Settings, call: Callable[[Any], RunSummary], *, quiet: bool = False) -> RunSummary:
    """Call a flow in this process, with its steps on the terminal."""
    from flows.terminal import console, showing_steps

    _prepare_prefect(settings)
    if quiet:
        from flows import progress

        with progress.listening(lambda _step, _message: None):
            return call(_flows())
    console.print(f"Running the pipeline over {settings.landing_dir}", markup=False)
    with showing_steps():
        return call(_flows())


def _flows() -> Any:  # noqa: ANN401 - the module, whose import takes seconds
    from flows import pipeline

    return pipeline


def _prepare_prefect(settings: Settings) -> None:
    """Prefect keeps its own things under the home, and reports to the server of `podcast ui` if that runs."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    if any(name in os.environ for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE")):
        return
    from flows.ui import running_api

    home = settings.home / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    if api := running_api(settings):
        os.environ["PREFECT_API_URL"] = api


def _show(settings: Settings, summary: RunSummary, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(summary), default=str))
    else:
        from flows.terminal import show_summary

        show_summary(settings, summary)


# Looking


@cli.command()
def status() -> None:
    """Batches by state, the last runs, and the age of the newest published event."""
    from flows import history, ledger, terminal

    settings = load_settings()
    with _reading(settings) as connection:
        counts = ledger.count_by_status(connection)
        runs = history.last_runs(connection, 5)
    terminal.console.print(terminal.table("Batches", ("status", "batches"), list(counts.items())))
    terminal.console.print()
    header = ("started (UTC)", "status", "published", "held back", "lines", "facts", "message")
    rows = [
        (
            f"{r['started_at']:%Y-%m-%d %H:%M}", r["status"], r["published_batches"], r["quarantined_batches"],
            r["lines"], r["facts"], r["message"] or "",
        )
        for r in runs
    ]  # fmt: skip
    terminal.console.print(terminal.table("Last runs", header, rows))
    terminal.console.print()
    terminal.console.print(_freshness(settings), markup=False)


def _freshness(settings: Settings) -> str:
    import duckdb

    from flows.warehouse import utc_now

    if not settings.published_path.exists():
        return "Nothing is published yet."
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        (newest,) = connection.execute('select max("timestamp") from gold.fact_user_interactions').fetchone() or (None,)
    if newest is None:
        return "No event is published yet."
    age = utc_now() - newest
    return f"Newest published event: {newest:%Y-%m-%d %H:%M:%S} UTC, {age.days} days {age.seconds // 3600} hours ago"


@contextmanager
def _reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The working database to read, or, while a run writes it, the published copy."""
    import duckdb

    paths = [p for p in (settings.warehouse_path, settings.published_path) if p.exists()]
    if not paths:
        raise PipelineError(f"There is no warehouse under {settings.home} yet. Start with: podcast run")
    for path in paths:
        try:
            connection = duckdb.connect(str(path), read_only=True)
        except duckdb.IOException:
            if path == paths[-1]:
                raise
            from flows.warehouse import lock_holder

            click.echo(f"A run is writing ({lock_holder(settings)}); this is the last published state.\n", err=True)
            continue
        with connection:
            yield connection
        return


# Quarantine


@cli.group()
def quarantine() -> None:
    """Batches that were held back, and what to do about them. BATCH is an id, its beginning, or a file name."""


@quarantine.command("list")
def quarantine_list() -> None:
    """The batches in quarantine."""
    from flows import ledger, terminal
    from flows.domain import BatchStatus

    with _reading(load_settings()) as connection:
        batches = ledger.by_status(connection, BatchStatus.QUARANTINED)
    if batches:
        terminal.show_batches("In quarantine", batches)
        click.echo("\nTo see why, and the failing lines: podcast quarantine show BATCH")
    else:
        click.echo("No batch is in quarantine.")


@quarantine.command("show")
@click.argument("batch")
def quarantine_show(batch: str) -> None:
    """Why a batch was held back, and its first failing lines."""
    from flows import ledger, terminal
    from flows import quarantine as quarantining

    settings = load_settings()
    with _reading(settings) as connection:
        found = ledger.find(connection, batch)
    terminal.show_batches(found.filename, [found])
    for label, value in (
        ("found", found.detail),
        ("decision", found.decision),
        ("decided by", found.decided_by),
    ):
        if value:
            terminal.console.print(terminal.plain(f"{label}: {value}"))
    folder = quarantining.evidence_dir(settings, found.batch_id)
    lines = folder / "failing_lines.jsonl"
    if lines.exists():
        _show_failing_lines(lines)
    terminal.console.print()
    terminal.console.print(terminal.plain(f"Evidence: {folder}" if folder.exists() else "No evidence was kept."))
    if found.status == "quarantined":
        _show_choices(found)


def _show_failing_lines(path: Path) -> None:
    from flows import terminal

    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line, _ in zip(file, range(LINES_SHOWN), strict=False)]
        more = sum(1 for _ in file)
    keys = ("event_type", "user_id", "episode_id", "timestamp", "duration")
    rows = [
        (
            r["line_number"],
            ", ".join(r["codes"]),
            r["rescued"] or r["rescued_base64"] or ", ".join(f"{k} {r[k]}" for k in keys if r[k] is not None),
        )
        for r in records
    ]
    terminal.console.print()
    terminal.console.print(terminal.table("Failing lines", ("line", "codes", "as it came"), rows))
    if more:
        click.echo(f"... and {more:,} more in {path}")


def _show_choices(batch: Batch) -> None:
    from flows.reports import NEXT_STEPS

    click.echo("\nWhat to do:")
    click.echo(NEXT_STEPS.format(id=batch.batch_id).replace("`", ""))


@quarantine.command()
@click.argument("batch")
@click.option("--reason", required=True, help="Why; kept in the ledger with your name.")
def release(batch: str, reason: str) -> None:
    """Publish a quarantined batch as it is."""
    _decide("release", batch, reason)


@quarantine.command()
@click.argument("batch")
@click.option("--reason", required=True, help="Why; kept in the ledger with your name.")
def discard(batch: str, reason: str) -> None:
    """Leave a quarantined or published batch out for good."""
    _decide("discard", batch, reason)


def _decide(decision: str, batch: str, reason: str) -> None:
    """Note the decision, then run the pipeline over what waits, without loading new files."""
    from flows import quarantine as quarantining
    from flows.warehouse import connect, writer_lock

    if not reason.strip():
        raise click.UsageError("--reason takes a text that says why.")
    settings = load_settings()
    with writer_lock(settings, purpose=f"{decision} of {batch}"), connect(settings) as connection:
        decided = getattr(quarantining, decision)(connection, batch, reason=reason.strip())
    click.echo(f"{decided.filename} (batch {decided.batch_id}): {decision} noted.")
    summary = _run_flow(settings, lambda flows: flows.podcast_pipeline(load_new_files=False))
    _show(settings, summary, as_json=False)


@quarantine.command()
@click.argument("batch", nargs=-1, required=True)
def reprocess(batch: tuple[str, ...]) -> None:
    """Read the files of batches again, each as a new attempt."""
    settings = load_settings()
    summary = _run_flow(settings, lambda flows: flows.reprocess_batches(list(batch)))
    _show(settings, summary, as_json=False)


# Generating, and the servers


@cli.command()
@click.option("--events", type=int, required=True, help="Number of events over all files.")
@click.option("--files", type=int, help="Number of files.  [default: one a day]")
@click.option("--dirty", type=float, default=0.03, show_default=True, help="Share of rows with a validation code.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same files.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
def generate(*, events: int, files: int | None, dirty: float, seed: int, out: Path) -> None:
    """Synthetic events and reference data, with the answers known by construction."""
    from flows import generating

    try:
        options = generating.GeneratorOptions(events=events, files=files, dirty=dirty, seed=seed)
        answers = generating.generate(options, out)
    except (ValueError, FileExistsError) as error:
        raise click.ClickException(str(error)) from None
    totals = answers.totals
    click.echo(
        f"{totals.lines:,} events in {totals.files} files under {out}/landing, reference data in {out}/seeds.\n"
        f"Known answers in {out}/answers.json: {totals.facts:,} facts, {totals.duplicates:,} duplicates, "
        f"{totals.invalid:,} invalid, {totals.malformed:,} malformed, {totals.held_back:,} held back.\n\n"
        f"Run the pipeline over it:\n"
        f"  PODCAST_HOME={out}/home PODCAST_LANDING={out}/landing PODCAST_SEEDS={out}/seeds podcast run"
    )


@cli.command()
@click.option("--port", type=int, default=4200, show_default=True, help="Port of the Prefect server.")
@click.option("--site-port", type=int, default=4201, show_default=True, help="Port of the site.")
def ui(*, port: int, site_port: int) -> None:
    """Prefect server, worker, deployments and the site on 127.0.0.1; Ctrl-C stops all of it."""
    from flows.ui import serve

    serve(load_settings(), port=port, site_port=site_port)
