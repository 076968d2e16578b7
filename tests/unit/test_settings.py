"""Settings: what is refused and how it is said, what is ignored, and what the values become."""

import json
import os
import re
from datetime import date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import cli
from flows.domain import ObjectFolder
from flows.errors import SettingsError
from flows.settings import DBT_PROJECT, PROJECT_ROOT, Settings, load_settings, show_settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PODCAST_")]:
        monkeypatch.delenv(name)


def refusal() -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert raised.value.exit_code == 2
    return str(raised.value)


def give(monkeypatch: pytest.MonkeyPatch, folder: Path, *, env: str = "") -> Path:
    """An env file, and a folder for secrets, which is returned."""
    (folder / "env").write_text(env)
    (folder / "secrets").mkdir()
    monkeypatch.setenv("PODCAST_ENV_FILE", str(folder / "env"))
    monkeypatch.setenv("PODCAST_SECRETS_DIR", str(folder / "secrets"))
    return folder / "secrets"


# --- Refused ------------------------------------------------------------------------------------

SHARES = (
    "max_malformed_share",
    "max_invalid_share",
    "max_unknown_share",
    "warn_invalid_share",
    "warn_unknown_share",
    "warn_overlong_share",
)
SCORES = ("warn_volume_score", "warn_share_score", "warn_silence_ratio", "warn_listened_hours")
WRONG = [
    ("engine", "sqlite"),
    ("engine", "DuckDB"),
    ("engine", "postgres"),
    *((name, value) for name in SHARES for value in ("1.01", "-0.01", "5 %", "nan", "inf")),
    *((name, value) for name in SCORES for value in ("0", "-1", "high", "nan", "inf")),
    ("min_event_timestamp", "yesterday"),
    ("min_event_timestamp", "2000-13-01"),
    ("future_tolerance_minutes", "-1"),
    ("future_tolerance_minutes", "1.5"),
    ("future_tolerance_minutes", "1h"),
    ("max_duration_seconds", "0"),
    ("max_duration_seconds", str(2**31)),
    ("max_duration_seconds", "a day"),
    ("analysis_end_date", "2026-02-30"),
    ("analysis_end_date", "today"),
    ("window_days", "0"),
    ("window_days", "7.5"),
    ("settle_seconds", "-1"),
    ("settle_seconds", "soon"),
    ("settle_seconds", "inf"),
    ("settle_seconds", "nan"),
    ("memory_limit", "2"),
    ("memory_limit", "2 GB"),
    ("memory_limit", "2GB'; drop table x; --"),
    ("memory_limit", "2GB\n"),
    ("memory_limit", "lots"),
    ("home", "s3://bucket/home"),
    *(("landing", value) for value in ("gs://bucket/in", "http://host/in", "s3:/bucket", "s3://", "s3://a_b?/in")),
    *(("landing", value) for value in ("s3://bucket/a//b", "s3://bucket//a", "s3://bucket/../a", "s3://bucket/a/.")),
    ("quarantine", "ftp://host/evidence"),
    *(("s3_endpoint_url", value) for value in ("storage:9000", "ftp://storage", "https://host/path", "https://h?x=1")),
    ("s3_region", "over there"),
    ("docs_kept", "0"),
    ("docs_kept", "all"),
    ("lineage", "maybe"),
    ("lineage_url", "lineage.example"),
    ("lineage_timeout_seconds", "0"),
    ("lineage_timeout_seconds", "nan"),
    ("lineage_namespace", "a b"),
    ("lineage_namespace", "../x"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_with_its_name_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"PODCAST_{name.upper()}", value)
    message = refusal()
    assert message.startswith(f"PODCAST_{name.upper()}={value!r}: ")
    description = Settings.model_fields[name].description
    assert description
    assert description in message
    assert len(message.splitlines()) == 1


def test_all_problems_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_ENGINE", "sqlite")
    monkeypatch.setenv("PODCAST_WINDOW_DAYS", "0")
    monkeypatch.setenv("PODCAST_MAX_INVALID_SHARE", "20")
    lines = refusal().splitlines()
    assert [line.split("=")[0] for line in lines] == [
        "PODCAST_ENGINE",
        "PODCAST_MAX_INVALID_SHARE",
        "PODCAST_WINDOW_DAYS",
    ]


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([], "users.csv and episodes.csv"),
        (["users.csv"], "episodes.csv"),
        (["episodes.csv"], "users.csv"),
    ],
)
def test_reference_data_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: list[str], missing: str
) -> None:
    for name in there:
        (tmp_path / name).touch()
    monkeypatch.setenv("PODCAST_SEEDS", str(tmp_path))
    assert refusal() == (
        f"PODCAST_SEEDS={str(tmp_path)!r}: {missing} not found there ({Settings.model_fields['seeds'].description})."
    )


def test_a_folder_is_no_reference_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "users.csv").mkdir()
    (tmp_path / "episodes.csv").touch()
    monkeypatch.setenv("PODCAST_SEEDS", str(tmp_path))
    assert "users.csv not found" in refusal()


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("PODCAST_LANDNG", "the closest is PODCAST_LANDING"),
        ("podcast_homee", "the closest is PODCAST_HOME"),
        ("PODCAST_MEMORY", "the closest is PODCAST_MEMORY_LIMIT"),
        ("PODCAST_QQQ", "for all of them: podcast settings"),
        ("PODCAST_HOME_PORT", "the closest is PODCAST_HOME"),
        ("PODCAST_", "for all of them: podcast settings"),
    ],
)
@pytest.mark.parametrize("value", ["1", ""])
def test_a_variable_that_is_no_setting_is_refused_with_the_closest(
    monkeypatch: pytest.MonkeyPatch, name: str, closest: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal() == f"{name.upper()} is no setting; {closest}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODCAST_SERVICE_HOST", "10.0.0.1"),
        ("PODCAST_SERVICE_PORT", "80"),
        ("PODCAST_SERVICE_PORT_HTTP", "80"),
        ("PODCAST_PORT", "tcp://10.0.0.1:80"),
        ("PODCAST_UI_PORT", "tcp://10.0.0.1:80"),
        ("PODCAST_UI_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("PODCAST_UI_PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_a_container_is_given_of_services_is_no_mistake(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert load_settings().engine == "duckdb"


def test_problems_of_all_places_are_reported_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = give(monkeypatch, tmp_path, env="PODCAST_WINDOW_DAYS=0\nnonsense\nPODCAST_HOM=x\nPREFECT_HOME=y\n")
    (secrets / "podcast_mask_key").write_text(" \n")
    (secrets / "podcast_mask_ky").write_text("k")
    (secrets / "database_password").write_text("of another")
    monkeypatch.setenv("PODCAST_ENGINE", "sqlite")
    monkeypatch.setenv("PODCAST_LANDNG", "x")
    env = tmp_path / "env"
    builds = "engine that builds bronze, silver and gold: `duckdb`, `spark` or `snowflake`"
    assert [line.removesuffix(".") for line in refusal().splitlines()] == [
        f"PODCAST_ENGINE='sqlite': Input should be 'duckdb', 'spark' or 'snowflake' ({builds})",
        "PODCAST_WINDOW_DAYS='0' (env file): Input should be greater than or equal to 1 (days of that window)",
        f"PODCAST_ENV_FILE='{env}': line 2 is no NAME=value",
        f"PODCAST_MASK_KEY ({secrets}/podcast_mask_key): the file is empty",
        "PODCAST_LANDNG is no setting; the closest is PODCAST_LANDING",
        f"PODCAST_HOM in {env} is no setting; the closest is PODCAST_HOME",
        f"PODCAST_MASK_KY in {secrets} is no setting; the closest is PODCAST_MASK_KEY",
    ]


@pytest.mark.parametrize("name", ["env_file", "secrets_dir"])
def test_a_place_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(f"PODCAST_{name.upper()}", str(tmp_path / "nowhere"))
    expected = f"PODCAST_{name.upper()}='{tmp_path}/nowhere': cannot be read: No such file or directory."
    assert refusal() == expected


def test_where_others_are_stands_in_the_environment_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(monkeypatch, tmp_path, env=f"PODCAST_SECRETS_DIR={tmp_path}\n")
    expected = f"PODCAST_SECRETS_DIR in {tmp_path}/env can be set in the environment only."
    assert refusal() == expected


def test_a_secret_outside_of_its_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = give(monkeypatch, tmp_path)
    (tmp_path / "elsewhere").write_text("k")
    (secrets / "podcast_mask_key").symlink_to(tmp_path / "elsewhere")
    assert "is a link to a file outside of PODCAST_SECRETS_DIR" in refusal()


def test_neither_a_secret_nor_a_password_is_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = give(monkeypatch, tmp_path, env="a zekret line\n")
    (secrets / "podcast_mask_key").write_bytes(b"zekret\xff")
    monkeypatch.setenv("PODCAST_SITE_URL", "ftp://me:zekret@host")
    monkeypatch.setenv("PODCAST_LINEAGE_URL", "https://me:zekret@lineage.example/")
    message = refusal()
    assert len(message.splitlines()) == 4
    assert "ftp://***@host" in message
    assert "https://***@lineage.example/" in message
    assert "zekret" not in message


@pytest.mark.parametrize(
    ("landing", "quarantine"),
    [
        ("s3://bucket/in", "s3://bucket/in"),
        ("s3://bucket/in", "s3://bucket/in/evidence"),
        ("s3://bucket", "s3://bucket/evidence"),
        ("{tmp}/in", "{tmp}/in/evidence"),
        ("{tmp}/in", "{tmp}/other/../in"),
    ],
)
def test_evidence_must_not_lie_where_events_land(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, landing: str, quarantine: str
) -> None:
    monkeypatch.setenv("PODCAST_LANDING", landing.format(tmp=tmp_path))
    monkeypatch.setenv("PODCAST_QUARANTINE", quarantine.format(tmp=tmp_path))
    message = refusal()
    assert message.startswith("PODCAST_QUARANTINE=")
    assert "would be read as events" in message


CANARY = "canary-secret"


@pytest.mark.parametrize(
    "given",
    [
        {"s3_secret_access_key": CANARY},
        {"s3_secret_access_key": CANARY, "s3_access_key_id": "an id"},
        {"s3_endpoint_url": f"https://user:{CANARY}@storage"},
    ],
)
def test_a_refusal_does_not_show_the_secret(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"PODCAST_{name.upper()}", value)
    message = refusal()
    assert CANARY not in message
    assert f"PODCAST_{next(iter(given)).upper()}" in message


def test_half_of_the_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_S3_ACCESS_KEY_ID", "id")
    assert refusal().startswith("PODCAST_S3_SECRET_ACCESS_KEY (default): PODCAST_S3_ACCESS_KEY_ID and")


# --- Taken --------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert settings.home == PROJECT_ROOT / "data"
    assert settings.landing_dir == PROJECT_ROOT / "data" / "landing"
    assert settings.seeds == DBT_PROJECT / "seeds"
    assert settings.engine == "duckdb"
    assert settings.thresholds() == {
        "max_malformed_share": 0.05,
        "max_invalid_share": 0.20,
        "max_unknown_share": 0.50,
        "warn_invalid_share": 0.10,
        "warn_unknown_share": 0.10,
        "warn_volume_score": 6,
        "warn_share_score": 6,
        "warn_overlong_share": 0.10,
        "warn_listened_hours": 24,
        "warn_silence_ratio": 4,
        "max_duration_seconds": 86400,
    }
    assert settings.dbt_vars() == {
        "min_event_timestamp": "2000-01-01 00:00:00",
        "future_tolerance_minutes": 60,
        "max_duration_seconds": 86400,
        "analysis_end_date": None,
        "window_days": 7,
        "session_gap_minutes": 30,
        "valid_listen_seconds": 60,
    }


def test_defaults_are_those_of_the_dbt_project() -> None:
    """dbt by hand gives what the pipeline gives."""
    text = (DBT_PROJECT / "dbt_project.yml").read_text()
    found = dict(re.findall(r'^  (\w+): "?([^"\n]+?)"?$', text.split("\nvars:")[1].split("\nseeds:")[0], re.MULTILINE))
    ours = {name: "null" if value is None else str(value) for name, value in load_settings().dbt_vars().items()}
    assert found == ours


@pytest.mark.parametrize("value", ["short", "with spaces in it, and long", "ünïcode-and-long-enough", "x" * 501])
def test_a_token_that_is_refused_is_not_repeated(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PODCAST_API_TOKEN", value)
    message = refusal()
    assert message.startswith("PODCAST_API_TOKEN: must be 16 to 500 visible ASCII characters")
    assert value not in message


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PODCAST_{name.upper()}", "")
    assert load_settings() == expected


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("ENGINE", "sqlite")
    assert load_settings().engine == "duckdb"


def test_paths_follow_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.landing_dir == tmp_path / "landing"
    assert settings.warehouse_path == tmp_path / "warehouse" / "podcast.duckdb"
    assert settings.published_path == tmp_path / "warehouse" / "published.duckdb"
    assert settings.quarantine_dir == tmp_path / "quarantine"
    assert settings.site_dir == tmp_path / "site"
    assert settings.site_link == (tmp_path / "site").as_uri()


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("PODCAST_HOME", "here")
    monkeypatch.setenv("PODCAST_LANDING", "~/files")
    settings = load_settings()
    assert settings.home == tmp_path / "here"
    assert settings.landing_dir == tmp_path / "me" / "files"


def test_a_home_directory_in_the_path_of_the_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("users.csv", "episodes.csv"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PODCAST_SEEDS", "~")
    assert load_settings().seeds == tmp_path


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("min_event_timestamp", "2010-01-01", datetime(2010, 1, 1)),  # noqa: DTZ001
        ("min_event_timestamp", "2010-01-01T01:30:00+01:30", datetime(2010, 1, 1)),  # noqa: DTZ001
        ("min_event_timestamp", "2010-01-01 00:00:00Z", datetime(2010, 1, 1)),  # noqa: DTZ001
        ("analysis_end_date", "2026-01-08", date(2026, 1, 8)),
        ("max_invalid_share", "0", 0.0),
        ("max_invalid_share", "1", 1.0),
        ("max_duration_seconds", str(2**31 - 1), 2**31 - 1),
        ("future_tolerance_minutes", "0", 0),
        ("settle_seconds", "0", 0.0),
        ("memory_limit", "1.5GiB", "1.5GiB"),
        ("memory_limit", "512MB", "512MB"),
    ],
)
def test_a_right_value_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(f"PODCAST_{name.upper()}", text)
    assert getattr(load_settings(), name) == value


def test_every_setting_is_described() -> None:
    descriptions = [field.description or "" for field in Settings.model_fields.values()]
    assert all(descriptions)
    assert len(set(descriptions)) == len(descriptions)


def test_a_site_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SITE_URL", "https://example.org/podcast/")
    assert load_settings().site_link == "https://example.org/podcast"


# --- Places ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["podcast_mask_key", "PODCAST_MASK_KEY"])
def test_the_environment_goes_before_the_env_file_and_that_before_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    secrets = give(monkeypatch, tmp_path, env="# ours\nexport PODCAST_WINDOW_DAYS='3'\nPODCAST_DOCS_KEPT=4\n")
    (secrets / name).write_text("from a file\n")
    (secrets / "podcast_docs_kept").write_text("5")
    monkeypatch.setenv("PODCAST_WINDOW_DAYS", "9")
    settings, shown = show_settings()
    assert settings.window_days == 9
    assert settings.docs_kept == 4
    assert settings.mask_key is not None
    assert settings.mask_key.get_secret_value() == "from a file"
    origins = {setting.name: (setting.value, setting.origin) for setting in shown}
    assert len(origins) == len(Settings.model_fields)
    assert origins["PODCAST_WINDOW_DAYS"] == ("9", "environment")
    assert origins["PODCAST_DOCS_KEPT"] == ("4", "env file")
    assert origins["PODCAST_MASK_KEY"] == ("set", "secret file")
    assert origins["PODCAST_ENGINE"] == ("duckdb", "default")


def test_a_secret_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SITE_URL", "https://me:zekret@host/site")
    values = {setting.name: setting.value for setting in show_settings()[1]}
    assert values["PODCAST_MASK_KEY"] == "not set"
    assert values["PODCAST_SITE_URL"] == "https://***@host/site"
    assert values["PODCAST_LANDING"] is None


def test_secrets_as_kubernetes_gives_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files there are links into a folder that is a link itself, all of it inside of the folder."""
    secrets = give(monkeypatch, tmp_path)
    (secrets / "..2026").mkdir()
    (secrets / "..2026" / "podcast_mask_key").write_text("k")
    (secrets / "..data").symlink_to("..2026")
    (secrets / "podcast_mask_key").symlink_to("..data/podcast_mask_key")
    assert load_settings().mask_key is not None


def test_the_command_shows_them_and_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODCAST_MASK_KEY", "zekret")
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "not" / "yet"))
    plain, as_json = (CliRunner().invoke(cli, ["settings", "--check", *more]) for more in ([], ["--json"]))
    assert (plain.exit_code, as_json.exit_code) == (0, 0)
    assert json.loads(as_json.output)["PODCAST_MASK_KEY"] == {"value": "set", "from": "environment"}
    assert re.search(r"PODCAST_MASK_KEY +set +environment", plain.output)
    assert "zekret" not in plain.output + as_json.output
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("PODCAST_LOG_FILE", str(tmp_path / "file" / "log"))
    raised = CliRunner().invoke(cli, ["settings", "--check"]).exception
    assert isinstance(raised, SettingsError)
    assert raised.exit_code == 2
    assert [line.split(":")[0] for line in str(raised).splitlines()] == ["PODCAST_HOME", "PODCAST_LOG_FILE"]


# --- What the tables depend on ------------------------------------------------------------------


def test_inputs_hash_follows_reference_data_and_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("users.csv", "episodes.csv"):
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("PODCAST_SEEDS", str(tmp_path))
    hashes = [load_settings().inputs_hash(), load_settings().inputs_hash()]
    assert hashes[0] == hashes[1]
    (tmp_path / "users.csv").write_text("another")
    hashes.append(load_settings().inputs_hash())
    for name, value in (("max_duration_seconds", "100"), ("analysis_end_date", "2026-01-08")):
        monkeypatch.setenv(f"PODCAST_{name.upper()}", value)
        hashes.append(load_settings().inputs_hash())
    monkeypatch.setenv("PODCAST_MAX_INVALID_SHARE", "0.3")  # judges batches, and changes no row
    assert load_settings().inputs_hash() == hashes[-1]
    assert len(set(hashes)) == len(hashes) - 1


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("s3://bucket", ObjectFolder("bucket")),
        ("s3://bucket/", ObjectFolder("bucket")),
        ("s3://my.bucket-1/a/b", ObjectFolder("my.bucket-1", "a/b/")),
        ("s3://bucket/a b/é[*]/", ObjectFolder("bucket", "a b/é[*]/")),
    ],
)
def test_a_bucket_for_landing_and_evidence(monkeypatch: pytest.MonkeyPatch, value: str, place: ObjectFolder) -> None:
    monkeypatch.setenv("PODCAST_LANDING", value)
    assert load_settings().landing_dir == place
    assert str(place) == value.rstrip("/")
    monkeypatch.delenv("PODCAST_LANDING")
    monkeypatch.setenv("PODCAST_QUARANTINE", value)
    assert load_settings().quarantine_dir == place


def test_the_secret_is_in_nothing_that_is_written_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_S3_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("PODCAST_S3_SECRET_ACCESS_KEY", CANARY)
    settings = load_settings()
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == CANARY
    assert CANARY not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
