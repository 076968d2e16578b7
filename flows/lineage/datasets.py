"""What the datasets of OpenLineage are called, and what is said of them: folders of files, and tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    documentation_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    ownership_dataset,
    schema_dataset,
)

if TYPE_CHECKING:
    from openlineage.client.generated.base import DatasetFacet

    from flows.domain import Arrival, Loaded
    from flows.tables import Table

FILES = "file"
"""The namespace of files; their names begin at the landing directory, so that they name no folder of a machine."""
RAW_EVENTS = "bronze.raw_events"
FOLDERS_NAMED = 100
"""Of a load; the files of all further ones are counted under the landing directory itself."""


@dataclass(frozen=True)
class Names:
    """How tables are called: `{database}.{schema}.{table}` in a namespace of their engine."""

    namespace: str
    database: str

    def read(self, table: str, **facets: DatasetFacet) -> InputDataset:
        """A table, as an input."""
        return InputDataset(self.namespace, f"{self.database}.{table}", facets=facets)

    def written(self, table: Table) -> OutputDataset:
        """A table that dbt has built, with what is known of it."""
        return OutputDataset(self.namespace, f"{self.database}.{table.name}", facets=_described(table))


def _described(table: Table) -> dict[str, DatasetFacet]:
    fields = [
        schema_dataset.SchemaDatasetFacetFields(
            column.name, column.type or None, column.description or None, ordinal_position=position
        )
        for position, column in enumerate(table.columns, start=1)
    ]
    facets: dict[str, DatasetFacet] = {
        "schema": schema_dataset.SchemaDatasetFacet(fields),
        "documentation": documentation_dataset.DocumentationDatasetFacet(table.description),
    }
    if table.owner:
        owner = ownership_dataset.Owner(f"team:{table.owner}", "OWNER")
        facets["ownership"] = ownership_dataset.OwnershipDatasetFacet([owner])
    return facets


def landed(arrivals: Sequence[Arrival]) -> list[InputDataset]:
    """The files of a load, by folder: names of files can be thousands, and say more than where the data is from."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for arrival in arrivals:
        sizes["/".join(["landing", *arrival.file.filename.split("/")[:-1]])].append(arrival.file.size_bytes)
    named, further = list(sizes.items())[:FOLDERS_NAMED], list(sizes.items())[FOLDERS_NAMED:]
    if further:
        kept = dict(named)
        kept.setdefault("landing", []).extend(size for _, found in further for size in found)
        named = list(kept.items())
    return [_folder(name, found) for name, found in named]


def _folder(name: str, sizes: Sequence[int]) -> InputDataset:
    count = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(size=sum(sizes), fileCount=len(sizes))
    return InputDataset(FILES, name, inputFacets={"inputStatistics": count})


def reference(name: str) -> InputDataset:
    """Users or episodes, in whatever form they are."""
    return InputDataset(FILES, f"reference/{name}")


def raw_events(names: Names) -> OutputDataset:
    """Where the lines go."""
    return OutputDataset(names.namespace, f"{names.database}.{RAW_EVENTS}")


def loaded(names: Names, table: Table, result: Loaded) -> OutputDataset:
    """`bronze.raw_events`, with the lines that were added."""
    dataset = names.written(table)
    count = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=result.rows)
    dataset.outputFacets = {"outputStatistics": count}
    return dataset


def judged(names: Names, table: str, assertions: Iterable[data_quality_assertions_dataset.Assertion]) -> InputDataset:
    """What a gate looked at, with what it found."""
    dataset = names.read(table)
    found = list(assertions)
    if found:
        facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(found)
        dataset.inputFacets = {"dataQualityAssertions": facet}
    return dataset
