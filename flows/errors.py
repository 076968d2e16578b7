"""The exception tree: every message says what happened, why, and what to do next."""

from __future__ import annotations


class PipelineError(Exception):
    """Whatever ends a run or a command on purpose; the message is meant for the person at the terminal."""

    exit_code = 1


class SettingsError(PipelineError):
    """A setting has a value it does not take."""

    exit_code = 2


class WarehouseLockedError(PipelineError):
    """Another process writes the warehouse."""

    exit_code = 4


class DamagedWarehouseError(PipelineError):
    """The working database cannot be read."""


class DiskFullError(PipelineError):
    """There is no room for what is to be written."""


class MemoryLimitError(PipelineError):
    """The engine needs more memory than it was given."""


class NotPermittedError(PipelineError):
    """The user of the process may not read or write a file."""


class ReferenceDataError(PipelineError):
    """The reference data is not what the tables can be made of."""

    @classmethod
    def of_change(cls, what: object) -> ReferenceDataError:
        """What was checked is no longer there as it was."""
        return cls(
            f"{what} changed while the run was reading it. Nothing was published; run again, and put a file in place "
            "under another name first, then rename it."
        )


class LandingError(PipelineError):
    """The landing directory cannot be read."""


class EvidenceError(PipelineError):
    """The evidence of what was held back can be neither kept nor read."""


class UnreadableFileError(PipelineError):
    """A landed file cannot be read to its end; its batch is held back, the others go on."""


class WatchError(PipelineError):
    """Files cannot be watched for, or no run can be asked for."""


class LedgerError(PipelineError):
    """A batch is not in a state that allows what was asked."""


class TransformError(PipelineError):
    """dbt did not finish a layer; `models` has a `BuiltModel` for each that it began, as far as it came to any."""

    def __init__(self, message: str, models: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.models = models


class BrokenGateError(PipelineError):
    """A gate could not judge: no suite, an exception inside it, or nothing to look at."""


class GateFailedError(PipelineError):
    """A critical expectation failed that no batch can be blamed for; nothing of the run is published."""


class PublishError(PipelineError):
    """The published copy could not be made or does not agree with the warehouse."""


class BackupError(PipelineError):
    """A backup cannot be made, or is not whole."""


class RebuildError(PipelineError):
    """The warehouse cannot be rebuilt from the landing files as its ledger says it was."""


class MigrationError(PipelineError):
    """The tables cannot be moved to another engine, or are not the same there; those of before stay in use."""
