"""The generator: the same files from the same options, and answers that an independent count confirms."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import oracle
import pytest
import zstandard

from flows.generating import SAMPLE, Answers, GeneratorOptions, generate

ROOT = Path(__file__).parents[2]
LOADED = datetime(2026, 1, 1, tzinfo=UTC)
BOM = b"\xef\xbb\xbf"


def content(path: Path) -> bytes:
    """A file's content as it was before packing, which differs between versions of the packers."""
    packed = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(packed)
    return zstandard.ZstdDecompressor().decompress(packed) if path.suffix == ".zst" else packed


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def rows(data: bytes) -> list[bytes]:
    return [line for line in data.removeprefix(BOM).split(b"\n") if line.strip()]


def events(data: bytes) -> Iterator[dict[str, Any]]:
    for line in rows(data):
        try:
            value = json.loads(line.decode())
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def key(event: dict[str, Any]) -> tuple[object, ...]:
    moment = datetime.fromisoformat(event["timestamp"])
    return (
        str(event["user_id"]).strip(),
        event["episode_id"].strip(),
        event["event_type"].strip().lower(),
        moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC),
    )


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def judged(out: Path) -> oracle.World:
    users = [
        (row["user_id"], date.fromisoformat(row["signup_date"]), row["country"] or None)
        for row in table(out / "seeds/users.csv")
    ]
    episodes = [
        (
            row["episode_id"],
            row["podcast_id"],
            row["title"],
            date.fromisoformat(row["release_date"]),
            int(row["duration_seconds"]),
        )
        for row in table(out / "seeds/episodes.csv")
    ]
    landing = out / "landing"
    batches = [oracle.Batch(name, (landing / name).read_bytes(), LOADED) for name in contents(landing)]
    return oracle.evaluate(batches, users, episodes, rules=oracle.Rules(), thresholds=oracle.Thresholds())


def codes_of(world: oracle.World, code: str) -> int:
    return sum(code in codes for _, codes in world.validated)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    out = tmp_path_factory.mktemp("sample")
    return out, generate(SAMPLE, out)


class TestSample:
    """The files in the repository; rewritten by copying what `generate(SAMPLE, ...)` makes."""

    def test_landing_is_what_the_generator_makes(self, sample: tuple[Path, Answers]) -> None:
        assert contents(ROOT / "data/landing") == contents(sample[0] / "landing")

    @pytest.mark.parametrize("name", ["users.csv", "episodes.csv"])
    def test_seeds_are_what_the_generator_makes(self, sample: tuple[Path, Answers], name: str) -> None:
        assert (ROOT / "dbt_podcast/seeds" / name).read_bytes() == (sample[0] / "seeds" / name).read_bytes()

    def test_answers_are_what_the_generator_makes(self, sample: tuple[Path, Answers]) -> None:
        golden = (ROOT / "tests/golden/sample_answers.json").read_text("utf-8")
        assert golden == (sample[0] / "answers.json").read_text("utf-8") == sample[1].to_json()

    def test_tells_the_whole_story(self, sample: tuple[Path, Answers]) -> None:
        answers = sample[1]
        assert [each.role for each in answers.files].count("late") == 1
        assert [each.gate for each in answers.files if each.gate] == ["validated"]
        assert all(answers.totals.codes.values())
        files = contents(sample[0] / "landing")
        assert {Path(name).suffix for name in files} >= {".json", ".gz", ".zst"}
        assert sum(b"\r\n" in data for data in files.values()) == 1
        assert sum(data.startswith(BOM) for data in files.values()) == 1


def test_same_options_give_same_bytes(tmp_path: Path) -> None:
    options = GeneratorOptions(events=1_500, files=8, seed=3)
    assert generate(options, tmp_path / "a") == generate(options, tmp_path / "b")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / side).rglob("*.*")} for side in "ab")
    assert one == two


def test_another_seed_gives_other_events(tmp_path: Path) -> None:
    for seed in (1, 2):
        generate(GeneratorOptions(events=50, seed=seed), tmp_path / str(seed))
    assert contents(tmp_path / "1/landing") != contents(tmp_path / "2/landing")


@pytest.mark.parametrize(("count", "files"), [(1, 1), (7, 7), (100, None), (1_003, 5), (999, 40)])
@pytest.mark.parametrize("dirty", [0, 0.03, 1])
def test_rows_are_exactly_as_many_as_asked_for(tmp_path: Path, count: int, files: int | None, dirty: float) -> None:
    answers = generate(GeneratorOptions(events=count, files=files, dirty=dirty), tmp_path)
    written = contents(tmp_path / "landing")
    assert {each.filename: each.lines for each in answers.files} == {
        name: len(rows(data)) for name, data in written.items()
    }
    assert answers.totals.lines == sum(len(rows(data)) for data in written.values()) == count


def test_physical_lines_are_counted_with_blank_ones(sample: tuple[Path, Answers]) -> None:
    for each in sample[1].files:
        assert each.physical_lines == len(content(sample[0] / "landing" / each.filename).splitlines())
        assert each.physical_lines > each.lines


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dirty", [0.03, 0.3])
def test_answers_reconcile(tmp_path: Path, seed: int, dirty: float) -> None:
    totals = generate(GeneratorOptions(events=2_000, files=9, dirty=dirty, seed=seed), tmp_path).totals
    accounted = totals.malformed + totals.invalid + totals.duplicates + totals.facts + totals.held_back
    assert totals.lines == accounted
    assert totals.facts == sum(totals.facts_by_event_type.values())


@pytest.mark.parametrize("seed", range(3))
def test_malformed_lines_are_those_that_are_no_object(tmp_path: Path, seed: int) -> None:
    answers = generate(GeneratorOptions(events=1_000, files=5, dirty=0.2, seed=seed), tmp_path)
    for each in answers.files:
        data = content(tmp_path / "landing" / each.filename)
        assert each.malformed == each.codes["malformed_json"] == len(rows(data)) - len([*events(data)])


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_are_the_rows_with_a_key_seen_before(tmp_path: Path, seed: int) -> None:
    options = GeneratorOptions(
        events=1_500, files=6, dirty=0, bad_files=0, duplicate_share=0.2, untidy_share=0.2, seed=seed
    )
    totals = generate(options, tmp_path).totals
    keys = [key(event) for data in contents(tmp_path / "landing").values() for event in events(data)]
    assert (totals.facts, totals.duplicates) == (len(set(keys)), len(keys) - len(set(keys)))
    assert totals.duplicates > 1_500 * 0.2


def test_inferred_are_the_ids_that_the_reference_data_lacks(tmp_path: Path) -> None:
    options = GeneratorOptions(events=1_500, dirty=0, bad_files=0, unknown_share=0.1)
    totals = generate(options, tmp_path).totals
    keys = [key(event) for data in contents(tmp_path / "landing").values() for event in events(data)]
    users = {row["user_id"] for row in table(tmp_path / "seeds/users.csv")}
    episodes = {row["episode_id"] for row in table(tmp_path / "seeds/episodes.csv")}
    assert totals.inferred_users == len({user for user, *_ in keys} - users) > 0
    assert totals.inferred_episodes == len({episode for _, episode, *_ in keys} - episodes) > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [80, 3_000])
def test_bad_files_fail_their_gate_and_no_other_file_does(tmp_path: Path, seed: int, count: int) -> None:
    answers = generate(GeneratorOptions(events=count, files=10, bad_files=3, seed=seed), tmp_path)
    gates = {"malformed": "raw", "invalid": "validated", "unknown": "cleansed"}
    assert [each.gate for each in answers.files] == [gates.get(each.role) for each in answers.files]
    assert {each.role for each in answers.files} == {*gates, "regular", "late"}


@pytest.mark.parametrize("dirty", [0.03, 0.1, 0.5])
def test_the_oracle_comes_to_the_same_answers(tmp_path: Path, dirty: float) -> None:
    options = GeneratorOptions(events=1_000, files=8, bad_files=2, dirty=dirty, seed=int(dirty * 100))
    answers = generate(options, tmp_path)
    world, totals = judged(tmp_path), answers.totals
    assert world.failed_gate == {each.filename: each.gate for each in answers.files}
    assert world.statuses == {each.filename: each.status for each in answers.files}
    assert {code: codes_of(world, code) for code in totals.codes} == totals.codes
    assert (sum(row[-1] for row in world.dim_users), sum(row[-1] for row in world.dim_episodes)) == (
        totals.inferred_users,
        totals.inferred_episodes,
    )
    names = ("lines", "malformed", "invalid", "duplicates", "facts", "held_back")
    assert [getattr(world.accounting, name) for name in names] == [getattr(totals, name) for name in names]


def test_late_file_comes_last_with_events_of_the_first_days(tmp_path: Path) -> None:
    answers = generate(GeneratorOptions(events=2_000, files=14, dirty=0), tmp_path)
    names = [each.filename for each in answers.files]
    assert names == sorted(names)
    assert answers.files[-1].role == "late"
    days = [key(event)[-1] for event in events(content(tmp_path / "landing" / names[-1]))]
    assert max(days) < datetime(2024, 1, 14, tzinfo=UTC)


def test_a_landing_directory_in_use_is_refused(tmp_path: Path) -> None:
    options = GeneratorOptions(events=10)
    generate(options, tmp_path)
    with pytest.raises(FileExistsError, match="choose another directory"):
        generate(options, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"events": 0}, "events takes a whole number of 1 or more, not 0"),
        ({"dirty": 1.5}, "dirty takes a share from 0 to 1, not 1.5"),
        ({"files": 0, "unknown_share": -1}, "files takes .*; unknown_share takes"),
        ({"files": 200}, "files takes 1 to 100"),
        ({"files": 2, "bad_files": 2}, "late_files and bad_files take fewer than the 2 files"),
        ({"bad_kinds": ("odd",)}, "bad_kinds takes one or more of malformed, invalid, unknown"),
        ({"users": 1, "days": 1}, "users takes 3 or more"),
        ({"episodes": 5}, "episodes takes 10 or more"),
        ({"end_date": date(2000, 1, 5)}, "end_date takes a date from 2001-01-01"),
    ],
)
def test_wrong_options_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneratorOptions(**{"events": 100, **wrong})
