"""What is shown of lines from the data."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from flows.masking import LONGEST, FailingLine, Mask, names_of_keys, open_mask, visible
from flows.settings import Settings

KEY = b"a key"
MASK = Mask(KEY)
EPISODES = {"e1"}


def record(**values: Any) -> dict[str, Any]:
    """A row of `ops.failing_lines`, empty but for the given values."""
    columns = ("event_type", "user_id", "episode_id", "timestamp", "duration", "rescued", "rescued_base64")
    return {"line_number": 7, "codes": ["empty_user_id"]} | dict.fromkeys(columns) | values


def shown(mask: Mask = MASK, **values: Any) -> str:
    """What is shown of a row."""
    return mask.line(record(**values), EPISODES).shown


def test_a_user_id_is_a_keyed_hash_the_same_each_time_and_another_under_another_key() -> None:
    digest = hmac.new(KEY, b"u1", hashlib.sha256).hexdigest()
    assert MASK.user_id("u1") == MASK.user_id(" u1\t") == f"user:{digest[:12]}"
    assert Mask(b"another").user_id("u1") != MASK.user_id("u1")


def test_what_is_of_the_kind_of_its_column_is_shown() -> None:
    line = MASK.line(
        record(event_type=" PLAY", user_id="u1", episode_id="e1", timestamp="2024-01-01T00:00:00Z"), EPISODES
    )
    assert line == FailingLine(
        7,
        ("empty_user_id",),
        f"event_type  PLAY, user_id {MASK.user_id('u1')}, episode_id e1, timestamp 2024-01-01T00:00:00Z",
    )
    assert shown(duration="-12.5") == "duration -12.5"


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("event_type", "Ann42", "Xxx99"),
        ("episode_id", "u1", "x9"),
        ("timestamp", "yesterday", "xxxxxxxxx"),
        ("duration", "ten", "xxx"),
        ("user_id", "   ", "'   '"),
        ("user_id", "", "''"),
    ],
)
def test_anything_else_is_shown_by_its_shape(column: str, value: str, text: str) -> None:
    assert shown(**{column: value}) == f"{column} {text}"


def test_a_malformed_line_is_shown_by_its_shape_so_that_what_breaks_it_is_seen() -> None:
    line = '{"event_type": "play", "user_id": "u00123", "name": "Ann", "duration": 12'
    assert shown(rescued=line) == '{"event_type": "play", "user_id": "x99999", "xxxx": "Xxx", "duration": 99'
    assert shown(rescued_base64="/w==") == "not UTF-8"


def test_a_line_with_further_keys_is_shown_by_its_five_values() -> None:
    assert shown(rescued='{"user_id": "u1", "mail": "ann@example.org"}', duration="1") == "duration 1"


def test_nothing_is_masked_where_a_setting_says_so(tmp_path: Path) -> None:
    mask = open_mask(Settings(home=tmp_path, show_user_ids=True))
    assert shown(mask, user_id="u1", episode_id="nowhere") == "user_id u1, episode_id nowhere"
    assert shown(mask, rescued="{oops\x1b[2J") == "{oops\\u001b[2J"
    assert not (tmp_path / "mask.key").exists()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ('"app", "utm_source"', '"app", "utm_source"'),
        ('"app"', '"app"'),
        ('"a", "b", "c", "d", "e" and 12 more', '"a", "b", "c", "d", "e" and 12 more'),
        ('"app", "u1234" and 3 more', '"app", "x9999" and 3 more'),
        ('"ann@example.org"', '"xxx@xxxxxxx.xxx"'),
        ('"a"b1 and 2 more"', '"x"x9 xxx 9 xxxx"'),
        ('"\x1b[31m"', '"\\u001b[99x"'),
    ],
)
def test_names_of_keys_are_shown_unless_they_can_be_ids(names: str, shown: str) -> None:
    assert names_of_keys(names) == shown


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert open_mask(settings) == open_mask(settings)
    path = tmp_path / "mask.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 64
    assert list(tmp_path.iterdir()) == [path]
    assert open_mask(Settings(home=tmp_path, mask_key=SecretStr("k"))) == Mask(b"k")
    assert "k1" not in repr(Settings(home=tmp_path, mask_key=SecretStr("k1")))


def test_an_empty_key_masks_nothing_and_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mask.key").touch()
    mask = open_mask(Settings(home=tmp_path))
    assert mask == Mask((tmp_path / "mask.key").read_bytes())
    assert len(mask.key or b"") == 64
    assert mask == open_mask(Settings(home=tmp_path))


TEXT = st.text() | st.from_regex(r'\{"user_id": "u[0-9]{4}"', fullmatch=True)


@given(st.fixed_dictionaries({}, optional={name: TEXT for name in record() if name not in {"line_number", "codes"}}))
def test_no_user_id_and_no_control_character_is_ever_shown(values: dict[str, str]) -> None:
    text = shown(**values)
    assert text == visible(text)
    assert len(text) <= LONGEST + 2
    known_only_to_one = "zq7zq8zq9"
    for column in ("event_type", "user_id", "episode_id", "timestamp", "duration", "rescued"):
        assert known_only_to_one not in shown(**values | {column: values.get(column, "") + known_only_to_one})
