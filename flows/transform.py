"""dbt, one layer at a time, in this process: the only module that knows dbt."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import engines, faults, handover, logs, reference_files, reference_seeds, spark, spark_tables
from flows.domain import BuiltModel, Layer
from flows.errors import TransformError
from flows.handover import Build, Model
from flows.settings import DBT_PROJECT, EMBEDDED, Settings
from flows.warehouse import connect, open_database, open_file

if TYPE_CHECKING:
    import duckdb

    from flows.engines import Engine

_BELOW = (f"tag:{Layer.RAW},config.materialized:view",)
"""The views that the first layer is made of, where another engine builds it."""

_TABLES = ("table", "incremental")

_WITH_HISTORIES = ("build", "--exclude-resource-type", "seed", "test", "unit_test")
"""The command for models and snapshots together; it puts all tests into the graph first, which `run` does not."""

_SILENT = ("--quiet", "--log-level", "none", "--log-level-file", "none")


def build_layer(settings: Settings, layer: Layer, *, full_refresh: bool = False) -> tuple[BuiltModel, ...]:
    """Build the models with the layer's tag. Raises `TransformError`."""
    what = f"the {layer} layer"
    engine = engines.chosen(settings)
    if engine is None or layer not in handover.BUILT:
        return _build(settings, f"tag:{layer}", what=what, full_refresh=full_refresh)
    return _build_elsewhere(settings, engine, layer, what, full_refresh=full_refresh)


def _build_elsewhere(
    settings: Settings, engine: Engine, layer: Layer, what: str, *, full_refresh: bool
) -> tuple[BuiltModel, ...]:
    """The tables on another engine, and then the views, which are of the working database too.

    The first layer takes the views before it along, of which its tables are made.
    """
    select = [*(_BELOW if layer is Layer.BRONZE else ()), f"tag:{layer}"]
    with connect(settings) as connection:
        if engine is spark:
            open_session(settings)
        with engines.building(connection, settings, engine, layer) as were_at_one:
            engine.carry_in(connection, settings, layer)
            built = _build(settings, *select, what=what, full_refresh=full_refresh, target=settings.engine)
            found = models(settings)
            engine.carry_out(
                connection,
                settings,
                Build(
                    layer,
                    found,
                    is_whole=full_refresh or not were_at_one,
                    leaving=lambda target: _leaving(settings, [m for m in found if m.layer is layer], target),
                    layouts=cache(lambda: layouts(settings, connection)),
                ),
            )
    views = _build(
        settings, f"tag:{layer},config.materialized:view", what=f"the views of {what}", full_refresh=full_refresh
    )
    return built + views


def models(settings: Settings) -> list[Model]:
    """Every model of the layers that has a table. Raises `TransformError`."""
    parsed = _parse(settings)
    if not parsed.success:
        raise TransformError(f"dbt could not read the project. {_exception(parsed)}")
    nodes = [node for node in parsed.result.nodes.values() if node.resource_type == "model"]
    return [
        Model(
            relation=f"{node.schema}.{node.alias}",
            columns=tuple(node.columns),
            layer=layer,
            strategy=node.config.incremental_strategy if node.config.materialized == "incremental" else None,
            unique_key=tuple(node.config.unique_key or ()),
        )
        for node in nodes
        for layer in handover.BUILT
        if node.config.materialized in _TABLES and layer in node.tags
    ]


def _leaving(settings: Settings, found: Sequence[Model], target: str) -> dict[str, str]:
    """By relation, the condition on which its rows, called `held`, leave in an increment, as SQL of a target."""
    wanted = {m.relation: {"strategy": m.strategy, "unique_key": m.unique_key} for m in found if m.strategy}
    if not wanted:
        return {}
    conditions = json.loads(_inline(settings, f"tojson(leaving_rows({json.dumps(wanted)}))", target))
    return {relation: condition for relation, condition in conditions.items() if condition}


def layouts(settings: Settings, connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    """By table of the layers, the columns and types that a build by the engine of the working database gives it.

    It is built over no rows, in a home of its own that is gone afterwards. Raises `TransformError`.
    """
    home = settings.home / "laying-out"
    elsewhere = settings.model_copy(update={"home": home, "engine": EMBEDDED})
    shutil.rmtree(home, ignore_errors=True)
    try:
        build_empty(elsewhere, connection)
        with open_file(elsewhere.warehouse_path, read_only=True) as empty:
            return {model.relation: handover.described(empty, model.relation) for model in models(settings)}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def build_empty(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Every table of the layers, without a row, where there is none yet, as the engine of the settings lays them out.

    What the models read has the columns that it has on the connection. Raises `TransformError`.
    """
    if settings.engine == EMBEDDED:
        with open_database(settings, settings.warehouse_path) as empty:
            handover.describe_carried(connection, empty)
    else:
        if settings.engine == "spark":
            open_session(settings)
        engines.ENGINES[settings.engine].carry_in(connection, settings, Layer.BRONZE, without_rows=True)
    select = (*_BELOW, *(f"tag:{layer}" for layer in handover.BUILT))
    _build(settings, *select, what="empty tables", full_refresh=True, target=settings.engine)


def fillings(settings: Settings, tables: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """By table of Spark's, given with its columns, the SQL that fills it as a build would; `{rows}` in it is with what.

    Raises `TransformError`.
    """
    wanted = json.dumps({name: list(names) for name, names in tables.items()})
    return dict(json.loads(_inline(settings, f"tojson(spark_fillings({wanted}))", settings.engine)))


def _inline(settings: Settings, expression: str, target: str) -> str:
    """What an expression of Jinja gives, with the macros of the project. Raises `TransformError`."""
    result = _call_dbt(settings, "compile", "--inline", f"{{{{ {expression} }}}}", "--no-write-json", target=target)
    if not result.success or not result.result.results:
        raise TransformError(f"dbt could not work out {expression.partition('(')[0]}. {_reasons(result)}")
    return str(result.result.results[0].node.compiled_code)


def open_session(settings: Settings) -> None:
    """Have dbt open the session that its profile describes, where there is none yet. Raises `TransformError`."""
    if spark_tables.has_session():
        return
    spark_tables.hush()
    with _environment(settings, target=settings.engine):
        folders = ("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT))
        result = _invoke("debug", "--connection", *folders, *_SILENT)
    if not result.success or not spark_tables.has_session():
        raise TransformError(f"Spark cannot be reached; nothing was published. {_exception(result)}")


def build_reference(settings: Settings, *, select: str = "tag:reference") -> tuple[BuiltModel, ...]:
    """Build tables and histories of the reference data. Raises `TransformError`.

    Always as a full refresh, which drops no history.
    """
    with _files_for_the_engine(settings) as files:
        return _build(
            settings, select, what="the reference data", full_refresh=True, variables=files, command=_WITH_HISTORIES
        )


def _build(
    settings: Settings,
    *select: str,
    what: str,
    full_refresh: bool,
    target: str = EMBEDDED,
    variables: Mapping[str, str] | None = None,
    command: Sequence[str] = ("run",),
) -> tuple[BuiltModel, ...]:
    """Every model that is selected.

    In this process, where the models see the working database through the connection that is open anyway, and
    without a Prefect task run for each model: most of the time of a small run went into those. Nor is dbt's
    manifest written each time, which nobody reads. Seeds are for whoever uses dbt alone: the engine reads the files
    themselves. Raises `TransformError` naming each model that failed, and why.
    """
    arguments = [
        *command, "--select", *select,
        "--no-write-json",
        *(["--full-refresh"] if full_refresh else []),
    ]  # fmt: skip
    return _built(what, _call_dbt(settings, *arguments, target=target, variables=variables))


def generate_docs(settings: Settings) -> Path:
    """The folder with dbt's documentation page, manifest and catalog; they are made anew only when it would change.

    Raises `TransformError`.
    """
    folder = dbt_dir(settings) / "docs"
    made_of, stamp = settings.documentation_hash(), folder / "made_of"
    if stamp.is_file() and stamp.read_text() == made_of:
        return folder
    # To compile the generic tests, which are most of what is compiled and have no page, takes longer than all else.
    result = _call_dbt(settings, "docs", "generate", "--exclude", "test_type:generic")
    if not result.success:
        raise TransformError(f"dbt could not document the models; what is published is whole. {_exception(result)}")
    folder.mkdir(exist_ok=True)
    for name in ("index.html", "manifest.json", "catalog.json"):
        shutil.copyfile(_target_dir(settings) / name, folder / name)
    stamp.write_text(made_of)
    return folder


def _call_dbt(
    settings: Settings, *command: str, target: str = EMBEDDED, variables: Mapping[str, str] | None = None
) -> Any:  # noqa: ANN401 - dbt's own type
    """One of dbt's commands, in this process; it writes no log, which would keep quoted values."""
    parsed = _parse(settings, target)
    if not parsed.success:
        return parsed
    with _environment(settings, variables, target=target, tag=logs.run_tag()):
        try:
            return _invoke(*command, *_options(settings, target), project=_uncompiled(parsed.result))
        finally:
            close_connections()


def _invoke(*arguments: str, project: Any = None) -> Any:  # noqa: ANN401 - dbt's own types
    """What dbt gives back for these arguments, over a project that is parsed already if one is given.

    dbt hands back every exception as a result. One that ends the process, such as that of Ctrl-C, is none: it goes on.
    """
    from dbt.cli.main import dbtRunner

    result = dbtRunner(project).invoke(list(arguments))
    if result.exception and not isinstance(result.exception, Exception):
        raise result.exception
    return result


_parsed: dict[str, tuple[str, Any]] = {}
"""The last parse of this process for each target, with what it was made of."""


def _parse(settings: Settings, target: str = EMBEDDED) -> Any:  # noqa: ANN401 - dbt's own type
    """The project as dbt reads it, once in a process as long as it stays the same.

    Never with the variables that say which files the engine reads: dbt would read anew what has to do with them as soon
    as they are others, which cost the run after the one that built the reference data two seconds.
    """
    made_of = settings.documentation_hash()
    held, parsed = _parsed.get(target, (None, None))
    if held == made_of:
        return parsed
    with _environment(settings, target=target):
        result = _invoke("parse", "--no-write-json", *_options(settings, target))
    if result.success:
        _parsed[target] = (made_of, result)
    return result


def parse_first(settings: Settings) -> None:
    """Have dbt read the project, if it never did in this home. What is wrong with it, the first build says."""
    from dbt.constants import PARTIAL_PARSE_FILE_NAME

    if not (_target_dir(settings) / PARTIAL_PARSE_FILE_NAME).is_file():
        with suppress(Exception):
            _parse(settings)


def _uncompiled(project: Any) -> Any:  # noqa: ANN401 - dbt's own type
    """The project as it was parsed: compiled again, a model would lack those that only stand within others."""
    from dbt.contracts.graph.nodes import CompiledNode

    for node in project.nodes.values():
        if isinstance(node, CompiledNode):
            node.compiled, node.compiled_code = False, None
            node.extra_ctes, node.extra_ctes_injected = [], False
    return project


def _options(settings: Settings, target: str = EMBEDDED) -> list[str]:
    return [
        "--vars", json.dumps(settings.dbt_vars(), sort_keys=True),
        "--project-dir", str(DBT_PROJECT),
        "--profiles-dir", str(DBT_PROJECT),
        "--target-path", str(_target_dir(settings, target)),
        *_SILENT,
    ]  # fmt: skip


def manifest(settings: Settings) -> Path:
    """The manifest of the project as it is now: that of the documentation, or one made once where there is none yet.

    Raises `TransformError`.
    """
    made_of = settings.documentation_hash()
    for folder in (dbt_dir(settings) / "docs", dbt_dir(settings) / "graph"):
        stamp = folder / "made_of"
        if stamp.is_file() and stamp.read_text() == made_of:
            return folder / "manifest.json"
    result = _parse(settings)
    if not result.success:
        raise TransformError(f"dbt could not read the project. {_exception(result)}")
    folder.mkdir(parents=True, exist_ok=True)
    result.result.write(str(folder / "manifest.json"))
    stamp.write_text(made_of)
    return folder / "manifest.json"


def compile_model(settings: Settings, model: str, variables: Mapping[str, object]) -> str:
    """The SQL of a model with these variables; its tables are in the catalog that the working database has.

    No database is opened, so that it can be done while a run writes, and no file of the reference data is read. dbt
    takes up its last parse where the variables are the same as then. Raises `TransformError`.
    """
    folder = dbt_dir(settings) / "ask"
    arguments = [
        "compile", "--select", f"{model},resource_type:model", "--indirect-selection", "empty",
        "--vars", json.dumps(dict(variables), sort_keys=True),
        "--project-dir", str(DBT_PROJECT),
        "--profiles-dir", str(DBT_PROJECT),
        "--target-path", str(folder),
        "--no-introspect", "--no-populate-cache", "--no-write-json",
        *_SILENT,
    ]  # fmt: skip
    with _environment(settings, database=folder / settings.warehouse_path.name):
        result = _invoke(*arguments)
    if not result.success or not result.result.results:
        raise TransformError(f"dbt could not compile the model {model}. {_reasons(result)}")
    return str(result.result.results[0].node.compiled_code)


def dbt_dir(settings: Settings) -> Path:
    """Where dbt keeps what it makes: manifest, compiled models, logs."""
    return settings.home / "dbt"


def _target_dir(settings: Settings, target: str = EMBEDDED) -> Path:
    return dbt_dir(settings) / ("target" if target == EMBEDDED else f"target_{target}")


def close_connections() -> None:
    """Let go of the handles on the database that dbt keeps after an invocation."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()


@contextmanager
def _environment(
    settings: Settings,
    variables: Mapping[str, str] | None = None,
    *,
    target: str = EMBEDDED,
    database: Path | None = None,
    tag: str = "podcast",
) -> Iterator[None]:
    """The variables of the environment that `profiles.yml` reads, and further ones that macros read.

    With the run in `tag`, for the engine's history of queries, only where dbt does not parse: it would read all anew
    in each run.
    """
    ours = {
        "DBT_PODCAST_TARGET": target,
        "DBT_PODCAST_DATABASE": str(database or settings.warehouse_path),
        "DBT_PODCAST_MEMORY_LIMIT": settings.memory_limit,
        **(engine.environment(settings, tag) if (engine := engines.chosen(settings)) else {}),
        "DBT_LOG_PATH": str(dbt_dir(settings) / "logs"),
        **(variables or {}),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _files_for_the_engine(settings: Settings) -> Iterator[dict[str, str]]:
    """What the macro `reference_rows` reads, by its variables: files, and of CSV the columns.

    Of a seed it is a copy that is put in order; no copy of the data lies about afterwards.
    """
    folder = dbt_dir(settings) / "seeds"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield {
            f"DBT_PODCAST_{source.name.upper()}_FILES": json.dumps(_described(source, folder))
            for source in reference_files.find(settings.seeds)
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _described(source: reference_files.Source, folder: Path) -> dict[str, Any]:
    source = reference_seeds.copy(source, folder) if source.is_seed else source
    columns = reference_files.header(source.files[0]) if source.form is reference_files.Form.CSV else []
    return {"form": source.form, "paths": source.patterns(), "columns": columns, "id": source.kind.columns[0]}


def _reasons(result: Any) -> str:  # noqa: ANN401 - dbt's own type
    """Why an invocation failed, as far as it says so."""
    messages = [_message(node) for node in getattr(result.result, "results", ()) if node.message]
    return "\n".join(messages) or _exception(result) or "There is no such model."


def _message(node: Any) -> str:  # noqa: ANN401 - dbt's own type
    return _without_values(str(node.message))


def _exception(result: Any) -> str:  # noqa: ANN401 - dbt's own type
    return _without_values(str(result.exception or ""))


def _without_values(text: str) -> str:
    """What any of the engines says: one of them knows its own words in it."""
    shown = faults.without_values(text)
    return engines.without_values(text) if shown == text else shown


def _built(what: str, result: Any) -> tuple[BuiltModel, ...]:  # noqa: ANN401 - dbt's own type
    nodes = list(result.result or ())
    models = tuple(_model(node) for node in nodes)
    failed = [f"{n.node.name}: {_message(n)}" for n, model in zip(nodes, models, strict=True) if not model.is_built]
    if failed or not nodes or not result.success:
        problems = "\n".join(failed) or _exception(result) or "no model has the tag"
        raise TransformError(f"dbt could not build {what}; nothing was published.\n{problems}", models)
    return models


def _model(result: Any) -> BuiltModel:  # noqa: ANN401 - dbt's own type
    times = [t for timing in result.timing for t in (timing.started_at, timing.completed_at) if t]
    return BuiltModel(
        result.node.name,
        result.execution_time,
        id=result.node.unique_id,
        is_built=str(result.status) in ("success", "pass"),
        started_at=min(times, default=None),
        finished_at=max(times, default=None),
        sql=getattr(result.node, "compiled_code", None),
    )
