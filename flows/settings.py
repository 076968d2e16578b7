"""All settings, by names with the prefix `PODCAST_`: from the environment, which nothing else reads, and from files.

A value in the environment goes before one in the env file, that before one in a file of secrets.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableValueError

from flows import files, reference_files, setting_sources
from flows.domain import ObjectFolder
from flows.errors import SettingsError
from flows.setting_sources import PREFIX, Sources

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT = PROJECT_ROOT / "dbt_podcast"
EXPECTATIONS = PROJECT_ROOT / "expectations"

Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _absolute(path: Path) -> Path:
    if _SCHEME.match(str(path)):
        raise ValueError("takes a folder on a disk of this machine")
    return path.expanduser().absolute()


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_BUCKET = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{2,254})(/(?P<prefix>.*))?", re.DOTALL)


def _place(value: object) -> object:
    """A folder on a disk, or an address `s3://bucket/prefix`."""
    if value is None or isinstance(value, ObjectFolder):
        return value
    if not _SCHEME.match(str(value)):
        return _absolute(Path(str(value)))
    address = _BUCKET.fullmatch(str(value))
    if address is None:
        raise ValueError("takes a path or s3://bucket/prefix")
    prefix = (address["prefix"] or "").removesuffix("/")
    if prefix and not {"", ".", ".."}.isdisjoint(prefix.split("/")):
        raise ValueError("takes a prefix of names between single slashes, none of them . or ..")
    return ObjectFolder(address["bucket"], f"{prefix}/" if prefix else "")


def _outside_of_landing(value: Path | ObjectFolder | None, info: ValidationInfo) -> Path | ObjectFolder | None:
    """Evidence in the landing directory would be read as events."""
    landing = info.data.get("landing") or info.data.get("home", PROJECT_ROOT) / "landing"
    if isinstance(value, ObjectFolder):
        is_within = isinstance(landing, ObjectFolder) and landing.contains(value)
    else:
        is_within = (
            value is not None and isinstance(landing, Path) and value.resolve().is_relative_to(landing.resolve())
        )
    if is_within:
        raise ValueError(f"lies in the landing directory {landing}, where the evidence would be read as events")
    return value


def _endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
        raise ValueError("takes http:// or https:// with a host, and no user, password, path or query")
    return value.rstrip("/")


def _with_its_id(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """The two halves of the credentials are given together."""
    if (value is None) != (info.data.get("s3_access_key_id") is None):
        raise ValueError("PODCAST_S3_ACCESS_KEY_ID and PODCAST_S3_SECRET_ACCESS_KEY go together")
    return value


def _with_reference_data(folder: Path) -> Path:
    """A folder that holds users and episodes, each in one form."""
    try:
        reference_files.find(folder)
    except OSError as error:  # of a folder that may not be entered
        raise ValueError(f"cannot be entered: {error.strerror}") from None
    return folder


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Place = Annotated[Path | ObjectFolder | None, NoDecode, BeforeValidator(_place)]


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


EMBEDDED = "duckdb"
"""The engine of the working database, and so of all that it holds, whichever engine builds the layers."""


class Settings(BaseSettings):
    """What a person may set; the README's table is made of the descriptions."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, dotenv_filtering="only_existing", frozen=True
    )

    home: AbsolutePath = Field(
        PROJECT_ROOT / "data", description="folder that holds `warehouse/`, `quarantine/`, `site/`"
    )
    landing: Place = Field(
        None, description="landing directory: a path, or `s3://bucket/prefix`; unset: `<home>/landing`"
    )
    quarantine: Annotated[Place, AfterValidator(_outside_of_landing)] = Field(
        None,
        description="where the evidence of batches in quarantine is kept: a path, or `s3://bucket/prefix`; unset: "
        "`<home>/quarantine`",
    )
    s3_endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        None, description="address of the S3 server, as in `https://storage.example:9000`; unset: that of AWS"
    )
    s3_region: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]{1,64}$", description="region of the buckets; unset: what botocore finds"
    )
    s3_access_key_id: str | None = Field(
        None,
        pattern=r"^\S+$",
        description="id of the key for the buckets; unset: botocore's own chain (its variables, files, roles)",
    )
    s3_secret_access_key: Annotated[SecretStr | None, AfterValidator(_with_its_id)] = Field(
        None, validate_default=True, description="the secret of that key; set both or none"
    )
    seeds: Annotated[AbsolutePath, AfterValidator(_with_reference_data)] = Field(
        DBT_PROJECT / "seeds",
        description="folder with `users.csv` and `episodes.csv`, the reference data; instead of each may stand "
        "`users.parquet`, or a folder `users` with `*.parquet`, or with `*.csv` and `*.csv.gz`",
    )
    engine: Literal["duckdb", "spark", "snowflake"] = Field(
        "duckdb", description="engine that builds bronze, silver and gold: `duckdb`, `spark` or `snowflake`"
    )
    spark_master: str = Field(
        "local[*]",
        pattern=r"^(local(\[(\*|[1-9][0-9]*)\])?|spark://\S+|yarn|k8s://\S+)$",
        description="address of Spark's master, as in `spark://host:7077`; `local[*]`: in the run's own process",
    )
    spark_warehouse: AbsolutePath | None = Field(
        None,
        description="folder of Spark's tables, which all of its machines have at this path; unset: "
        "`<home>/warehouse/spark`",
    )

    snowflake_account: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="identifier of the Snowflake account, as in `myorg-myaccount`"
    )
    snowflake_user: str | None = Field(None, pattern=r"^\S+$", description="user of that account")
    snowflake_private_key_path: AbsolutePath | None = Field(
        None, description="file with the private key of that user (PKCS#8, PEM); unset: the password is used"
    )
    snowflake_private_key_passphrase: SecretStr | None = Field(
        None, description="passphrase of that key, if it has one"
    )
    snowflake_password: SecretStr | None = Field(None, description="password of that user, where there is no key")
    snowflake_role: str | None = Field(None, pattern=r"^\w+$", description="role of the session; unset: the user's own")
    snowflake_warehouse: str | None = Field(
        None, pattern=r"^\w+$", description="virtual warehouse that works for the session; unset: the user's own"
    )
    snowflake_database: str = Field(
        "podcast", pattern=r"^[A-Za-z_]\w*$", description="database with the tables that runs work on"
    )
    snowflake_published_database: str = Field(
        "podcast_published",
        pattern=r"^[A-Za-z_]\w*$",
        description="database with what passed every gate, for readers; `..._standby` beside it is the one it is "
        "exchanged with",
    )
    snowflake_threads: int = Field(4, ge=1, le=64, description="models that are built there side by side")
    snowflake_host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="host of the account, for a private link; unset: by its identifier",
    )
    snowflake_port: int = Field(443, ge=1, le=65535, description="port of that host")
    snowflake_protocol: Literal["https", "http"] = Field("https", description="`https`, or `http` within one machine")

    loading: Literal["threads", "processes", "dask"] = Field(
        "threads",
        description="who takes the lines of files apart: `threads` of the run, `processes` of its machine, or "
        "workers of `dask`; objects of a bucket are always taken apart by the run",
    )
    loading_workers: int | None = Field(
        None,
        ge=1,
        le=10**4,
        description="groups of files that these take apart at a time; unset: as many as the run's machine has cores",
    )
    loading_folder: AbsolutePath | None = Field(
        None,
        description="folder that gets a folder `podcast-loading-...` for what these have taken apart, while a run "
        "loads; Dask's workers have it at this path, as they have the landing directory; unset: `<home>/warehouse`",
    )
    dask_scheduler: str | None = Field(
        None, pattern=r"^(tcp|tls)://\S+$", description="address of Dask's scheduler, as in `tcp://host:8786`"
    )

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
    watch_poll_seconds: float = Field(
        60.0,
        ge=1,
        allow_inf_nan=False,
        description="seconds between two comparisons of the landing directory with the ledger by `podcast watch`, for "
        "what comes without a notice of the system, as in object storage",
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
        "what is in quarantine now; and the number of lineage files",
    )
    lineage: bool = Field(
        False,  # noqa: FBT003 - a default
        description="write the OpenLineage events of each run to `<home>/lineage/<run>.ndjson`",
    )
    lineage_url: str | None = Field(
        None,
        pattern=r"^https?://[^@?\s]+$",
        description="address that OpenLineage events are posted to, as in `https://host/api/v1/lineage`; unset: none",
    )
    lineage_key: SecretStr | None = Field(None, description="key that is sent there as a bearer token; unset: none")
    lineage_timeout_seconds: float = Field(
        2.0, gt=0, le=60, description="seconds that this address may take for one event; nothing waits for it meanwhile"
    )
    lineage_namespace: str = Field(
        "podcast",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="namespace of the jobs in OpenLineage events, and in `duckdb://podcast` of the tables",
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
    log_file: AbsolutePath | None = Field(
        None, description="file for the log, one JSON object a line; several processes may write it; unset: none"
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="form of what a run and the programs that keep running say on standard error: `text` for a person, "
        "`json` as in the file",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="the least that the log takes: `DEBUG`, `INFO`, `WARNING` or `ERROR`"
    )
    log_max_mb: int = Field(
        20, ge=1, le=10**5, description="megabytes of the log file at which it is set aside, and a new one begun"
    )
    log_kept: int = Field(5, ge=0, le=1000, description="log files that are kept beside the one that is written")
    env_file: AbsolutePath | None = Field(
        None, description="file of lines `PODCAST_NAME=value`; what is in the environment goes before it"
    )
    secrets_dir: AbsolutePath | None = Field(
        None,
        description="folder with a file for each secret, named as its setting, as Docker and systemd give them; "
        "environment and env file go before it",
    )

    alert_url: SecretStr | None = Field(
        None,
        description="where notifications go, as Apprise writes addresses: `jsons://host/path` for a webhook, "
        "`mailtos://user:password@host?to=address` for e-mail, several with commas between; `podcast deploy` puts it "
        "into the block `podcast-alerts`; unset: none are sent",
    )
    stale_hours: float = Field(
        24.0,
        gt=0,
        le=10**5,
        allow_inf_nan=False,
        description="hours without a newly published batch after which a notification says so",
    )

    @property
    def landing_dir(self) -> Path | ObjectFolder:
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
    def quarantine_dir(self) -> Path | ObjectFolder:
        """Where evidence is kept."""
        return self.quarantine or self.home / "quarantine"

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


@dataclass(frozen=True)
class Shown:
    """A setting as it may be shown: of a secret only whether it is set."""

    name: str
    value: str | None
    origin: str


def load_settings() -> Settings:
    """Read and check all settings; all problems are reported together.

    Raises `SettingsError` naming each setting, what it takes and what it was given.
    """
    return _load(setting_sources.find(os.environ, Settings.model_fields))


def show_settings() -> tuple[Settings, tuple[Shown, ...]]:
    """All settings with what to show of each. Raises `SettingsError`."""
    sources = setting_sources.find(os.environ, Settings.model_fields)
    settings = _load(sources)
    shown = ((name, _shown(name, getattr(settings, name))) for name in Settings.model_fields)
    return settings, tuple(Shown(f"{PREFIX}{name.upper()}", text, sources.origin(name)) for name, text in shown)


def check_folders(settings: Settings) -> None:
    """Raise `SettingsError` naming each folder that has to be written and cannot be."""
    written = {"LOG_FILE": settings.log_file, "METRICS_FILE": settings.metrics_file}
    folders = {"HOME": settings.home} | {name: path.parent for name, path in written.items() if path}
    problems = [f"{PREFIX}{name}: {why}." for name, path in folders.items() if (why := _unwritable(path))]
    if problems:
        raise SettingsError("\n".join(problems))


def _load(sources: Sources) -> Settings:
    problems: list[str] = []
    try:
        settings = Settings(_env_file=sources.env_file, _secrets_dir=sources.secrets_dir)
    except ValidationError as error:
        problems = [_explain(e, sources) for e in error.errors()]
    except UnreadableValueError as error:
        problems = [f"{error}."]
    if problems or sources.problems:
        raise SettingsError("\n".join((*problems, *sources.problems))) from None
    return settings


def _explain(error: Any, sources: Sources) -> str:  # noqa: ANN401 - pydantic's own error record
    """One line per refused setting; a secret is not repeated."""
    name = str(error["loc"][0]) if error["loc"] else "?"
    takes = Settings.model_fields[name].description if name in Settings.model_fields else "unknown setting"
    given = "" if _is_secret(name) else f"={_without_password(error.get('input'))!r}"
    origin = sources.origin(name)
    where = "" if origin == setting_sources.ENVIRONMENT else f" ({origin})"
    return f"{PREFIX}{name.upper()}{given}{where}: {error['msg'].removeprefix('Value error, ')} ({takes})."


def _is_secret(name: str) -> bool:
    field = Settings.model_fields.get(name)
    return field is not None and SecretStr.__name__ in str(field.annotation)


def _shown(name: str, value: object) -> str | None:
    if _is_secret(name):
        return "not set" if value is None else "set"
    return None if value is None else str(_without_password(str(value)))


def _without_password(value: object) -> object:
    """An address without the user and password that may stand in it."""
    return re.sub(r"(?<=://)\S*@", "***@", value) if isinstance(value, str) else value


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written there, or in the folder above that there is; nothing is left behind."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written: {error.strerror}"
