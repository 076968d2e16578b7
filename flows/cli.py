"""What a person types: the command `podcast`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows import logs
from flows.errors import PipelineError, SettingsError
from flows.questions import QUESTIONS, Asked, Question, answer
from flows.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb

    from flows.domain import Batch, Decision, Plan, RunSummary, Selection

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
        explained = _explained(error)
        if explained is None:
            raise
        _fail(str(explained), explained.exit_code)


def _explained(error: Exception) -> PipelineError | None:
    """A fault of the surroundings outside of the parts that explain their own."""
    from flows import faults

    try:
        explained = faults.find(error, load_settings())
    except SettingsError:
        return None
    if explained:
        return explained
    said = faults.without_values(f"{error}")
    if type(error).__name__ in {"BinderException", "CatalogException"}:
        return PipelineError(f"{said}\nA warehouse of an earlier version of this program is mended by: podcast run")
    return PipelineError(f"The warehouse could not be used: {said}") if faults.is_of_engine(error) else None


def _settings() -> Settings:
    """The settings, for a command that logs as they say."""
    settings = load_settings()
    logs.configure(settings, program=click.get_current_context().command_path)
    return settings


def _fail(message: str, exit_code: int) -> None:
    from flows.terminal import errors, plain

    logs.event("command failed", level=logging.ERROR, cause=message, exit_code=exit_code)
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
    settings = _settings()
    plan = _plan(settings)
    if plan.has_work or full_refresh:
        call = "pipeline", lambda flows: flows.podcast_pipeline(full_refresh=full_refresh)
        summary = _run_flow(settings, *call, quiet=as_json)
    else:
        summary = _nothing_new(settings, plan)
        logs.event("nothing new", step="discover")
    _show(settings, summary, as_json=as_json)
    if strict and summary.quarantined:
        sys.exit(EXIT_HELD_BACK)


def _plan(settings: Settings) -> Plan:
    """What there is to do, found out before the slow libraries are loaded.

    What the look notes in the ledger is kept only if it was the whole run: else the run notes and reports it.
    """
    from flows import history, joining
    from flows.planning import plan_run
    from flows.warehouse import connect

    with joining.writer(settings, purpose="looking for new files"), connect(settings) as connection:
        history.record_crashes(settings, connection)
        connection.begin()
        plan = plan_run(settings, connection)
        if plan.has_work:
            connection.rollback()
        else:
            connection.commit()
        return plan


def _nothing_new(settings: Settings, plan: Plan) -> RunSummary:
    from flows import metrics
    from flows.domain import RunStatus, RunSummary
    from flows.warehouse import utc_now

    now = utc_now()
    summary = RunSummary(
        "",
        RunStatus.NOTHING_NEW,
        now,
        now,
        missing=plan.missing,
        unsettled=plan.unsettled,
        ignored=plan.ignored,
        refused=plan.refused,
    )
    metrics.note_run(settings, summary, {})
    metrics.write_textfile(settings)
    return summary


def _run_flow(settings: Settings, module: str, call: Callable[[Any], RunSummary], *, quiet: bool = False) -> RunSummary:
    """Call a flow of a module, whose import takes seconds, in this process, with its steps on the terminal."""
    from flows import progress, starting
    from flows.terminal import console, showing_steps

    _prepare_prefect(settings)
    if not quiet:
        console.print(f"Running the pipeline over {settings.landing_dir}", markup=False)
    with progress.listening(lambda _step, _message: None) if quiet else showing_steps():
        return call(starting.load(f"flows.{module}", settings))


def _prepare_prefect(settings: Settings) -> None:
    """Prefect keeps its own things under the home, and reports to the server of `podcast ui` if that runs."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        for log in ("LOGGING", "LOGGING_HANDLERS_CONSOLE", "SERVER_LOGGING"):
            os.environ.setdefault(f"PREFECT_{log}_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # of a log that cannot be written, as on a full disk
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

    settings = _settings()
    with _reading(settings) as connection:
        counts = ledger.count_by_status(connection)
        runs = history.last_runs(connection, 5)
        outdated = ledger.outdated(connection, settings.rules_version())
        missing = len(ledger.with_rows(connection, ledger.missing(connection)))
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
    if missing:
        terminal.console.print(f"Files with rows that are gone from the landing directory: {missing:,}")
    if outdated:
        terminal.console.print(
            f"Batches judged by earlier rules: {outdated:,}; to judge them again: podcast revalidate"
        )


def _freshness(settings: Settings) -> str:
    from flows import faults
    from flows.warehouse import can_be_opened, open_file, utc_now

    if not settings.published_path.exists():
        return "Nothing is published yet."
    if not can_be_opened(settings.published_path):
        return str(faults.damaged_copy(settings))
    with open_file(settings.published_path, read_only=True) as connection:
        (newest,) = connection.execute('select max("timestamp") from gold.fact_user_interactions').fetchone() or (None,)
    if newest is None:
        return "No event is published yet."
    age = utc_now() - newest
    return f"Newest published event: {newest:%Y-%m-%d %H:%M:%S} UTC, {age.days} days {age.seconds // 3600} hours ago"


@contextmanager
def _reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The working database to read, or, while a run writes it, the published copy."""
    import duckdb

    from flows.warehouse import open_file

    paths = [p for p in (settings.warehouse_path, settings.published_path) if p.exists()]
    if not paths:
        raise PipelineError(f"There is no warehouse under {settings.home} yet. Start with: podcast run")
    for path in paths:
        try:
            connection = open_file(path, read_only=True)
        except duckdb.Error as error:
            from flows import faults
            from flows.warehouse import lock_holder

            if path == settings.published_path:
                raise faults.damaged_copy(settings) from None
            if path == paths[-1] or not faults.LOCKED.search(f"{error}"):
                raise faults.damaged(error, settings) from None
            click.echo(f"A run is writing ({lock_holder(settings)}); this is the last published state.\n", err=True)
            continue
        with connection:
            yield connection
        return


# Asking

DAYS = click.IntRange(1, 10**5)
ASKING = {
    "end": click.Option(
        ["--end"],
        type=click.DateTime(["%Y-%m-%d"]),
        metavar="DATE",
        help="Day (UTC) at which the window ends, itself excluded.  "
        "[default: PODCAST_ANALYSIS_END_DATE, or the day after the newest event]",
    ),
    "days": click.Option(["--days"], type=DAYS, help="Days of the window.  [default: PODCAST_WINDOW_DAYS]"),
    "episode": click.Option(["--episode"], metavar="ID", help="Only this episode."),
    "user": click.Option(["--user"], metavar="ID", help="Only this user, by the id as the events have it."),
    "limit": click.Option(
        ["--limit"], type=click.IntRange(1, 10**9), default=100, show_default=True, help="Most rows to show."
    ),
    "json": click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object, and nothing else."),
}


@cli.group()
def ask() -> None:
    """Questions to what is published, answered at any time, in the middle of a run too.

    A window includes its first day and excludes its end. User ids are masked, with --json too, unless
    PODCAST_SHOW_USER_IDS is set.
    """


def _asking(question: Question) -> click.Command:
    """The command of a question."""

    def callback(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - the options of the question
        _answer(question, given, as_json=as_json)

    options: list[click.Parameter] = [ASKING[name] for name in (*question.options, "json")]
    return click.Command(question.name, callback=callback, params=options, help=_about(question))


def _about(question: Question) -> str:
    """What a question is about, and what is to be known of its options."""
    notes = [question.text]
    if "end" in question.options and not question.is_recomputed:
        notes.append("Without --end and --days: of all days.")
    if "user" in question.options:
        notes.append("User ids are masked, with --json too, unless PODCAST_SHOW_USER_IDS is set.")
    return " ".join(notes)


def _answer(question: Question, given: dict[str, Any], *, as_json: bool) -> None:
    given = {name: value.date() if name == "end" and value else value for name, value in given.items()}
    answered = answer(_settings(), question, Asked(**given))
    if as_json:
        click.echo(json.dumps(answered.document(), default=lambda value: value.isoformat()))
    else:
        from flows.terminal import show_answer

        show_answer(answered)


for _question in QUESTIONS:
    ask.add_command(_asking(_question))


# Quarantine


@cli.group()
def quarantine() -> None:
    """Batches that were held back, and what to do about them. BATCH is an id, its beginning, or a file name."""


@quarantine.command("list")
def quarantine_list() -> None:
    """The batches in quarantine."""
    from flows import ledger, terminal
    from flows.domain import BatchStatus

    with _reading(_settings()) as connection:
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
    from flows import evidence, ledger, terminal

    settings = _settings()
    with _reading(settings) as connection:
        found = ledger.find(connection, batch)
        lines = evidence.failing_lines(settings, connection, [found.batch_id], limit=LINES_SHOWN)[found.batch_id]
    terminal.show_batches(found.filename, [found])
    for label, value in (
        ("found", found.detail),
        ("decision", found.decision),
        ("decided by", found.decided_by),
    ):
        if value:
            terminal.console.print(terminal.plain(f"{label}: {value}"))
    if lines.first:
        terminal.show_failing_lines(lines)
    folder = evidence.folder(settings, found.batch_id)
    terminal.console.print()
    is_kept = evidence.exists(settings, found.batch_id)
    terminal.console.print(terminal.plain(f"Evidence: {folder}" if is_kept else "No evidence was kept."))
    if found.status == "quarantined":
        _show_choices(found)


def _show_choices(batch: Batch) -> None:
    from flows.reports import next_steps

    click.echo("\nWhat to do:")
    click.echo(next_steps(batch.batch_id).replace("`", ""))


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which batches are chosen."""
    options = (
        click.argument("batch", nargs=-1),
        click.option("--files", metavar="PATTERN", help="Files whose name matches, as in '2024-01-*/*.json'."),
        click.option("--arrived-from", type=click.DateTime(["%Y-%m-%d"]), help="First day (UTC) of arrival."),
        click.option("--arrived-before", type=click.DateTime(["%Y-%m-%d"]), help="Day (UTC) after the last one."),
        click.option("--dry-run", is_flag=True, help="Show which batches it would be, and change nothing."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@quarantine.command()
@_choosing
@click.option("--reason", required=True, help="Why; kept in the ledger with your name.")
def release(*, reason: str, **choice: Any) -> None:  # noqa: ANN401 - the options of _choosing
    """Publish quarantined batches as they are."""
    _decide("release", _given(reason), choice)


@quarantine.command()
@_choosing
@click.option("--reason", required=True, help="Why; kept in the ledger with your name.")
def discard(*, reason: str, **choice: Any) -> None:  # noqa: ANN401 - the options of _choosing
    """Leave quarantined or published batches out for good."""
    _decide("discard", _given(reason), choice)


@quarantine.command()
@_choosing
def reprocess(**choice: Any) -> None:  # noqa: ANN401 - the options of _choosing
    """Read the files of batches again, each as a new attempt."""
    _decide("reprocess", None, choice)


def _given(reason: str) -> str:
    if not reason.strip():
        raise click.UsageError("--reason takes a text that says why.")
    return reason.strip()


def _decide(name: str, reason: str | None, choice: dict[str, Any]) -> None:
    """Show the choice, or carry it out and publish the consequence, without loading new files."""
    from flows.domain import Decision, Selection

    settings, decision = _settings(), Decision(name)
    days = {key: choice[key].date() if choice[key] else None for key in ("arrived_from", "arrived_before")}
    selection = Selection(choice["batch"], choice["files"], **days)
    if choice["dry_run"]:
        _show_choice(settings, decision, selection)
        return
    summary = _run_flow(settings, "decisions", lambda flows: flows.act(decision, selection, reason=reason))
    _show(settings, summary, as_json=False)


def _show_choice(settings: Settings, decision: Decision, selection: Selection) -> None:
    from flows import quarantine as quarantining
    from flows import reports, terminal

    with _reading(settings) as connection:
        batches = quarantining.choose(connection, decision, selection)
    click.echo(f"{len(batches):,} would be {reports.DONE[decision]}; nothing was changed.\n")
    terminal.show_batches("", batches)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Show what would change, worked out on a copy; publish nothing.")
def revalidate(*, dry_run: bool) -> None:
    """Judge every batch again, by the rules and reference data of today."""
    settings = _settings()
    summary = _run_flow(settings, "decisions", lambda flows: flows.revalidate_batches(dry_run=dry_run))
    _show(settings, summary, as_json=False)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
def prune(*, dry_run: bool) -> None:
    """Delete raw lines, evidence and results that are older than their settings."""
    from flows import joining, retention
    from flows.warehouse import connect

    settings = _settings()
    with joining.writer(settings, purpose="pruning"), connect(settings) as connection:
        pruned = retention.prune(settings, connection, dry_run=dry_run)
        if not dry_run:
            joining.keep(settings, connection)
    click.echo(f"{'Would be deleted' if dry_run else 'Deleted'}: {pruned}.")


# Keeping safe


@cli.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make.  [default: <home>/backups/ and the time]",
)
def backup(out: Path | None) -> None:
    """Copy the databases, the evidence and the ledger, and check the copy."""
    from flows import backup as backing_up
    from flows import terminal

    made = backing_up.back_up(_settings(), out=out)
    terminal.show_backup(made.path, made.manifest)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Move a warehouse that is there aside instead of refusing.")
def restore(folder: Path, *, force: bool) -> None:
    """Put a backup in place, after a check of all of it."""
    from flows import restore as restoring
    from flows import terminal

    settings = _settings()
    restored = restoring.restore(settings, folder, force=force)
    terminal.show_restored(settings, restored)


@cli.command()
@click.option(
    "--ledger",
    "ledger_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The ledger.jsonl of a backup.",
)
@click.option(
    "--originals",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with contents that are no longer in the landing directory under their name.",
)
@click.option("--partial", is_flag=True, help="Leave out what is not there instead of refusing.")
def rebuild(*, ledger_file: Path, originals: Path | None, partial: bool) -> None:
    """Make the warehouse anew from the landing files, as an exported ledger says it was."""
    settings = _settings()
    given = {"ledger_file": str(ledger_file), "originals": str(originals) if originals else None, "partial": partial}
    summary = _run_flow(settings, "maintenance", lambda flows: flows.podcast_rebuild(**given))
    _show(settings, summary, as_json=False)


@cli.command()
@click.option("--to", "engine", type=click.Choice(["spark", "snowflake", "duckdb"]), required=True, help="The engine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def migrate(*, engine: str, as_json: bool) -> None:
    """Copy the tables to another engine, prove them equal, and let it go on from them."""
    from flows import migrate as migrating
    from flows import progress, terminal

    settings = _settings()
    quiet = progress.listening(lambda _step, _message: None)
    with quiet if as_json else terminal.showing_steps(f"moving to {engine}"):
        moved = migrating.migrate(settings, engine)
    if as_json:
        click.echo(json.dumps(moved.document()))
    else:
        terminal.show_migration(settings, moved)


# Settings


@cli.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.option("--check", is_flag=True, help="See too whether the folders can be written.")
def show_settings(*, as_json: bool, check: bool) -> None:
    """Every setting with its value and where that comes from; of a secret only whether it is set."""
    from flows import settings as all_settings

    settings, shown = all_settings.show_settings()
    if check:
        all_settings.check_folders(settings)
    if as_json:
        click.echo(json.dumps({s.name: {"value": s.value, "from": s.origin} for s in shown}))
    else:
        from flows import terminal

        terminal.show_table(("setting", "value", "from"), [(s.name, s.value, s.origin) for s in shown])


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


@cli.group()
def site() -> None:
    """The site that every run writes."""


@site.command("serve")
@click.option("--port", type=int, default=4201, show_default=True, help="Port to listen on.")
def site_serve(port: int) -> None:
    """Serve the site on 127.0.0.1 until Ctrl-C."""
    from flows.site import serve
    from flows.ui import check_ports

    check_ports({"--port": port})
    click.echo(f"Site  http://{serve.HOST}:{port}  (Ctrl-C stops it)")
    serve.serve(_settings(), port=port)


@cli.command()
@click.option("--no-alerts", is_flag=True, help="Notify nobody any more, and remove the address from the server.")
def deploy(*, no_alerts: bool) -> None:
    """Work pool, deployments and automations onto the Prefect server that PREFECT_API_URL names."""
    from flows import deploying

    settings = _settings()
    _prepare_prefect(settings)
    for line in deploying.deploy(settings, alerts=not no_alerts):
        click.echo(line)


@cli.command()
def watch() -> None:
    """Ask the Prefect server for a run when files land, until Ctrl-C; `podcast ui` starts this too."""
    from flows.watch import watch as watch_landing

    watch_landing(_settings())


@cli.group()
def api() -> None:
    """What is published, over HTTP, for programs."""


@api.command("serve")
@click.option("--port", type=click.IntRange(1, 65535), default=4202, show_default=True, help="Port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; another one needs PODCAST_API_TOKEN."
)
@click.option("--open-metrics", is_flag=True, help="Answer /metrics without a token.")
def api_serve(*, port: int, host: str, open_metrics: bool) -> None:
    """Serve the read API, and /metrics, until Ctrl-C; whoever asks gives the token as `Authorization: Bearer`."""
    from flows.api import serve

    serve.serve(_settings(), host=host, port=port, open_metrics=open_metrics)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead, all at once.")
def metrics(*, out: Path | None) -> None:
    """The figures for Prometheus, of what is published and of the last run."""
    from flows import metrics

    settings = _settings()
    if out:
        metrics.write(settings, out.absolute())
    else:
        click.echo(metrics.render(settings, metrics.of_copy(settings)), nl=False)


@cli.command()
@click.option("--port", type=int, default=4200, show_default=True, help="Port of the Prefect server.")
@click.option("--site-port", type=int, default=4201, show_default=True, help="Port of the site.")
def ui(*, port: int, site_port: int) -> None:
    """Prefect server, worker, deployments and the site on 127.0.0.1; Ctrl-C stops all of it."""
    from flows.ui import serve

    serve(_settings(), port=port, site_port=site_port)


if __name__ == "__main__":
    main()
