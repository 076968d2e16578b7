"""The data context of Great Expectations: suites from `expectations/`, results under the home."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

from flows.domain import Gate
from flows.errors import BrokenGateError
from flows.settings import EXPECTATIONS, Settings

SUITES = EXPECTATIONS
SITE_NAME = "data_docs"
RESULTS = "ValidationResultsStore"


def load_suites(gate: Gate) -> list[dict[str, Any]]:
    """The gate's suites as they stand in `expectations/`. Raises `BrokenGateError` if one is missing or empty."""
    paths = sorted(SUITES.glob(f"{gate}_*.json"))
    suites = [json.loads(path.read_text()) for path in paths]
    if not suites or any(not suite["expectations"] for suite in suites):
        raise BrokenGateError(f"Gate {gate}: no expectations found as {SUITES}/{gate}_*.json. Restore the file.")
    return suites


def open_context(settings: Settings, sites: dict[str, Any] | None = None, *, keeps_results: bool = True) -> Any:  # noqa: ANN401 - the library's own type
    """A new data context: definitions in memory, validation results on disk, Data Docs as configured in `sites`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig

    from flows import sqlalchemy_dialect  # noqa: F401 - registers the dialect

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="great_expectations")
    # Arrays: no expectation looks into them.
    warnings.filterwarnings("ignore", message="Did not recognize type 'list'")
    kept = on_disk(RESULTS, results_dir(settings)) if keeps_results else _in_memory(RESULTS)
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**_config(kept, sites or {})))


def results_dir(settings: Settings) -> Path:
    """Where the validation results are kept, as `<suite>/<run>/<time>/<table>.json`."""
    return settings.home / "gx" / "validation_results"


def _config(validation_results: dict[str, Any], sites: dict[str, Any]) -> dict[str, Any]:
    return {
        "expectations_store_name": "expectations_store",
        "validation_results_store_name": "validation_results_store",
        "checkpoint_store_name": "checkpoint_store",
        "stores": {
            "expectations_store": _in_memory("ExpectationsStore"),
            "checkpoint_store": _in_memory("CheckpointStore"),
            "validation_definition_store": _in_memory("ValidationDefinitionStore"),
            "validation_results_store": validation_results,
        },
        "data_docs_sites": sites,
        "analytics_enabled": False,
        "progress_bars": {"globally": False},
    }


def _in_memory(class_name: str) -> dict[str, Any]:
    return {"class_name": class_name, "store_backend": {"class_name": "InMemoryStoreBackend"}}


def on_disk(class_name: str, directory: Path) -> dict[str, Any]:
    """The configuration of something that the library keeps as files."""
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory)}
    return {"class_name": class_name, "store_backend": backend}
