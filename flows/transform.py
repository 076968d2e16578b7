"""dbt, one layer at a time, through prefect-dbt: the only module that knows dbt."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows import faults, reference_files, reference_seeds
from flows.domain import BuiltModel, Layer
from flows.errors import TransformError
from flows.settings import DBT_PROJECT, Settings


def build_layer(settings: Settings, layer: Layer, *, full_refresh: bool = False) -> tuple[BuiltModel, ...]:
    """Build the models with the layer's tag. Raises `TransformError`."""
    return _build(settings, layer, f"the {layer} layer", full_refresh=full_refresh)


def build_reference(settings: Settings) -> tuple[BuiltModel, ...]:
    """Build seeds, tables and histories of the reference data. Raises `TransformError`.

    Always as a full refresh, which makes the seeds anew: their columns may have come to stand in another order. It
    drops no history.
    """
    return _build(settings, "reference", "the reference data", full_refresh=True)


def _build(settings: Settings, tag: str, what: str, *, full_refresh: bool) -> tuple[BuiltModel, ...]:
    """Everything with the tag.

    In this process, where the models see the working database through the connection that is open anyway, and
    without a Prefect task run for each model: most of the time of a small run went into those. Nor is dbt's
    manifest written each time, which nobody reads. Raises `TransformError` naming each model that failed, and why.
    """
    from dbt_common.events.base_types import EventLevel
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

    arguments = [
        "build", "--select", f"tag:{tag}",
        "--exclude-resource-type", "test", "unit_test",
        "--vars", json.dumps(settings.dbt_vars(), sort_keys=True),
        "--no-write-json",
        "--quiet",
    ]  # fmt: skip
    with _environment(settings):
        runner = PrefectDbtRunner(
            settings=PrefectDbtSettings(
                project_dir=DBT_PROJECT,
                profiles_dir=DBT_PROJECT,
                target_path=dbt_dir(settings) / "target",
                log_level=EventLevel.WARN,  # by default Prefect's own level, whose names dbt does not all know
            ),
            raise_on_failure=False,
            _disable_callbacks=True,
        )
        try:
            arguments += ["--full-refresh"] if full_refresh else []
            # no log of dbt's own: with an error it would keep the value that the engine quotes
            result = runner.invoke(arguments, log_level_file="none")
        except ValueError as error:
            raise TransformError(f"dbt could not build {what}: {faults.without_values(str(error))}") from None
        finally:
            close_connections()
    return _built(what, result)


def generate_docs(settings: Settings) -> Path:
    """The folder with dbt's documentation page, manifest and catalog; they are made anew only when it would change.

    Raises `TransformError`.
    """
    folder = dbt_dir(settings) / "docs"
    made_of, stamp = settings.documentation_hash(), folder / "made_of"
    if stamp.is_file() and stamp.read_text() == made_of:
        return folder
    result = _call_dbt(settings, "docs", "generate")
    if not result.success:
        raise TransformError(f"dbt could not document the models; what is published is whole. {_exception(result)}")
    folder.mkdir(exist_ok=True)
    for name in ("index.html", "manifest.json", "catalog.json"):
        shutil.copyfile(dbt_dir(settings) / "target" / name, folder / name)
    stamp.write_text(made_of)
    return folder


def _call_dbt(settings: Settings, *command: str) -> Any:  # noqa: ANN401 - dbt's own type
    """One of dbt's commands that build nothing, in this process; it writes no log, which would keep quoted values."""
    from dbt.cli.main import dbtRunner

    arguments = [
        *command,
        "--vars", json.dumps(settings.dbt_vars(), sort_keys=True),
        "--project-dir", str(DBT_PROJECT),
        "--profiles-dir", str(DBT_PROJECT),
        "--target-path", str(dbt_dir(settings) / "target"),
        "--quiet", "--log-level-file", "none",
    ]  # fmt: skip
    with _environment(settings):
        try:
            return dbtRunner().invoke(arguments)
        finally:
            close_connections()


def manifest(settings: Settings) -> Path:
    """The manifest of the project as it is now: that of the documentation, or one made once where there is none yet.

    Raises `TransformError`.
    """
    made_of = settings.documentation_hash()
    for folder in (dbt_dir(settings) / "docs", dbt_dir(settings) / "graph"):
        stamp = folder / "made_of"
        if stamp.is_file() and stamp.read_text() == made_of:
            return folder / "manifest.json"
    result = _call_dbt(settings, "parse")
    if not result.success:
        raise TransformError(f"dbt could not read the project. {_exception(result)}")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(dbt_dir(settings) / "target" / "manifest.json", folder / "manifest.json")
    stamp.write_text(made_of)
    return folder / "manifest.json"


def compile_model(settings: Settings, model: str, variables: Mapping[str, object]) -> str:
    """The SQL of a model with these variables; its tables are in the catalog that the working database has.

    No database is opened, so that it can be done while a run writes. The reference data is that of the project,
    because a run may be at its copy, and no SQL depends on it. dbt takes up its last parse where the variables
    are the same as then. Raises `TransformError`.
    """
    from dbt.cli.main import dbtRunner

    folder = dbt_dir(settings) / "ask"
    arguments = [
        "compile", "--select", f"{model},resource_type:model", "--indirect-selection", "empty",
        "--vars", json.dumps(dict(variables), sort_keys=True),
        "--project-dir", str(DBT_PROJECT),
        "--profiles-dir", str(DBT_PROJECT),
        "--target-path", str(folder),
        "--no-introspect", "--no-populate-cache", "--no-write-json",
        "--quiet", "--log-level", "none", "--log-level-file", "none",
    ]  # fmt: skip
    with _environment(settings, database=folder / settings.warehouse_path.name, seeds=DBT_PROJECT / "seeds"):
        result = dbtRunner().invoke(arguments)
    if not result.success or not result.result.results:
        raise TransformError(f"dbt could not compile the model {model}. {_reasons(result)}")
    return str(result.result.results[0].node.compiled_code)


def dbt_dir(settings: Settings) -> Path:
    """Where dbt keeps what it makes: manifest, compiled models, logs."""
    return settings.home / "dbt"


def close_connections() -> None:
    """Let go of the handles on the database that dbt keeps after an invocation."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()


@contextmanager
def _environment(settings: Settings, *, database: Path | None = None, seeds: Path | None = None) -> Iterator[None]:
    """The variables that `profiles.yml` and `dbt_project.yml` read; with `seeds` of nothing else."""
    ours = {
        "DBT_PODCAST_TARGET": settings.engine,
        "DBT_PODCAST_DATABASE": str(database or settings.warehouse_path),
        "DBT_PODCAST_SEEDS": str(seeds or _stage_reference_data(settings)),
        **({} if seeds else _files_for_the_engine(settings)),
        "DBT_PODCAST_MEMORY_LIMIT": settings.memory_limit,
        "DBT_LOG_PATH": str(dbt_dir(settings) / "logs"),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        if not seeds:
            shutil.rmtree(_staged(settings), ignore_errors=True)  # no copy of the data lies about
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _stage_reference_data(settings: Settings) -> Path:
    """A copy of the two seed files for dbt to read, put in order; of data that the engine reads, their header only.

    dbt writes the SQL that it ran for a seed under its target directory *by the seed's path*; for a seed
    outside of the project that is the seed file itself, which would be lost.
    """
    staged = _staged(settings)
    staged.mkdir(parents=True, exist_ok=True)
    for source in reference_files.find(settings.seeds):
        reference_seeds.write_for_dbt(source, staged / f"{source.name}.csv")
    return staged


def _staged(settings: Settings) -> Path:
    return dbt_dir(settings) / "seeds"


def _reasons(result: Any) -> str:  # noqa: ANN401 - dbt's own type
    """Why an invocation failed, as far as it says so."""
    messages = [_message(node) for node in getattr(result.result, "results", ()) if node.message]
    return "\n".join(messages) or _exception(result) or "There is no such model."


def _message(node: Any) -> str:  # noqa: ANN401 - dbt's own type
    return faults.without_values(str(node.message))


def _exception(result: Any) -> str:  # noqa: ANN401 - dbt's own type
    return faults.without_values(str(result.exception or ""))


def _files_for_the_engine(settings: Settings) -> dict[str, str]:
    """What the macro `reference_rows` reads, by its variables: files, and of CSV the columns; of a seed nothing."""
    return {
        f"DBT_PODCAST_{source.name.upper()}_FILES": "null" if source.is_seed else json.dumps(_described(source))
        for source in reference_files.find(settings.seeds)
    }


def _described(source: reference_files.Source) -> dict[str, Any]:
    columns = reference_files.header(source.files[0]) if source.form is reference_files.Form.CSV else []
    return {"form": source.form, "paths": source.patterns(), "columns": columns, "id": source.kind.columns[0]}


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
