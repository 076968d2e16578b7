"""Whatever happens, in whatever order: after each step the tables equal the model's and the lines add up.

`make test-long` goes further: more histories, longer ones, and other ones each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from comparison import assert_history_equals, snapshot, write_reference_data
from histories import DECIDABLE, IN_FORCE, Attempt, History
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from oracle import Rules, Thresholds
from strategies import EPISODES, USERS, file_content

from flows import checkpoints, ledger, publish, quarantine, retention, transform
from flows.decisions import discard_batches, release_batches, reprocess_batches, revalidate_batches
from flows.domain import RunStatus
from flows.errors import LedgerError
from flows.pipeline import podcast_pipeline
from flows.settings import load_settings
from flows.site import build as site
from flows.warehouse import connect, writer_lock

NAMES = ("a.json", "day/b.ndjson", "c.jsonl.gz", "d.json.zst", "[x]*?.json", "ü/é.json", "z/copy.json")
RULES = (
    ({}, Rules(), Thresholds()),
    ({"max_invalid_share": 0.5}, Rules(), Thresholds(max_invalid_share=Fraction("0.5"))),
    ({"max_duration_seconds": 100}, Rules(max_duration_seconds=100), Thresholds()),
    ({"max_malformed_share": 0}, Rules(), Thresholds(max_malformed_share=Fraction(0))),
)
POINTS = (
    (ledger, "record", 1),
    (transform, "build_reference", 1),
    *((transform, "build_layer", layer) for layer in (1, 2, 3, 4)),
    *((checkpoints, "validate", gate) for gate in (1, 2, 3, 4)),
    (quarantine, "hold_back", 1),
    (publish, "_copy_tables", 1),
    (publish, "_settle", 1),
    (publish, "_replace", 1),
    (publish, "_settle", 2),
    (site, "build", 1),
)
"""Functions of the pipeline with the number of their call, before or after which a run is torn off."""

seeds = st.integers(0, 2**32)
pick_any = st.integers(0, 2**16)


class Torn(BaseException):
    """Ends a run as the end of its process would, as far as that is possible within one."""


@contextmanager
def torn(module: Any, name: str, call: int, *, after: bool) -> Iterator[None]:
    """Raise `Torn` before or after a call of a function."""
    real: Callable[..., Any] = getattr(module, name)
    calls = 0

    def tear(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Torn
        result = real(*args, **kwargs)
        if calls == call:
            raise Torn
        return result

    setattr(module, name, tear)
    try:
        yield
    finally:
        setattr(module, name, real)


class Recovery(RuleBasedStateMachine):
    """One home, everything that can happen to it, and the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="recovery-"))
        self.landing = self.home / "landing"
        self.landing.mkdir()
        seeds_dir = write_reference_data(self.home / "seeds", USERS[:-2], EPISODES[:-2])
        self._set(home=self.home, seeds=seeds_dir, settle_seconds=0)
        self.history = History(list(USERS[:-2]), list(EPISODES[:-2]))
        self.files: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.home)
        for name in [name for name in os.environ if name.startswith("PODCAST_")]:
            del os.environ[name]

    # What lands

    @initialize(seed=seeds)
    def first_files(self, seed: int) -> None:
        for number, name in enumerate(NAMES[:3]):
            self._land(name, file_content(name, seed + number))

    @rule(name=st.sampled_from(NAMES), seed=seeds)
    def a_file_lands_or_changes(self, name: str, seed: int) -> None:
        self._land(name, file_content(name, seed))

    @precondition(lambda self: "a.json" in self.files)
    @rule()
    def the_same_content_lands_under_another_name(self) -> None:
        self._land("z/copy.json", self.files["a.json"])

    @precondition(lambda self: self.files)
    @rule(index=pick_any)
    def a_file_is_taken_away(self, index: int) -> None:
        name = sorted(self.files)[index % len(self.files)]
        (self.landing / name).unlink()
        del self.files[name]

    @rule(
        index=pick_any,
        podcast_id=st.sampled_from(("p1", "p2", None)),
        release_date=st.sampled_from((date(2025, 12, 31), date(2026, 1, 1), None)),
        seconds=st.sampled_from((None, 0, 50, 1800)),
    )
    def an_episode_is_described_otherwise(
        self, index: int, podcast_id: str | None, release_date: date | None, seconds: int | None
    ) -> None:
        """Taken up by whatever runs next; batches are judged by ids, which stay."""
        episodes = self.history.episodes
        episode_id, _, title, _, _ = episodes[index % len(episodes)]
        episodes[index % len(episodes)] = (episode_id, podcast_id, title, release_date, seconds)
        write_reference_data(self.home / "seeds", USERS[:-2], episodes)

    # What is done

    @rule()
    def run(self) -> None:
        summary = podcast_pipeline()
        new = self._take_up_landed()
        assert summary.status in (RunStatus.PASSED, RunStatus.NOTHING_NEW)
        assert new == 0 or summary.status is RunStatus.PASSED
        self._check()

    @rule(points=st.lists(st.tuples(st.sampled_from(POINTS), st.booleans()), min_size=1, max_size=2))
    def runs_are_torn_off_and_then_one_ends(self, points: list[tuple[Any, bool]]) -> None:
        published = self._published()
        for (module, name, call), after in points:
            try:
                with torn(module, name, call, after=after):
                    podcast_pipeline()
            except Torn:
                is_public = (name, call) == ("_settle", 2) or (name == "_replace" and after) or name == "build"
                assert is_public or self._published() == published
            published = self._published()
        # A run that never came to its point has ended, and one that was torn off late has published: this one may
        # find nothing to do.
        podcast_pipeline()
        self._take_up_landed()
        self._check()

    @precondition(lambda self: self._releasable())
    @rule(index=pick_any, by_day=st.booleans())
    def release(self, index: int, *, by_day: bool) -> None:
        attempt = self._releasable()[index % len(self._releasable())]
        day = attempt.load_at.date() if by_day else None
        release_batches("looked at", [attempt.filename], arrived_before=day and date(9999, 1, 1))
        self.history.release(attempt)
        self._check()

    @precondition(lambda self: self.history.latest(*DECIDABLE))
    @rule(index=pick_any)
    def discard(self, index: int) -> None:
        candidates = self.history.latest(*DECIDABLE)
        attempt = candidates[index % len(candidates)]
        discard_batches("not ours", [attempt.filename])
        self.history.discard(attempt)
        self._check()

    @precondition(lambda self: self._readable())
    @rule(index=pick_any)
    def reprocess(self, index: int) -> None:
        attempt = self._readable()[index % len(self._readable())]
        reprocess_batches([attempt.filename])
        self._take_up([attempt.filename], is_asked_for=True)
        self._check()

    @rule(number=st.integers(0, len(RULES) - 1))
    def rules_change_and_all_is_judged_again(self, number: int) -> None:
        changed, rules, thresholds = RULES[number]
        for name in {name for values, _, _ in RULES for name in values}:
            os.environ.pop(f"PODCAST_{name.upper()}", None)
        self._set(**changed)
        before = {(a.filename, a.number): a.status for a in self.history.all_attempts()}
        revalidate_batches()
        self.history.rules, self.history.thresholds = rules, thresholds
        self.history.revalidate()
        self._check()
        assert set(before) == {(a.filename, a.number) for a in self.history.all_attempts()}

    @rule()
    def full_refresh(self) -> None:
        podcast_pipeline(full_refresh=True)
        self._take_up_landed()
        self._check()

    @rule()
    def prune(self) -> None:
        self._set(keep_raw_days=0, keep_evidence_days=0, keep_results_days=0)
        settings = load_settings()
        with writer_lock(settings, purpose="test"), connect(settings) as connection:
            retention.prune(settings, connection)
        for name in ("keep_raw_days", "keep_evidence_days", "keep_results_days"):
            del os.environ[f"PODCAST_{name.upper()}"]

    @rule()
    def a_decision_on_nothing_changes_nothing(self) -> None:
        before = self._published()
        with pytest.raises(LedgerError):
            discard_batches("x", filename_pattern="no such file")
        assert self._published() == before

    # How it is followed

    def _set(self, **values: object) -> None:
        os.environ.update({f"PODCAST_{name.upper()}": str(value) for name, value in values.items()})

    def _land(self, name: str, content: bytes) -> None:
        path = self.landing / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.files[name] = content

    def _take_up_landed(self) -> int:
        new = [name for name, content in sorted(self.files.items()) if self.history.expects_attempt(name, content)]
        self._take_up(new)
        return len(new)

    def _take_up(self, names: list[str], *, is_asked_for: bool = False) -> None:
        settings = load_settings()
        with connect(settings) as connection:
            loaded = {name: past[-1].load_at for name, past in ledger.attempts(connection, names).items()}
        for name in names:
            self.history.load(name, self.files[name], loaded[name], is_asked_for=is_asked_for)

    def _releasable(self) -> list[Attempt]:
        return [a for a in self.history.latest("quarantined") if a.lines()]

    def _readable(self) -> list[Attempt]:
        everything = self.history.latest("quarantined", "discarded", "empty", *IN_FORCE)
        return [a for a in everything if a.filename in self.files]

    def _published(self) -> Any:
        path = load_settings().published_path
        return snapshot(path) if path.exists() else None

    def _check(self) -> None:
        assert_history_equals(self.home, self.history)


def test_any_history_gives_the_same_tables(prefect: None) -> None:  # noqa: ARG001 - the server that flows need
    is_long = settings.get_current_profile_name() == "long"
    short = settings(max_examples=4, stateful_step_count=8, derandomize=True, phases=[Phase.generate])
    run_state_machine_as_test(
        Recovery,
        settings=settings(
            settings() if is_long else short,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
