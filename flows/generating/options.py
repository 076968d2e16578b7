"""What the generator can be asked for, and what it refuses."""

from dataclasses import dataclass
from datetime import date, timedelta

BAD_KINDS = ("malformed", "invalid", "unknown")

# Sessions of one listener never overlap: with more than this a day, there would be no room for them.
MOST_EVENTS_PER_USER_AND_DAY = 40
EVENTS_PER_USER = 20
FEWEST_USERS = 50
ROWS_PER_FILE = 500
FILES_FOR_A_STORY = 4  # with fewer files, none is late and none is bad unless asked for
EARLIEST_END = date(2001, 1, 1)
LATEST_END = date(2900, 1, 1)


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions:
    """How much to generate, and how dirty. Shares are from 0 to 1; None means derived from the rest.

    `events` counts the rows of all files together, blank lines aside. `dirty` is the share of rows with a
    validation code (bad files come on top); `unknown_share` the share of listening sessions by a user, and
    again the share of sessions with an episode, that the reference data lacks; `untidy_share` the share
    of rows that are valid, yet written in an unusual way. The events end with `end_date`, which has to
    be in the past when they are loaded. Raises ValueError naming every option that cannot be.
    """

    events: int
    files: int | None = None
    dirty: float = 0.03
    seed: int = 1
    days: int = 14
    end_date: date = date(2024, 1, 21)
    users: int | None = None
    podcasts: int = 10
    episodes: int = 120
    duplicate_share: float = 0.02
    further_keys_share: float = 0.01
    untidy_share: float = 0.01
    unknown_share: float = 0.01
    late_files: int | None = None
    bad_files: int | None = None
    bad_kinds: tuple[str, ...] = BAD_KINDS

    def __post_init__(self) -> None:
        problems = [*_bad_counts(self), *_bad_shares(self)] or [*_bad_relations(self)]
        if problems:
            raise ValueError("Cannot generate: " + "; ".join(problems) + ".")

    @property
    def start_date(self) -> date:
        """The first day of events."""
        return self.end_date - timedelta(days=self.days - 1)

    @property
    def file_count(self) -> int:
        """All files; by default one a day, fewer when the events are few."""
        return min(self.days, max(1, self.events // ROWS_PER_FILE)) if self.files is None else self.files

    @property
    def user_count(self) -> int:
        """The users in the reference data."""
        return max(FEWEST_USERS, self.events // EVENTS_PER_USER) if self.users is None else self.users

    @property
    def late_count(self) -> int:
        """The files that come last with events of the first days."""
        return int(self.file_count >= FILES_FOR_A_STORY) if self.late_files is None else self.late_files

    @property
    def bad_count(self) -> int:
        """The files that a gate has to stop."""
        return int(self.file_count >= FILES_FOR_A_STORY) if self.bad_files is None else self.bad_files


def _bad_counts(options: GeneratorOptions) -> list[str]:
    least = {"events": 1, "files": 1, "days": 1, "users": 1, "podcasts": 1, "episodes": 1}
    least |= {"late_files": 0, "bad_files": 0}
    return [
        f"{name} takes a whole number of {lowest} or more, not {value!r}"
        for name, lowest in least.items()
        if (value := getattr(options, name)) is not None and not (isinstance(value, int) and value >= lowest)
    ]


def _bad_shares(options: GeneratorOptions) -> list[str]:
    names = ("dirty", "duplicate_share", "further_keys_share", "untidy_share", "unknown_share")
    return [
        f"{name} takes a share from 0 to 1, not {value!r}"
        for name in names
        if not 0 <= (value := getattr(options, name)) <= 1
    ]


def _bad_relations(options: GeneratorOptions) -> list[str]:
    special = options.late_count + options.bad_count
    room = options.user_count * options.days * MOST_EVENTS_PER_USER_AND_DAY
    first_day_before_end = options.end_date.toordinal() - options.days
    checks = {
        f"files takes 1 to {options.events}, the number of events, not {options.file_count}": (
            options.file_count <= options.events
        ),
        f"late_files and bad_files take fewer than the {options.file_count} files together, not {special}": (
            special < options.file_count
        ),
        f"users takes {-(-options.events // (options.days * MOST_EVENTS_PER_USER_AND_DAY))} or more for so "
        f"many events in {options.days} days, not {options.user_count}": options.events <= room,
        f"episodes takes {options.podcasts} or more, one for each podcast, not {options.episodes}": (
            options.episodes >= options.podcasts
        ),
        f"bad_kinds takes one or more of {', '.join(BAD_KINDS)}, not {options.bad_kinds!r}": (
            bool(options.bad_kinds) and set(options.bad_kinds) <= set(BAD_KINDS)
        ),
        f"end_date takes a date from {EARLIEST_END} to {LATEST_END} with all days after 2000, not {options.end_date}": (
            EARLIEST_END <= options.end_date <= LATEST_END and first_day_before_end >= date(2000, 1, 31).toordinal()
        ),
    }
    return [problem for problem, holds in checks.items() if not holds]


# The small data set in the repository: `data/landing`, the dbt seeds, `tests/golden/sample_answers.json`.
SAMPLE = GeneratorOptions(
    events=6_000,
    files=7,
    seed=2024,
    days=7,
    end_date=date(2024, 1, 14),
    users=300,
    episodes=60,
    bad_kinds=("invalid",),
)
