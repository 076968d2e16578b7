"""What a correct pipeline has to find in the files: known because every line was written on purpose."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date

from flows.generating.dirt import CODES, MALFORMED
from flows.generating.options import GeneratorOptions
from flows.generating.sessions import KINDS, Event
from flows.generating.world import World

# The contract's defaults, in per cent of the rows, and of the valid rows for the unknown.
MOST_MALFORMED, MOST_INVALID, MOST_UNKNOWN = 5, 20, 50


@dataclass(frozen=True)
class Origin:
    """A valid line that others may repeat: its event, microseconds, and text."""

    event: Event
    micros: int
    line: bytes
    has_further_keys: bool


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """What one file was made of; `repeats_within` repeat a row of the same file, `repeats` earlier ones."""

    physical_lines: int
    codes: Counter[str]
    invalid: int
    further_keys: int
    valid: list[Event]
    repeats_within: list[Event]
    repeats: list[int]
    unknown: int


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """One file: `lines` are its rows, blank lines aside; `invalid` includes the malformed.

    `unknown` counts the valid rows with an unknown user or episode; `gate` is the one that stops the
    file, under the contract's default thresholds.
    """

    filename: str
    role: str
    lines: int
    physical_lines: int
    malformed: int
    invalid: int
    codes: Mapping[str, int]
    valid: int
    unknown: int
    further_keys: int
    status: str
    gate: str | None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All files in one run: lines = malformed + invalid + duplicates + facts + held_back."""

    files: int
    lines: int
    malformed: int
    invalid: int
    duplicates: int
    facts: int
    held_back: int
    facts_by_event_type: Mapping[str, int]
    inferred_users: int
    inferred_episodes: int
    codes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The known answers, and the options that lead to them again."""

    options: Mapping[str, object]
    files: tuple[FileAnswer, ...]
    totals: Totals

    def to_json(self) -> str:
        """Return the text of `answers.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass
class Account:
    """Adds up the files in order of their names; `origins` are lines that later files may repeat."""

    world: World
    files: list[FileAnswer] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    duplicates: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    strangers: set[int] = field(default_factory=set)
    news: set[int] = field(default_factory=set)
    _published: set[int] = field(default_factory=set)

    def add(self, name: str, role: str, content: FileContent) -> FileAnswer:
        """Count one file in, and return its answer."""
        answer = _file_answer(name, role, content)
        self.files.append(answer)
        if answer.gate is None:
            self.duplicates += len(content.repeats_within)
            self._publish(content.valid)
            for place in content.repeats:
                self._repeat(place)
        return answer

    def remember(self, origins: Iterable[Origin], *, published: bool) -> None:
        """Keep lines for later files to repeat: duplicates where published, else a key's first fact."""
        for origin in origins:
            if published:
                self._published.add(len(self.origins))
            self.origins.append(origin)

    def totals(self) -> Totals:
        """Return the sums over all files."""
        accepted = [each for each in self.files if each.gate is None]
        malformed = sum(each.malformed for each in accepted)
        codes = sum((Counter(each.codes) for each in accepted), Counter())
        return Totals(
            files=len(self.files),
            lines=sum(each.lines for each in self.files),
            malformed=malformed,
            invalid=sum(each.invalid for each in accepted) - malformed,
            duplicates=self.duplicates,
            facts=self.facts.total(),
            held_back=sum(each.lines for each in self.files if each.gate is not None),
            facts_by_event_type={kind: self.facts[kind] for kind in KINDS},
            inferred_users=len(self.strangers),
            inferred_episodes=len(self.news),
            codes={code: codes[code] for code in CODES},
        )

    def _repeat(self, place: int) -> None:
        if place in self._published:
            self.duplicates += 1
        else:
            self._published.add(place)
            self._publish([self.origins[place].event])

    def _publish(self, events: list[Event]) -> None:
        for kind, count in Counter(event[3] for event in events).items():
            self.facts[KINDS[kind]] += count
        self.strangers.update(event[1] for event in events if event[1] >= self.world.known_users)
        self.news.update(event[2] for event in events if event[2] >= self.world.known_episodes)


def answers_of(options: GeneratorOptions, account: Account) -> Answers:
    """Return the answers for all files counted in."""
    told = {key: value.isoformat() if isinstance(value, date) else value for key, value in asdict(options).items()}
    return Answers(options=told, files=tuple(account.files), totals=account.totals())


def _file_answer(name: str, role: str, content: FileContent) -> FileAnswer:
    valid = len(content.valid) + len(content.repeats_within) + len(content.repeats)
    lines, malformed = valid + content.invalid, content.codes[MALFORMED]
    gate = _failing_gate(lines, malformed, content.invalid, content.unknown)
    return FileAnswer(
        filename=name,
        role=role,
        lines=lines,
        physical_lines=content.physical_lines,
        malformed=malformed,
        invalid=content.invalid,
        codes={code: content.codes[code] for code in CODES},
        valid=valid,
        unknown=content.unknown,
        further_keys=content.further_keys,
        status="quarantined" if gate else "published",
        gate=gate,
    )


def _failing_gate(lines: int, malformed: int, invalid: int, unknown: int) -> str | None:
    """Return the first gate over its threshold; shares are compared as whole numbers, exactly."""
    if malformed * 100 > MOST_MALFORMED * lines:
        return "raw"
    if invalid * 100 > MOST_INVALID * lines:
        return "validated"
    return "cleansed" if unknown * 100 > MOST_UNKNOWN * (lines - invalid) else None
