"""Reference data: what is taken, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import reference
from flows.errors import ReferenceDataError
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
    ],
    ids=["header only", "mark", "crlf", "blank lines", "order and further columns", "quotes", "ids that differ"],
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
