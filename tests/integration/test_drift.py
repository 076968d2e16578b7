"""What is unlike the batches before, or hard to believe, is reported with a warning, and published all the same."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from comparison import assert_tables_equal, expected_world, write_reference_data

from flows import ledger
from flows.domain import Batch, BatchStatus
from flows.settings import load_settings
from flows.warehouse import connect, utc_now, writer_lock

if TYPE_CHECKING:
    from conftest import Home

USERS = [(f"u{n}", None, "NO") for n in range(30)]
EPISODES = [("e1", "p1", "One", None, 1000), ("e2", "p1", "Two", None, 2000), ("e3", "p2", "Three", None, None)]
HOSTILE = ("\u202e<img src=x onerror=alert(1)>", "[red]|*a*", "\x1b[31m", "k" * 500)


def event(second: int, kind: str, *, user: int, episode: str = "e1", day: int = 8, **more: Any) -> str:
    minute, second = divmod(second, 60)
    return json.dumps(
        {
            "event_type": kind,
            "user_id": f"u{user}",
            "episode_id": episode,
            "timestamp": f"2024-01-{day:02}T10:{minute:02}:{second:02}Z",
            "duration": 900 if kind in ("play", "complete") else None,
        }
        | more
    )


def batch(day: int, *, listeners: int = 20, **more: Any) -> list[str]:
    """A usual batch: each listener plays, pauses, seeks and completes an episode."""
    kinds = ("play", "pause", "seek", "complete")
    return [
        event(4 * user + place, kind, user=user % 30, day=day, **more)
        for user in range(listeners)
        for place, kind in enumerate(kinds)
    ]


USUAL = {f"usual/{day:02}.json": batch(day, listeners=20 + day % 3, app="1.0") for day in range(1, 15)}
STRANGE = {
    "x/1-volume.json": batch(15, listeners=200),
    "x/2-types.json": [event(n, "seek", user=n % 30, day=16) for n in range(80)],
    "x/3-keys.json": [*batch(17), event(0, "play", user=1, day=18, **dict.fromkeys(HOSTILE, 1))],
    "x/4-overlong.json": [
        *batch(19, listeners=17),
        *(event(n, "play", user=n, day=20, duration=1101) for n in range(6)),
        *(event(n, "play", user=n, day=20, episode="e3", duration=9000) for n in range(6)),
    ],
    "x/5-unplayed.json": [
        *batch(21, listeners=10),
        *(event(n, "complete", user=n, episode="e2", day=21) for n in range(10)),
        *(event(n, kind, user=n, day=22) for n in range(10) for kind in ("play", "pause", "seek")),
    ],
    "x/6-hours.json": [
        *batch(23),
        *(event(n, "play", user=29, episode="e3", duration=30_000, day=24) for n in range(3)),
    ],
}


def content(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


LANDING = {name: content(lines) for name, lines in (USUAL | STRANGE).items()}


@pytest.fixture
def landed(home: Home) -> Home:
    home.set(seeds=write_reference_data(home.path / "seeds", USERS, EPISODES))
    home.land(LANDING)
    return home


def arrivals(folder: str, count: int, *, hours: float, ago: float) -> list[Batch]:
    """Empty files that came every so many hours, the last of them so many hours ago, as the ledger knows them."""
    last = utc_now() - timedelta(hours=ago)
    return [
        Batch(
            batch_id=f"{folder}{number}", filename=f"{folder}/{number}.json", attempt=1, content_hash=f"{number}",
            size_bytes=0, fingerprint="", status=BatchStatus.EMPTY, gate=None, reason=None, detail=None, decision=None,
            decided_by=None, row_count=0, malformed_count=0, invalid_count=0, mutates=None, pending=False,
            run_id=f"run {number}", load_at=last - timedelta(hours=hours * number), updated_at=last,
        )
        for number in range(count)
    ]  # fmt: skip


def test_what_is_strange_is_reported_and_published(landed: Home) -> None:
    summary = landed.run()

    assert summary.quarantined == ()
    assert_tables_equal(
        landed.path, expected_world(landed.path / "warehouse" / "podcast.duckdb", LANDING, USERS, EPISODES)
    )
    found = {warning.split(": ")[0]: warning for warning in summary.warnings}
    assert len(summary.warnings) == len(found), summary.warnings
    assert set(found) == set(STRANGE)
    for name, pattern in {
        "x/1-volume.json": r"about as many lines .* volume_score \S+, lines 800, usual_lines 84, at most 6 is fine",
        "x/2-types.json": r"same shares .* most_changed_type seek, most_changed_share 1, usual_share 0.25, at most 6",
        "x/3-keys.json": r"no JSON key that no earlier batch had. Found new_keys 4, new_key_names ",
        "x/4-overlong.json": r"longer than their episode. Found overlong_share 0.15, overlong_listens 6, at most 0.1",
        "x/5-unplayed.json": r"completions_without_play 10, completes 20, usual_unplayed_share 0, at most 6 is fine",
        "x/6-hours.json": r"longer than a day lasts. Found most_hours_in_a_day 25, at most 24 is fine",
    }.items():
        assert re.search(pattern, found[name]), found[name]

    # Of the first ten batches only what needs no history is judged.
    assert landed.query("select count(*) from ops.batch_drift where volume_score is null") == [(10,)]
    critical = "select count(*) from ops.validation_results where not success and severity = 'critical'"
    assert landed.query(critical, published=True) == [(0,)]

    # Names of keys are data: cut, visible, and no markup anywhere.
    assert found["x/3-keys.json"].isprintable()
    assert len(found["x/3-keys.json"]) < 500
    keys = landed.query("select key, first_filename from ops.event_keys order by length(key), key", published=True)
    assert dict(keys) == {"app": "usual/01.json"} | dict.fromkeys([k[:200] for k in HOSTILE], "x/3-keys.json")
    pages = [path.read_text(errors="replace") for path in (landed.path / "site").rglob("*.html")]
    assert pages
    assert [page for page in pages if "<img src=x" in page or "\u202e" in page] == []

    # A source that went quiet is no batch's fault, and one that comes as usual, or seldom came, is none.
    settings = load_settings()
    with writer_lock(settings, purpose="test"), connect(settings) as connection:
        ledger.enter(connection, arrivals("quiet<b>", 12, hours=2, ago=30))
        ledger.enter(connection, arrivals("usual2", 12, hours=2, ago=2))
        ledger.enter(connection, arrivals("seldom", 9, hours=2, ago=100))
        ledger.enter(connection, arrivals("ended", 12, hours=2, ago=1000))
    landed.land({"usual/15.json": content(batch(25, listeners=21, app="1.1"))})
    summary = landed.run()
    (warning,) = summary.warnings
    assert re.fullmatch(
        r"No source has been quiet for much longer than is usual for it\. Found 1 of 11 sources fail: "
        r"quiet<b>/#\.json \(15(\.\d+)?\), at most 4 is fine\.",
        warning,
    )
    assert landed.query(
        "select distinct source from ops.sources where silence_ratio > 4 order by 1", published=True
    ) == [("ended/#.json",), ("quiet<b>/#.json",)]
    assert landed.query(
        "select new_keys, plays from ops.batch_profiles where lines = 84 and load_at = "
        "(select max(load_at) from ops.batches)",
        published=True,
    ) == [(0, 21)]
    assert landed.query("select sum(empty_batches) from gold.quality_daily", published=True) == [(45,)]
