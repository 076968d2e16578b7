"""All settings, from the environment with the prefix `PODCAST_`; nothing else reads the environment."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows import files, reference_files
from flows.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT = PROJECT_ROOT / "dbt_podcast"
EXPECTATIONS = PROJECT_ROOT / "expectations"

SECRETS = frozenset({"api_token", "mask_key"})
"""Settings whose values are repeated nowhere."""

Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _with_reference_data(folder: Path) -> Path:
    """A folder that holds users and episodes, each in one form."""
    try:
        reference_files.find(folder)
    except OSError as error:  # of a folder that may not be entered
        raise ValueError(f"cannot be entered: {error.strerror}") from None
    return folder


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


def _utc(value: datetime) -> datetime:
    """Times are UTC without a zone everywhere in the warehouse."""
    try:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:
        raise ValueError("the time in UTC is before the year 1 or after 9999") from None


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{16,500}", value.get_secret_value()):
        raise ValueError("must be 16 to 500 visible ASCII characters")
    return value


class Settings(BaseSettings):
    """What a person may set; the README's table is made of the descriptions."""

    model_config = SettingsConfigDict(env_prefix="PODCAST_", env_ignore_empty=True, frozen=True)

    home: AbsolutePath = Field(
        PROJECT_ROOT / "data", description="folder that holds `warehouse/`, `quarantine/`, `site/`"
    )
    landing: AbsolutePath | None = Field(None, description="landing directory; unset: `<home>/landing`")
    seeds: Annotated[AbsolutePath, AfterValidator(_with_reference_data)] = Field(
        DBT_PROJECT / "seeds",
        description="folder with `users.csv` and `episodes.csv`, the reference data; instead of each may stand "
        "`users.parquet`, or a folder `users` with `*.parquet`, or with `*.csv` and `*.csv.gz`",
    )
    engine: Literal["duckdb"] = Field("duckdb", description="engine of the warehouse")

    max_malformed_share: Share = Field(
        0.05, description="a batch with a greater share of malformed lines is quarantined (gate `raw`)"
    )
    max_invalid_share: Share = Field(
        0.20, description="a batch with a greater share of invalid rows is quarantined (gate `validated`)"
    )
    max_unknown_share: Share = Field(
        0.50,
        description="a batch with a greater share of valid rows with an unknown user or episode is "
        "quarantined (gate `cleansed`)",
    )
    warn_invalid_share: Share = Field(
        0.10, description="a batch with a greater share of invalid rows is reported with a warning"
    )
    warn_unknown_share: Share = Field(
        0.10,
        description="a batch with a greater share of unknown users or episodes is reported with a warning",
    )
    warn_volume_score: Score = Field(
        6.0,
        description="a batch is reported with a warning whose number of lines is more than so many usual distances "
        "from the median of the 30 accepted ones before it",
    )
    warn_share_score: Score = Field(
        6.0,
        description="a batch is reported with a warning in which the share of an event type, or of completions without "
        "a play in the batch, is more than so many usual distances from the median of those 30",
    )
    warn_overlong_share: Share = Field(
        0.1,
        description="a batch with a greater share of plays and completions that are longer than their episode (by more "
        "than 10 % and a minute) is reported with a warning",
    )
    warn_listened_hours: float = Field(
        24.0,
        gt=0,
        allow_inf_nan=False,
        description="a batch in which one user listens for more hours of one day (UTC) is reported with a warning",
    )
    warn_silence_ratio: Score = Field(
        4.0,
        description="a source of files that is quiet for more than so many usual gaps is reported with a warning",
    )
    min_event_timestamp: Annotated[datetime, AfterValidator(_utc)] = Field(
        datetime(2000, 1, 1),  # noqa: DTZ001 - UTC without a zone, as everywhere
        description="an event before this time (UTC) has the code `timestamp_too_early`",
    )
    future_tolerance_minutes: int = Field(
        60,
        ge=0,
        le=10**8,
        description="minutes after loading from which an event has the code `timestamp_in_future`",
    )
    max_duration_seconds: int = Field(
        86400,
        ge=1,
        le=2**31 - 1,
        description="a longer play or completion has the code `duration_out_of_range`",
    )
    analysis_end_date: date | None = Field(
        None,
        description="end (exclusive) of the window of `top_completed_episodes`, and of what the marts take as seen "
        "where it is earlier than that of the data; unset: the day after the newest event",
    )
    window_days: int = Field(7, ge=1, le=10**5, description="days of that window")
    session_gap_minutes: int = Field(
        30, ge=1, le=1440, description="minutes without activity after which a further event begins a new listen"
    )
    valid_listen_seconds: int = Field(
        60, ge=1, le=86400, description="seconds from which a listen is valid; of a shorter episode 95 %"
    )

    settle_seconds: float = Field(
        2.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds; a younger file is looked at twice, this far apart, and left alone if it changed",
    )
    memory_limit: str = Field(
        "2GB", pattern=r"^[1-9][0-9]*(\.[0-9]+)?(MB|GB|MiB|GiB)$", description="memory that DuckDB may use, as in 2GB"
    )
    max_line_mb: int = Field(
        32, ge=1, le=1024, description="megabytes; a file with a longer line is quarantined as `unreadable_file`"
    )
    max_unpacked_mb: int = Field(
        20_000,
        ge=1,
        le=10**9,
        description="megabytes; a compressed file that unpacks to more is quarantined as `unreadable_file`",
    )
    run_timeout_minutes: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="minutes after which a run ends its process, with all that writes in it; unset: no limit",
    )
    keep_raw_days: int | None = Field(
        None,
        ge=0,
        le=10**5,
        description="days after which `podcast prune` deletes the raw lines of attempts that are superseded or "
        "discarded; unset: never. Lines behind published or quarantined batches always stay",
    )
    keep_evidence_days: int | None = Field(
        None,
        ge=0,
        le=10**5,
        description="days after which `podcast prune` deletes the evidence of batches that are no longer in "
        "quarantine; unset: never",
    )
    keep_results_days: int | None = Field(
        None, ge=0, le=10**5, description="days after which `podcast prune` deletes validation results; unset: never"
    )
    docs_kept: int = Field(
        30,
        ge=1,
        description="runs whose pages, validation result files and Data Docs are kept, besides those that held back "
        "what is in quarantine now",
    )
    show_user_ids: bool = Field(
        False,  # noqa: FBT003 - a default
        description="show user ids as they are on the site and in the terminal; else they are masked by a keyed hash",
    )
    mask_key: SecretStr | None = Field(
        None, description="key of that hash; unset: made once, and kept in `<home>/mask.key`"
    )
    api_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None,
        description="token that whoever asks the read API has to give, at least 16 visible ASCII characters; unset: "
        "made once, and kept in `<home>/api.token`",
    )
    metrics_file: AbsolutePath | None = Field(
        None,
        description="file that the end of every run writes the figures for Prometheus to, as `*.prom` in the folder of "
        "node_exporter's textfile collector; unset: none",
    )
    site_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where the site is served, for the links to it; unset: the files under `<home>/site`",
    )

    @property
    def landing_dir(self) -> Path:
        """Where files land."""
        return self.landing or self.home / "landing"

    @property
    def warehouse_path(self) -> Path:
        """The working database, which the pipeline alone opens."""
        return self.home / "warehouse" / "podcast.duckdb"

    @property
    def published_path(self) -> Path:
        """The published copy, for everybody else."""
        return self.home / "warehouse" / "published.duckdb"

    @property
    def quarantine_dir(self) -> Path:
        """Where evidence is kept."""
        return self.home / "quarantine"

    @property
    def site_dir(self) -> Path:
        """Where the browsable site is built."""
        return self.home / "site"

    @property
    def site_link(self) -> str:
        """The address of the site, as links name it."""
        return (self.site_url or self.site_dir.absolute().as_uri()).rstrip("/")

    def dbt_vars(self) -> dict[str, Any]:
        """The rules that dbt needs, by the names of the dbt variables."""
        return {
            "min_event_timestamp": self.min_event_timestamp.isoformat(sep=" "),
            "future_tolerance_minutes": self.future_tolerance_minutes,
            "max_duration_seconds": self.max_duration_seconds,
            "analysis_end_date": self.analysis_end_date.isoformat() if self.analysis_end_date else None,
            "window_days": self.window_days,
            "session_gap_minutes": self.session_gap_minutes,
            "valid_listen_seconds": self.valid_listen_seconds,
        }

    def thresholds(self) -> dict[str, float]:
        """The named thresholds of the expectation suites."""
        return {
            "max_malformed_share": self.max_malformed_share,
            "max_invalid_share": self.max_invalid_share,
            "max_unknown_share": self.max_unknown_share,
            "warn_invalid_share": self.warn_invalid_share,
            "warn_unknown_share": self.warn_unknown_share,
            "warn_volume_score": self.warn_volume_score,
            "warn_share_score": self.warn_share_score,
            "warn_overlong_share": self.warn_overlong_share,
            "warn_listened_hours": self.warn_listened_hours,
            "warn_silence_ratio": self.warn_silence_ratio,
            "max_duration_seconds": self.max_duration_seconds,
        }

    def inputs_hash(self) -> str:
        """Hash of what the tables depend on besides the batches: reference data, rules and models.

        When it differs from the last passed run's, a run has something to do even without a new file.
        """
        folders = [DBT_PROJECT / name for name in ("models", "snapshots", "macros")]
        values = self.dbt_vars() | {"reference": reference_files.content_hash(self.seeds)}
        return _hash(values, [path for folder in folders for path in _files(folder)])

    def reference_hash(self) -> str:
        """Hash of the reference data and of what makes silver of it."""
        macros = [DBT_PROJECT / "macros" / "engine" / "reference.sql"]
        models = [*_files(DBT_PROJECT / "models" / "reference"), *_files(DBT_PROJECT / "snapshots")]
        return _hash({"reference": reference_files.content_hash(self.seeds)}, [*macros, *models])

    def rules_version(self) -> str:
        """Hash of what a verdict depends on besides the batch and the reference data: row rules, thresholds, suites."""
        about_rows = ("min_event_timestamp", "future_tolerance_minutes", "max_duration_seconds")
        rules = {name: value for name, value in self.dbt_vars().items() if name in about_rows}
        judging = (DBT_PROJECT / "models" / "bronze", DBT_PROJECT / "macros", EXPECTATIONS)
        return _hash(rules | self.thresholds(), [path for folder in judging for path in _files(folder)])

    def gold_version(self) -> str:
        """Hash of what the rows of gold depend on besides silver: its models, macros and rules of listening.

        Where gold was made by another, rows that a run does not touch would be as other rules made them.
        """
        about_listening = ("session_gap_minutes", "valid_listen_seconds")
        rules = {name: value for name, value in self.dbt_vars().items() if name in about_listening}
        return _hash(rules, [*_files(DBT_PROJECT / "models" / "gold"), *_files(DBT_PROJECT / "macros")])

    def documentation_hash(self) -> str:
        """Hash of what the documentation of the models depends on; the reference data always has the same columns."""
        documented = [path for path in _files(DBT_PROJECT) if path.suffix in (".sql", ".yml", ".md")]
        return _hash(self.dbt_vars(), documented)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(values: dict[str, Any], paths: list[Path]) -> str:
    """Sixteen hexadecimal digits of named values and of files, their names included."""
    digest = hashlib.sha256(repr(sorted(values.items())).encode())
    for path in paths:
        digest.update(path.name.encode() + b"\0" + files.sha256(path).encode() + b"\0")
    return digest.hexdigest()[:16]


def load_settings() -> Settings:
    """Read and check all settings; all problems are reported together.

    Raises `SettingsError` naming each setting, what it takes and what it was given.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(e) for e in error.errors())) from None


def _explain(error: Any) -> str:  # noqa: ANN401 - pydantic's own error record
    """One line per refused setting."""
    name = str(error["loc"][0]) if error["loc"] else "?"
    takes = Settings.model_fields[name].description if name in Settings.model_fields else "unknown setting"
    given = "(not shown)" if name in SECRETS else repr(error.get("input"))
    return f"PODCAST_{name.upper()}={given}: {error['msg'].removeprefix('Value error, ')} ({takes})."
