"""Settings: what is refused and how it is said, what is ignored, and what the values become."""

import os
import re
from datetime import date, datetime
from pathlib import Path

import pytest

from flows.errors import SettingsError
from flows.settings import DBT_PROJECT, PROJECT_ROOT, Settings, load_settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PODCAST_")]:
        monkeypatch.delenv(name)


def refusal() -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert raised.value.exit_code == 2
    return str(raised.value)


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
    ("docs_kept", "0"),
    ("docs_kept", "all"),
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
    assert message.startswith("PODCAST_API_TOKEN=(not shown): must be 16 to 500 visible ASCII characters")
    assert value not in message


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PODCAST_{name.upper()}", "")
    assert load_settings() == expected


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SOMETHING_ELSE", "1")
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
