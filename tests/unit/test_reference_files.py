"""Which forms of reference data are there, and their hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import reference_files
from flows.errors import SettingsError
from flows.reference_files import Form
from flows.settings import load_settings


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("there", "form", "labels"),
    [
        (["users.csv"], Form.SEED, ["users.csv"]),
        (["users.csv", "users/notes.txt", "users/more/a.parquet"], Form.SEED, ["users.csv"]),
        (["users.parquet"], Form.PARQUET, ["users.parquet"]),
        (
            ["users/b.parquet", "users/a.parquet", "users/_SUCCESS"],
            Form.PARQUET,
            ["users/a.parquet", "users/b.parquet"],
        ),
        (["users/a.parquet", "users/_b.csv", "users/.c.csv"], Form.PARQUET, ["users/a.parquet"]),
        (["users/a.csv.gz", "users/b.csv", "users/c.CSV"], Form.CSV, ["users/a.csv.gz", "users/b.csv"]),
    ],
)
def test_each_form_is_found(tmp_path: Path, there: list[str], form: Form, labels: list[str]) -> None:
    users, episodes = reference_files.find(touch(tmp_path, "episodes.csv", *there))
    assert (users.form, list(users.labels())) == (form, labels)
    assert (episodes.form, list(episodes.labels())) == (Form.SEED, ["episodes.csv"])


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["users/notes.txt", "episodes.csv"], "users.csv not found there"),
        (["users.csv", "users.parquet", "episodes.csv"], "users.csv and users.parquet are there at once; keep one"),
        (["users.csv", "users/a.csv", "episodes.csv"], "users.csv and users/*.csv are there at once; keep one"),
        (["users/a.csv.gz", "users/a.parquet", "episodes.csv"], "users/*.parquet and users/*.csv are there at once"),
        (["users.csv", "episodes.parquet", "episodes/a.csv"], "episodes.parquet and episodes/*.csv are there at once"),
    ],
)
def test_none_and_several_are_refused_by_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: list[str], said: str
) -> None:
    monkeypatch.setenv("PODCAST_SEEDS", str(touch(tmp_path, *there)))
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert f"PODCAST_SEEDS={str(tmp_path)!r}: {said}" in str(raised.value)


def test_characters_of_patterns_in_a_path_are_escaped(tmp_path: Path) -> None:
    users, _ = reference_files.find(touch(tmp_path / "a[1]*?", "users/a.csv", "users/b.csv.gz", "episodes.csv"))
    folder = f"{tmp_path}/a[[]1][*][?]/users"
    assert users.patterns() == [f"{folder}/[!._]*.csv", f"{folder}/[!._]*.csv.gz"]


def test_the_hash_follows_names_and_contents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODCAST_SEEDS", str(touch(tmp_path, "users/a.csv", "users/b.csv", "episodes.csv")))

    def hashes() -> tuple[str, str]:
        settings = load_settings()
        return settings.reference_hash(), settings.inputs_hash()

    found = [hashes()]
    assert hashes() == found[0]
    touch(tmp_path, "users/_SUCCESS")
    assert hashes() == found[0]
    (tmp_path / "users" / "a.csv").write_text("users/x.csv")  # of the same size
    found.append(hashes())
    (tmp_path / "users" / "b.csv").rename(tmp_path / "users" / "c.csv")
    found.append(hashes())
    (tmp_path / "users" / "c.csv").unlink()
    found.append(hashes())
    assert len({one for one, _ in found}) == len({two for _, two in found}) == 4
    monkeypatch.setenv("PODCAST_WINDOW_DAYS", "3")
    assert hashes()[0] == found[-1][0]
    assert hashes()[1] != found[-1][1]


def test_the_hash_is_made_once_of_a_file_that_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    touch(tmp_path, "users.parquet", "episodes.csv")
    before = reference_files.content_hash(tmp_path)

    def read(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr(reference_files.files, "sha256", read)
    assert reference_files.content_hash(tmp_path) == before
