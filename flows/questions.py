"""Questions to the published copy: what can be asked, and the answer, by the SQL of the models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from flows import faults, history, masking, transform
from flows.errors import PipelineError, SettingsError
from flows.warehouse import CONFIGURATION, can_be_opened, read_dicts

if TYPE_CHECKING:
    import duckdb

    from flows.settings import Settings

USER = "user_id"
"""The column whose values are masked, whatever the question."""

CHOOSING = {"episode": "episode_id", "user": USER}
"""Options that choose rows by a column."""


@dataclass(frozen=True)
class Question:
    """One question: the model that answers it, the order of its rows, and the options it takes.

    `--end` and `--days` choose rows by `event_date`, or, where it `is_recomputed`, are variables of the model.
    """

    name: str
    model: str
    text: str
    order_by: str
    options: tuple[str, ...] = ()
    is_recomputed: bool = False


QUESTIONS = (
    Question(
        "top-completed",
        "top_completed_episodes",
        "The ten most completed episodes of the window.",
        "completion_count desc, episode_id",
        ("end", "days"),
        is_recomputed=True,
    ),
    Question(
        "listen-through",
        "listen_through_by_country",
        "How far completions get through their episode, by the listener's country.",
        "country",
    ),
    Question(
        "multi-episode",
        "multi_episode_listeners_daily",
        "Listeners of three or more different episodes, by day.",
        "event_date",
        ("end", "days"),
    ),
    Question(
        "episode-daily",
        "episode_daily",
        "Starts, listens, completions, listeners and hours of an episode on a day; the newest days first.",
        "event_date desc, episode_id",
        ("end", "days", "episode", "limit"),
    ),
    Question(
        "listener-daily",
        "listener_daily",
        "Episodes, podcasts, listens and hours of a listener on a day; the newest days first.",
        "event_date desc, user_id",
        ("end", "days", "user", "limit"),
    ),
    Question(
        "episode-listen-through",
        "episode_listen_through",
        "How far listens get through each episode.",
        "episode_id",
        ("episode",),
    ),
    Question(
        "country-listen-through",
        "country_listen_through",
        "How far completions and listens get through their episode, by country, unknown ones included.",
        "is_unknown, country",
    ),
    Question(
        "release-curve",
        "episode_release_curve",
        "Listeners of an episode 1, 3, 7, 30 and 60 days after its release, and against the median of its podcast.",
        "episode_id, days_since_release",
        ("end", "episode"),
        is_recomputed=True,
    ),
    Question(
        "cohort-retention",
        "listener_cohort_retention",
        "Of the listeners who began in one week, how many listen in each week after it.",
        "cohort_week, week_number",
        ("end",),
        is_recomputed=True,
    ),
    Question(
        "transitions",
        "episode_transitions",
        "Of the listeners of an episode, how many go on to another of its podcast within 7 days.",
        "podcast_id, episode_id",
        ("end", "episode"),
        is_recomputed=True,
    ),
)


@dataclass(frozen=True)
class Asked:
    """What was given with a question; None where nothing was."""

    end: date | None = None
    days: int | None = None
    episode: str | None = None
    user: str | None = None
    limit: int | None = None

    @property
    def has_window(self) -> bool:
        """Whether anything was said about the time."""
        return self.end is not None or self.days is not None


@dataclass(frozen=True)
class Window:
    """Days (UTC) from `start`, included, to `end`, excluded; without a start from the first one."""

    start: date | None
    end: date

    def __str__(self) -> str:
        """The window in words."""
        start = f"from {self.start} " if self.start else ""
        return f"{start}up to and without {self.end} (UTC)"


@dataclass(frozen=True)
class Answer:
    """The rows as they may be shown, and the window they are of, if they are of one that is known."""

    question: Question
    window: Window | None
    rows: Sequence[Mapping[str, Any]]
    left_out: int = 0
    is_masked: bool = False

    def document(self) -> dict[str, Any]:
        """The answer for a program; where rows may be left out, how many were."""
        window = {"start": self.window.start, "end": self.window.end} if self.window else None
        left_out = {"left_out": self.left_out} if "limit" in self.question.options else {}
        return {"question": self.question.name, "window": window, "rows": self.rows} | left_out


def window_before(end: date, days: int) -> Window:
    """So many days that end before a day. Raises `SettingsError` where the calendar does not reach that far."""
    try:
        return Window(end - timedelta(days=days), end)
    except OverflowError:
        raise SettingsError(f"{days:,} days before {end} is before the year 1; give fewer days.") from None


def answer(settings: Settings, question: Question, asked: Asked) -> Answer:
    """Answer by what is published; it is only read, and neither waits for a run nor keeps one waiting.

    Raises `PipelineError` when nothing is published yet, or by an earlier version that did not know the question.
    """
    given = {"analysis_end_date": asked.end, "window_days": asked.days}
    effective = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    with _published(settings) as connection:
        window = _window(settings, effective, question, asked, connection)
        sql = f"select * from podcast.gold.{question.model}"
        if question.is_recomputed and asked.has_window:
            sql = transform.compile_model(settings, question.model, effective.dbt_vars())
        with _known(question):
            rows, left_out = _rows(connection, question, asked, window, sql)
    return _as_shown(settings, Answer(question, window, rows, left_out))


def _window(
    settings: Settings, effective: Settings, question: Question, asked: Asked, connection: duckdb.DuckDBPyConnection
) -> Window | None:
    """The window of the answer; of a published one only if it was made with the settings of today."""
    if not asked.has_window and not (
        question.is_recomputed and history.last_inputs_hash(connection) == settings.inputs_hash()
    ):
        return None
    end = effective.analysis_end_date or _day_after_newest(connection)
    if end is None:
        return None
    return window_before(end, effective.window_days) if "days" in question.options else Window(None, end)


def _day_after_newest(connection: duckdb.DuckDBPyConnection) -> date | None:
    """The end that the models take where none is set; None where there is no event."""
    (newest,) = connection.execute("select max(event_date) from gold.fact_user_interactions").fetchone() or (None,)
    return newest + timedelta(days=1) if newest else None


def _rows(
    connection: duckdb.DuckDBPyConnection, question: Question, asked: Asked, window: Window | None, sql: str
) -> tuple[list[dict[str, Any]], int]:
    """The chosen rows in their order, and how many more there are."""
    given = {column: getattr(asked, name) for name, column in CHOOSING.items()}
    conditions = {f"{column} = ?": value for column, value in given.items() if value is not None}
    if window and not question.is_recomputed:
        conditions |= {"event_date >= ?": window.start, "event_date < ?": window.end}
    where = f"where {' and '.join(conditions)}" if conditions else ""
    chosen, values = f"from (\n{sql}\n) as answer {where}", list(conditions.values())
    rows = read_dicts(connection, f"select * {chosen} order by {question.order_by} limit ?", [*values, asked.limit])
    if asked.limit is None:
        return rows, 0
    (total,) = connection.execute(f"select count(*) {chosen}", values).fetchone() or (0,)
    return rows, total - len(rows)


@contextmanager
def _known(question: Question) -> Iterator[None]:
    """Tell of tables that the published copy lacks, or has otherwise."""
    import duckdb

    try:
        yield
    except (duckdb.CatalogException, duckdb.BinderException):
        raise PipelineError(
            f"What is published cannot answer {question.name}: it was made by an earlier version of this program, "
            f"without gold.{question.model} as it is now. Make it anew: podcast run"
        ) from None


@contextmanager
def _published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published copy, to read only, under the name that the working database has in the models' SQL."""
    import duckdb

    path = settings.published_path
    if not path.exists():
        raise PipelineError(f"Nothing is published under {settings.home} yet. Start with: podcast run")
    if not can_be_opened(path):
        raise faults.damaged_copy(settings)
    with duckdb.connect(config=CONFIGURATION) as connection:
        _prepare(settings, connection)
        try:
            yield connection
        except duckdb.Error as error:
            raise (faults.damaged_copy(settings) if faults.DAMAGED.search(f"{error}") else error) from None


def _prepare(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Attach the copy; what does not fit into the memory goes below dbt's folder, and is gone afterwards."""
    folder = transform.dbt_dir(settings) / "ask"
    with suppress(OSError):  # who may only read can still ask for what fits
        folder.mkdir(parents=True, exist_ok=True)
    paths = (settings.published_path, folder / f"spill-{os.getpid()}")
    path, spill = (str(path).replace("'", "''") for path in paths)
    for statement in (
        f"set temp_directory = '{spill}'",
        f"set memory_limit = '{settings.memory_limit}'",
        "set TimeZone = 'UTC'",
        "set enable_progress_bar = false",
        f"attach '{path}' as {settings.warehouse_path.stem} (read_only)",
        f"use {settings.warehouse_path.stem}",
    ):
        connection.execute(statement)


def _as_shown(settings: Settings, found: Answer) -> Answer:
    """The answer with user ids as the settings ask for them."""
    if not found.rows or USER not in found.rows[0]:
        return found
    mask = masking.open_mask(settings)
    rows = [row | {USER: mask.user_id(row[USER])} for row in map(dict, found.rows)]
    return Answer(found.question, found.window, rows, found.left_out, is_masked=mask.key is not None)
