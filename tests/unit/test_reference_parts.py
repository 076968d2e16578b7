"""Reference data that the engine reads: what is taken, and what is said of what is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest
from reference_data import FORMS

from flows import reference
from flows.errors import ReferenceDataError
from flows.settings import DBT_PROJECT

H = b"user_id,signup_date,country\n"
HEADER = "; line 1 has to be the header user_id,signup_date,country"


def problems(folder: Path) -> list[str]:
    """What is said, without the sentence before and the one behind."""
    (folder / "episodes.csv").write_bytes(b"episode_id,podcast_id,title,release_date,duration_seconds\n")
    try:
        reference.check(folder)
    except ReferenceDataError as error:
        first, *found, last = str(error).splitlines()
        assert "nothing was changed" in first
        assert "PODCAST_SEEDS" in last
        return [problem.removeprefix(f"{folder}/").removeprefix("users/") for problem in found]
    return []


def of_csv(folder: Path, *parts: bytes) -> list[str]:
    (folder / "users").mkdir(parents=True)
    for number, content in enumerate(parts):
        (folder / "users" / f"{number}.csv").write_bytes(content)
    return problems(folder)


def of_parquet(folder: Path, *parts: str) -> list[str]:
    (folder / "users").mkdir(parents=True)
    for number, query in enumerate(parts):
        path = str(folder / "users" / f"{number}.parquet").replace("'", "''")
        duckdb.connect().execute(f"copy ({query}) to '{path}' (format parquet)")
    return problems(folder)


@pytest.mark.parametrize("form", FORMS)
def test_the_seeds_of_the_project_are_taken_in_every_form(tmp_path: Path, form: str) -> None:
    for name in ("users", "episodes"):
        FORMS[form](DBT_PROJECT / "seeds", tmp_path / "c=1 [x]*'s", name)
    reference.check(tmp_path / "c=1 [x]*'s")


@pytest.mark.parametrize(
    "parts",
    [
        [H],
        [b"\xef\xbb\xbf" + H + b"u1,2024-01-31,NO", H + b"u2,,\n"],
        [H.replace(b"\n", b"\r\n") + b"u1,,\r\nu2,,\r\n"],
        [H + b"u1,,\n\nu2,,\n\n"],
        [b"country,more,user_id,signup_date\nNO,x,u1,2024-01-31\n"],
        [b",user_id,signup_date,country\n0,u1,2024-01-31,NO\n"],
        [H + b'u1,,"Cote d\'Ivoire, ""CI"""\n"u\n2",,NO\n'],
        [H + "ü,,\nU,,\nu,,\n".encode()],
    ],
    ids=["header only", "mark", "crlf", "blank lines", "further columns", "no name", "quotes", "ids that differ"],
)
def test_csv_that_is_taken(tmp_path: Path, parts: list[bytes]) -> None:
    assert of_csv(tmp_path, *parts) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b""], [f"0.csv: is empty{HEADER}"]),
        ([b"\n" + H], [f"0.csv: is empty{HEADER}"]),
        ([b"u1,2024-01-31,NO\n"], [f"0.csv: column user_id and signup_date and country is missing{HEADER}"]),
        ([b"user_id,signup_date,country,Country\n"], [f"0.csv: a column stands there twice{HEADER}"]),
        (
            [H, b"country,user_id,signup_date\nNO,u1,\n"],
            [("1.csv: its columns are not those of 0.csv; every part has the same in the same order")],
        ),
        ([b'user_id,signup_date,"country\n'], ["0.csv: is no CSV: line 1 is not whole"]),
        ([b"user_id,signup_date,country,\xff\n"], ["0.csv: line 1 is not UTF-8; save the file as UTF-8"]),
        ([H, H + b"u1,,\nu2,\n"], ["1.csv: line 3 has fewer fields than the header"]),
        (
            [H + b"u1,,\n\nu2,,,x\n", H + b"u3\n"],
            ["0.csv: line 4 has more fields than the header", "1.csv: line 2 has fewer fields than the header"],
        ),
        (
            [H + b'u1,,\n"u2,,\nu3,,\n'],
            [("0.csv: line 3 begins a record that is no CSV: a quote is not closed, or stands within a value")],
        ),
        ([H + b"u1,,\nu\xe9,,\n"], ["0.csv: line 3 is not UTF-8; save the file as UTF-8"]),
        ([H + b"u1,soon,\n"], ["0.csv: record 1: signup_date is not a date, as in 2024-01-31"]),
        ([H + b"u1,,\n \t,,\n\xc2\xa0,,\n,,\n"], [f"0.csv: record {n}: user_id is blank" for n in (2, 3, 4)]),
        (
            [H + b"u1,,\nu2,,\nu1,,NO\n"],
            [("0.csv: record 3: user_id is that of record 1; every record needs one of its own")],
        ),
        (
            [H + b"u1,,\n", H + b"u2,,\n\n u1 ,,\n"],
            [("1.csv: record 2: user_id is that of record 1 of 0.csv; every record needs one of its own")],
        ),
        (
            [H + b"".join(b"u%d,x,\n" % n for n in range(9))],
            [
                *(f"0.csv: record {n}: signup_date is not a date, as in 2024-01-31" for n in range(1, 6)),
                "users: and 4 more problems",
            ],
        ),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, parts: list[bytes], said: list[str]) -> None:
    assert of_csv(tmp_path, *parts) == said


USER = "select 'u1' as user_id, date '2024-01-31' as signup_date, 'NO' as country"


@pytest.mark.parametrize(
    "parts",
    [
        [USER, USER.replace("u1", "u2")],
        [USER, "select 'NO' as country, 'x' as more, '2024-01-31' as signup_date, 7 as user_id"],
        [USER.replace("date ", "timestamp "), USER.replace("u1", "u2").replace("date '2024-01-31'", "null::date")],
        [f"{USER} limit 0"],
    ],
    ids=["parts", "other types and columns", "timestamps and nulls", "no rows"],
)
def test_parquet_that_is_taken(tmp_path: Path, parts: list[str]) -> None:
    assert of_parquet(tmp_path, *parts) == []


MANY = "select 'u' || n as user_id, null::date as signup_date, 'NO' as country from range(300000) as r (n)"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [USER, "select 'u2' as user_id, 'NO' as country"],
            [("1.parquet: column signup_date is missing; there have to be user_id,signup_date,country")],
        ),
        (
            [USER.replace("date '2024-01-31'", "[1]")],
            [("0.parquet: column signup_date is of the type INTEGER[], not a date, as in 2024-01-31")],
        ),
        (
            [USER.replace("date ", "").replace("2024-01-31", "soon")],
            [("0.parquet: row 1: signup_date is not a date, as in 2024-01-31")],
        ),
        ([USER.replace("date '2024-01-31'", "''")], ["0.parquet: row 1: signup_date is not a date, as in 2024-01-31"]),
        ([USER.replace("'u1'", "null")], ["0.parquet: row 1: user_id is blank"]),
        ([USER, USER.replace("u1", " ")], ["1.parquet: row 1: user_id is blank"]),
        (
            [MANY, USER.replace("u1", "u123456")],
            ["1.parquet: row 1: user_id is that of row 123,457 of 0.parquet; every row needs one of its own"],
        ),
    ],
)
def test_parquet_that_is_refused(tmp_path: Path, parts: list[str], said: list[str]) -> None:
    assert of_parquet(tmp_path, *parts) == said


def test_whole_numbers(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(H)
    duckdb.connect().execute(
        f"""
        copy (
            select
                'e' || row_number() over () as episode_id, 'p1' as podcast_id, 'T' as title,
                null::date as release_date, seconds as duration_seconds
            from (values ('60'), ('60.0'), (null), ('1.5'), ('1 h'), ('2147483648')) as rows (seconds)
        ) to '{tmp_path}/episodes.parquet'
        """
    )
    with pytest.raises(ReferenceDataError) as raised:
        reference.check(tmp_path)
    said = [line.removeprefix(f"{tmp_path}/") for line in str(raised.value).splitlines()[1:-1]]
    assert said == [f"episodes.parquet: row {n}: duration_seconds is not a whole number, as in 1800" for n in (4, 5, 6)]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert of_parquet(tmp_path / "a", MANY) == []
    whole = (tmp_path / "a" / "users" / "0.parquet").read_bytes()
    (tmp_path / "a" / "users" / "1.parquet").write_bytes(whole[:-20])
    (tmp_path / "a" / "users" / "2.parquet").write_bytes(b"")
    assert problems(tmp_path / "a") == [f"{n}.parquet: is no Parquet file, or not whole" for n in (1, 2)]
    (tmp_path / "a" / "users" / "2.parquet").unlink()
    (tmp_path / "a" / "users" / "1.parquet").write_bytes(whole[:1000] + bytes(1000) + whole[2000:])
    assert problems(tmp_path / "a") == ["1.parquet: is damaged: it has an end, and cannot be read up to there"]

    packed = gzip.compress(H + b"".join(b"u%d,,\n" % n for n in range(200_000)))
    (tmp_path / "b" / "users").mkdir(parents=True)
    (tmp_path / "b" / "users" / "0.csv.gz").write_bytes(packed)
    assert problems(tmp_path / "b") == []
    (tmp_path / "b" / "users" / "1.csv.gz").write_bytes(b"no gzip")
    assert problems(tmp_path / "b") == ["1.csv.gz: cannot be read: it is no gzip, or not whole"]


@pytest.mark.parametrize(
    "part",
    [b"2024-01-31,canary,NO\n", b"canary,,\ncanary,,\n", b"canary,,NO,x\n", b'u1,,\n"canary\n', b"canary\xff,,\n"],
)
def test_no_value_is_told(tmp_path: Path, part: bytes) -> None:
    told = of_csv(tmp_path, H + part)
    assert told
    assert "canary" not in " ".join(told)
