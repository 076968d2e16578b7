"""Reference data that the engine reads: what is taken, and what is said of what is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest
from reference_data import FORMS

from flows import reference, reference_parts
from flows.errors import ReferenceDataError
from flows.settings import DBT_PROJECT

H = b"user_id,signup_date,country\n"
HEADER = "; line 1 has to be the header user_id,signup_date,country"
MIXED = "its lines end in different ways, or a quote is misplaced; save it with one kind of line end"


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
        [H + b"u1,,\n", H.replace(b"\n", b"\r\n") + b'u2,,"a\nb"\r\n'],
        [H + b"u1,0001-01-01,\nu2,9999-12-31,\nu3,1970-01-01,\n"],
    ],
    ids=[
        *("header only", "mark", "crlf", "blank lines", "further columns", "no name", "quotes", "ids that differ"),
        *("line ends of two parts", "dates on the edges"),
    ],
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
        *(
            ([H + rows], ["0.csv: is no CSV: " + MIXED])
            for rows in (
                b"u1,,NO\nu2,,SE\r\nu3,,DK\n",
                b"u1,,NO\r\nu2,,SE\r\n",
                b"u1,,N\rO\n",
                b'u1,,""a\nu2,,x\r\n',
                b'u1,,x\r\n"u2"x,,\n',
            )
        ),
        ([H + b"u1,,\n", H + b"u2,,Cura\xe7ao\n"], ["1.csv: line 2 is not UTF-8; save the file as UTF-8"]),
        *(
            ([H + b"u1,,\nu2,%s,\n" % day], ["0.csv: record 2: signup_date is not a date, as in 2024-01-31"])
            for day in (
                b"infinity",
                b"-infinity",
                b"epoch",
                b" Epoch ",
                b"10000-01-01",
                b"0000-12-31",
                b"0044-03-15 (BC)",
            )
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
        [USER.replace("'u1'", "uuid()").replace("'NO'", "null").replace("date '2024-01-31'", "null")],
        [USER, *(USER.replace("'u1'", f"{n}::{type_}") for n, type_ in enumerate(("ubigint", "decimal(18, 0)")))],
    ],
    ids=["parts", "other types and columns", "timestamps and nulls", "no rows", "ids of uuid", "ids of numbers"],
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
        *(
            (
                [USER.replace("'u1'", value), USER.replace("'NO'", value)],
                [
                    f"0.parquet: column user_id is of the type {type_}, not text, a whole number or a UUID",
                    f"1.parquet: column country is of the type {type_}, not text, a whole number or a UUID",
                ],
            )
            for value, type_ in (
                ("7.0::double", "DOUBLE"),
                ("7::decimal(5, 2)", "DECIMAL(5,2)"),
                ("'u1'::blob", "BLOB"),
                ("{'id': 'u1'}", "STRUCT(id VARCHAR)"),
                ("['u1']", "VARCHAR[]"),
                ("interval 1 day", "INTERVAL"),
            )
        ),
        (
            [USER, USER.replace("'u1'", "uuid()")],
            [("users: a column has types that do not go together; give it the same in every part")],
        ),
        *(
            (
                [USER.replace("date '2024-01-31'", day)],
                ["0.parquet: row 1: signup_date is not a date, as in 2024-01-31"],
            )
            for day in (
                "date 'infinity'",
                "timestamp '-infinity'",
                "date '10000-01-01'",
                "date '0044-03-15 (BC)'",
                "'epoch'",
            )
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

    (tmp_path / "a" / "users" / "1.parquet").write_bytes(with_damaged_country(tmp_path))
    assert problems(tmp_path / "a") == ["1.parquet: is damaged: it has an end, and cannot be read up to there"]

    packed = gzip.compress(H + b"".join(b"u%d,,\n" % n for n in range(200_000)))
    (tmp_path / "b" / "users").mkdir(parents=True)
    (tmp_path / "b" / "users" / "0.csv.gz").write_bytes(packed)
    assert problems(tmp_path / "b") == []
    (tmp_path / "b" / "users" / "1.csv.gz").write_bytes(b"no gzip")
    assert problems(tmp_path / "b") == ["1.csv.gz: cannot be read: it is no gzip, not whole, or damaged"]
    for place in (-6, len(packed) // 2):  # in the checksum, and before it
        broken = bytearray(packed)
        broken[place] ^= 1
        (tmp_path / "b" / "users" / "1.csv.gz").write_bytes(broken)
        assert problems(tmp_path / "b") == ["1.csv.gz: cannot be read: it is no gzip, not whole, or damaged"]
    (tmp_path / "b" / "users" / "1.csv.gz").write_bytes(packed[:-9])
    assert problems(tmp_path / "b") == ["1.csv.gz: cannot be read: it is no gzip, not whole, or damaged"]


def with_damaged_country(folder: Path) -> bytes:
    """A Parquet file in which a page of text is spoilt."""
    path = folder / "damaged.parquet"
    duckdb.connect().execute(
        f"""
        copy (
            select 'v' || n as user_id, null::date as signup_date, md5(n::varchar) as country
            from range(9000) as r (n)
        ) to '{path}' (format parquet)
        """
    )
    ((offset,),) = duckdb.execute(
        "select data_page_offset from parquet_metadata(?) where path_in_schema = 'country'", [str(path)]
    ).fetchall()
    content = bytearray(path.read_bytes())
    content[offset + 1000 : offset + 3000] = bytes(2000)
    return bytes(content)


@pytest.mark.parametrize("path", ["a/users/0\\.csv", "a\\b/users/0.csv", "a\\b/users.parquet"])
def test_a_path_that_the_engine_does_not_find(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(H)
    folder = tmp_path / Path(path).parts[0]
    assert problems(folder) == [
        f"{Path(path).name}: the engine does not find a path with a backslash; rename the file or the folder"
    ]


def test_a_reader_that_fails_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no part alone is to blame, what the engine says is not told: it may quote a value."""

    def refuse(*_: object) -> None:
        raise duckdb.InvalidInputException("canary")

    monkeypatch.setattr(reference_parts, "_is_right", refuse)
    (said,) = of_csv(tmp_path, H + b"u1,,\n")
    assert (
        said == "users: cannot be read; save every part with one kind of line end, and quotes around whole values only"
    )


def test_what_is_no_fault_of_a_file_is_not_told_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise duckdb.OutOfMemoryException("could not allocate")

    monkeypatch.setattr(reference_parts, "_is_right", fail)
    with pytest.raises(duckdb.OutOfMemoryException):
        of_csv(tmp_path, H + b"u1,,\n")


@pytest.mark.parametrize(
    "part",
    [
        *(b"2024-01-31,canary,NO\n", b"canary,,\ncanary,,\n", b"canary,,NO,x\n", b'u1,,\n"canary\n', b"canary\xff,,\n"),
        *(b"canary,,\xff\n", b"canary,,NO\r\nu2,,SE\n", b'canary,,""a\nu2,,x\r\n'),
    ],
)
def test_no_value_is_told(tmp_path: Path, part: bytes) -> None:
    told = of_csv(tmp_path, H + part)
    assert told
    assert "canary" not in " ".join(told)
