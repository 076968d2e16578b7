"""A JSON Schema of OpenLineage events, strict about names: made of the classes that the installed client has.

The OpenLineage project generates these classes from its specification, of the version that each class names. They
check no types when an event is made, and do not say which facet belongs under which key: that stands here.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attr
from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client.event_v2 import RunEvent
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    documentation_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    ownership_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
    sql_job,
    tags_run,
)
from openlineage.client.generated import base

FACETS: dict[type, dict[str, type]] = {
    base.RunFacet: {
        "parent": parent_run.ParentRunFacet,
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
        "tags": tags_run.TagsRunFacet,
        "errorMessage": error_message_run.ErrorMessageRunFacet,
    },
    base.JobFacet: {"jobType": job_type_job.JobTypeJobFacet, "sql": sql_job.SQLJobFacet},
    base.DatasetFacet: {
        "schema": schema_dataset.SchemaDatasetFacet,
        "documentation": documentation_dataset.DocumentationDatasetFacet,
        "ownership": ownership_dataset.OwnershipDatasetFacet,
    },
    base.InputDatasetFacet: {
        "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
        "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
    },
    base.OutputDatasetFacet: {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet},
}
FORMATS = {
    "runId": "uuid",
    "eventTime": "date-time",
    "producer": "uri",
    "schemaURL": "uri",
    "_producer": "uri",
    "_schemaURL": "uri",
}
SIMPLE = {str: "string", int: "integer", bool: "boolean", float: "number"}


def problems(event: Any) -> list[str]:
    """What is wrong with an event, each with its place."""
    return [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(event)]


@cache
def _validator() -> Draft202012Validator:
    checker = FormatChecker(formats=("uuid",))
    checker.checks("date-time", raises=ValueError)(_is_time)
    checker.checks("uri")(lambda text: ":" in text and " " not in text)
    return Draft202012Validator(schema(), format_checker=checker)


def _is_time(text: object) -> bool:
    from datetime import datetime

    return datetime.fromisoformat(str(text)).tzinfo is not None


def schema() -> dict[str, Any]:
    """Of a run event."""
    definitions: dict[str, Any] = {}
    whole = _of_class(RunEvent, definitions)
    event = definitions[_key(RunEvent)]
    event["required"] = sorted({*event["required"], "eventType", "producer", "schemaURL"})
    return whole | {"$defs": definitions}


def _key(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _of_class(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{_key(cls)}"}
    if _key(cls) in definitions:
        return reference
    found = definitions[_key(cls)] = {"type": "object", "additionalProperties": False}
    attr.resolve_types(cls)
    fields = attr.fields(cls)
    properties = {field.name: _of_type(field.type, definitions) for field in fields}
    properties |= {name: {"type": "string", "format": FORMATS[name]} for name in properties.keys() & FORMATS.keys()}
    required = {field.name for field in fields if field.default is attr.NOTHING}
    if "_schemaURL" in properties:
        properties["_schemaURL"] = {"const": cls._get_schema()}  # type: ignore[attr-defined]
        required |= {"_producer", "_schemaURL"}
    found |= {"properties": properties, "required": sorted(required)}
    return reference


def _of_type(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (only,) = [argument for argument in arguments if argument is not type(None)]
        return _of_type(only, definitions)  # null is left out of what is sent
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0], definitions)}
    if origin is dict:
        known = {key: _of_class(cls, definitions) for key, cls in FACETS.get(arguments[1], {}).items()}
        return {"type": "object", "properties": known, "additionalProperties": arguments[1] not in FACETS}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return _of_class(kind, definitions)
