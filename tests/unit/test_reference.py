"""Reference data: what is taken, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import reference, reference_files, reference_seeds
from flows.errors import ReferenceDataError
from flows.reference_files import Form, Source
from flows.settings import DBT_PROJECT

USERS = b"user_id,signup_date,country\n"
HEADER = "; line 1 has to be the header user_id,signup_date,country"
EPISODES = b"episode_id,podcast_id,title,release_date,duration_seconds\n"


def problems(folder: Path, users: bytes = USERS, episodes: bytes = EPISODES) -> list[str]:
    """What is said of the lines, without the sentence before and the one behind."""
    (folder / "users.csv").write_bytes(users)
    (folder / "episodes.csv").write_bytes(episodes)
    try:
        reference.check(folder)
    except ReferenceDataError as error:
        first, *found, last = str(error).splitlines()
        assert "nothing was changed" in first
        assert "PODCAST_SEEDS" in last
        return [problem.removeprefix(f"{folder}/") for problem in found]
    return []


def test_the_seeds_of_the_project_are_taken() -> None:
    reference.check(DBT_PROJECT / "seeds")


@pytest.mark.parametrize(
    "users",
    [
        USERS,
        b"\xef\xbb\xbf" + USERS + b"u1,2024-01-31,NO",
        USERS.replace(b"\n", b"\r\n") + b"u1,,\r\nu2,,\r\n",
        USERS + b"u1,,\n\nu2,,\n\n",
        b"country,more,user_id,signup_date\nNO,x,u1,2024-01-31\n",
        USERS + b'u1,,"Cote d\'Ivoire, ""CI"""\n"u\n2",,NO\n',
        USERS + "ü,,\nU,,\nu,,\n".encode(),
        USERS.replace(b"\n", b"\r\n") + b"u1,,\nu2,,\ru3,,\r\n",
        USERS + b"u1,0001-01-01,\nu2,9999-12-31,\nu3,1970-01-01,\n",
    ],
    ids=[
        *("header only", "mark", "crlf", "blank lines", "order and further columns", "quotes", "ids that differ"),
        *("line ends of every kind", "dates on the edges"),
    ],
)
def test_what_is_taken(tmp_path: Path, users: bytes) -> None:
    assert problems(tmp_path, users) == []


@pytest.mark.parametrize(
    ("users", "said"),
    [
        (b"", [f"is empty{HEADER}"]),
        (b"\n\n", [f"is empty{HEADER}"]),
        (b"u1,2024-01-31,NO\n", [f"column user_id and signup_date and country is missing{HEADER}"]),
        (b"user_id,country\nu1,NO\n", [f"column signup_date is missing{HEADER}"]),
        (b"user_id;signup_date;country\n", [f"column user_id and signup_date and country is missing{HEADER}"]),
        (b"user_id,signup_date,country,country\n", [f"a column stands there twice{HEADER}"]),
        (USERS + b"u1,soon,\n", ["line 2: signup_date is not a date, as in 2024-01-31"]),
        (USERS + b"u1,2023-02-29,\n", ["line 2: signup_date is not a date, as in 2024-01-31"]),
        (USERS + b"u1,01/02/2024,\n", ["line 2: signup_date is not a date, as in 2024-01-31"]),
        (USERS + b"u1,,\nu2,,\nu1,,NO\n", ["line 4: user_id is that of line 2; every line needs one of its own"]),
        *(
            (USERS + b"u1,%s,\n" % day, ["line 2: signup_date is not a date, as in 2024-01-31"])
            for day in (b"infinity", b"epoch", b" Epoch ", b"10000-01-01", b"0000-12-31", b"0044-03-15 (BC)")
        ),
        (USERS + b"u1,,\nu1 ,,\n\xc2\xa0u1,,\n", [
            "line 3: user_id is that of line 2; every line needs one of its own",
            "line 4: user_id is that of line 2; every line needs one of its own",
        ]),
        (USERS + b",,NO\n \t,,\n", ["line 2: user_id is blank", "line 3: user_id is blank"]),
        (USERS + b"u1,\n", ["line 2 has 2 fields, the header 3"]),
        (USERS + b"u1,,NO,\n", ["line 2 has 4 fields, the header 3"]),
        (USERS + b'"u\n1",,\nu2,x,\n', ["line 4: signup_date is not a date, as in 2024-01-31"]),
        (USERS + b'u1,,\n"u2,,\nu3,,\n', ["is no CSV: the record that starts in line 3: unexpected end of data"]),
        (USERS + b"u1,,\nu\xe9,,\n", ["line 3 is not UTF-8; save the file as UTF-8"]),
        (USERS + b"u1,\x1b[31m,\n", ["line 2: signup_date is not a date, as in 2024-01-31"]),
        (USERS + b"".join(b"u%d,x,\n" % n for n in range(9)), [
            *(f"line {n}: signup_date is not a date, as in 2024-01-31" for n in range(2, 7)),
            "and 4 more problems",
        ]),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, users: bytes, said: list[str]) -> None:
    assert problems(tmp_path, users) == [f"users.csv: {problem}" for problem in said]


def test_whole_numbers(tmp_path: Path) -> None:
    """As in the parts: a fraction would be rounded."""
    given = enumerate(("60", "60.0", " 60 ", "", "1480.5", "0x10", "1 h", "2147483648"))
    rows = "".join(f"e{n},p1,T,,{seconds}\n" for n, seconds in given)
    assert problems(tmp_path, episodes=EPISODES + rows.encode()) == [
        f"episodes.csv: line {n}: duration_seconds is not a whole number, as in 1800" for n in (6, 7, 8, 9)
    ]


def copied(folder: Path, users: bytes) -> str:
    """The copy of the users that the engine is given."""
    assert problems(folder, users) == []
    source, _ = reference_files.find(folder)
    (folder / "copies").mkdir()
    copy = reference_seeds.copy(source, folder / "copies")
    assert copy == Source(source.kind, Form.CSV, (folder / "copies" / "users.csv",))
    return copy.files[0].read_bytes().decode()


HEADER_OF_COPY = '"user_id","signup_date","country"\n'


@pytest.mark.parametrize(
    ("users", "copy"),
    [
        (USERS, ""),
        (b"\xef\xbb\xbf" + USERS + b"u1,2024-01-31,NO", '"u1","2024-01-31","NO"\n'),
        (USERS.replace(b"\n", b"\r\n") + b"u1,,\nu2,,\r\n\n", '"u1","",""\n"u2","",""\n'),
        (USERS + b'u1,,"Cote d\'Ivoire, ""CI"""\n"u\r\n2",,\n', '"u1","","Cote d\'Ivoire, ""CI"""\n"u\r\n2","",""\n'),
        (b"order,country,User-Agent,user_id,full name,signup_date\n$5,NO,x,u1,y,\n", '"u1","","NO"\n'),
        (USERS + "\u2003u1\u00a0,, NO \n".encode(), '"u1",""," NO "\n'),
    ],
    ids=["header only", "mark", "line ends", "quotes", "further columns", "white space"],
)
def test_the_copy_for_the_engine(tmp_path: Path, users: bytes, copy: str) -> None:
    assert copied(tmp_path, users) == HEADER_OF_COPY + copy


@pytest.mark.parametrize(
    "users", [b"", b"user_id,country\nu1,canary\n", USERS + b"canary\n", USERS + b'"canary', b"\xff"]
)
def test_no_copy_of_a_file_that_is_broken_since_the_check(tmp_path: Path, users: bytes) -> None:
    copied(tmp_path, USERS + b"u1,,\n")
    (tmp_path / "users.csv").write_bytes(users)
    source, _ = reference_files.find(tmp_path)
    with pytest.raises(ReferenceDataError, match="changed while the run was reading it") as raised:
        reference_seeds.copy(source, tmp_path / "copies")
    assert str(tmp_path / "users.csv") in str(raised.value)
    assert "canary" not in str(raised.value)
    assert (tmp_path / "copies" / "users.csv").read_bytes().decode() == HEADER_OF_COPY + '"u1","",""\n'


def test_both_files_are_told_of(tmp_path: Path) -> None:
    episodes = EPISODES + b"e1,p1,One,2024-01-31,1.5h\ne2,p1,Two,,2147483648\ne3,p1,Three,,60\n"
    assert problems(tmp_path, USERS + b"u1,x,\n", episodes) == [
        "users.csv: line 2: signup_date is not a date, as in 2024-01-31",
        "episodes.csv: line 2: duration_seconds is not a whole number, as in 1800",
        "episodes.csv: line 3: duration_seconds is not a whole number, as in 1800",
    ]


@pytest.mark.parametrize(
    "lines",
    [b"2024-01-31,canary,NO\n", b"canary,,\ncanary,,\n", b"canary,,NO,\n", b'u1,,\n"canary\n', b"canary\xff,,\n"],
)
def test_no_value_is_told(tmp_path: Path, lines: bytes) -> None:
    """Also of columns that were exchanged, which hold ids where dates should be."""
    told = problems(tmp_path, USERS + lines)
    assert told
    assert "canary" not in " ".join(told)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReferenceDataError, match=r"users\.csv and episodes\.csv not found there"):
        reference.check(tmp_path)
