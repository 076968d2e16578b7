"""Generates a landing directory, its reference data, and the answers that a correct pipeline finds."""

import gzip
from io import BytesIO
from pathlib import Path

from flows.generating.answers import Account, Answers, Origin, answers_of
from flows.generating.calendar import Calendar
from flows.generating.composing import Composed, Composer
from flows.generating.lines import Script
from flows.generating.mixing import Mix, Mixer
from flows.generating.options import GeneratorOptions
from flows.generating.plan import LATE, REGULAR, FilePlan, plan_files
from flows.generating.randomness import stream
from flows.generating.sessions import MOST_ROWS, Event, Listening, Unknown, take
from flows.generating.world import build_world

BOM = b"\xef\xbb\xbf"
EARLY_PART = 4  # late events come from the good ones in the first of so many parts of the files
UNKNOWN_FILE_SHARE = 0.9  # of the sessions in a file that is bad for its unknown users
SMALL_FILE = 200  # rows; in fewer, every session is by an unknown user, to be sure
MOST_UNKNOWN_PER_CENT = 40  # of a good file's rows, lest chance decides about the gate
GZIP_LEVEL = 6


def generate(options: GeneratorOptions, out: Path) -> Answers:
    """Write `landing/`, `seeds/` and `answers.json` under a directory, and return the answers.

    The same options give the same bytes (of compressed files: the same content). One file is in memory
    at a time. Raises FileExistsError if there is a landing directory with files already.
    """
    landing = out / "landing"
    if any(path.is_file() for path in landing.rglob("*")):
        raise FileExistsError(
            f"{landing} already has files, and theirs would no longer be the known answers; "
            "choose another directory, or remove this one first."
        )
    work = _Generation(options)
    for plan in work.plans:
        _write_file(landing / plan.name, plan, work.next_file(plan).lines)
    _write_text(out / "seeds" / "users.csv", work.world.users_csv())
    _write_text(out / "seeds" / "episodes.csv", work.world.episodes_csv())
    answers = answers_of(options, work.account)
    _write_text(out / "answers.json", answers.to_json())
    return answers


class _Generation:
    """What has been made so far, and what the next file needs to know of it."""

    def __init__(self, options: GeneratorOptions) -> None:
        self.options = options
        self.world = build_world(options)
        self._calendar = Calendar(options, self.world)
        self.plans = plan_files(options, self._calendar)
        self.account = Account(self.world)
        self._script = Script(self.world, options.start_date)
        self._listening = Listening(self.world, self._calendar)
        self._mixer = Mixer(options)
        self._held: list[Event] = []  # for the late files, as is the next
        self._early: list[Origin] = []
        self._late_rows = [plan.rows for plan in self.plans if plan.role == LATE]
        self._held_rows = sum(self._late_rows)
        first = max(1, (len(self.plans) - len(self._late_rows)) // EARLY_PART)
        self._sources = {plan.number for plan in self.plans[:first] if plan.role == REGULAR}

    def next_file(self, plan: FilePlan) -> Composed:
        """Compose the file whose turn it is, and count it in."""
        rng = stream(self.options.seed, "file", plan.number)
        earlier = self._early if plan.role == LATE else self.account.origins
        mix = self._mixer.mix(plan, len(earlier))
        events = sorted(self._events(plan, mix))
        composed = Composer(self.world, self._script, rng, mix, events, earlier).compose()
        answer = self.account.add(plan.name, plan.role, composed.content)
        self.account.remember(composed.origins, published=answer.gate is None)
        if plan.number in self._sources:
            self._early = [*self.account.origins]
        return composed

    def _events(self, plan: FilePlan, mix: Mix) -> list[Event]:
        """Return new events; the first files make more, and keep those back for the late ones."""
        rows = mix.events(plan.rows)
        if plan.role == LATE:
            events, self._held = self._held[:rows], self._held[rows:]
            return events
        rng = stream(self.options.seed, "sessions", plan.number)
        late = -(-self._held_rows // len(self._sources)) if plan.number in self._sources else 0
        sessions = self._listening.sessions(rng, (plan.begin, plan.end), rows + late, self._unknown(plan))
        events = take(sessions, rows + late)
        self._held += events[rows:]
        return events[:rows]

    def _unknown(self, plan: FilePlan) -> Unknown:
        """Return how much of a file's sessions is unknown; good files, however small, stay passable."""
        share = self.options.unknown_share
        if plan.role == "unknown":
            return Unknown(UNKNOWN_FILE_SHARE if plan.rows >= SMALL_FILE else 1, share, 2 * plan.rows + MOST_ROWS)
        smallest = min([plan.rows, *self._late_rows]) if plan.number in self._sources else plan.rows
        return Unknown(share, share, smallest * MOST_UNKNOWN_PER_CENT // 100)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _write_file(path: Path, plan: FilePlan, lines: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (BOM if plan.has_bom else b"") + plan.newline.join(lines)
    path.write_bytes(_packed(path.suffix, content + (plan.newline if plan.ends_with_newline else b"")))


def _packed(suffix: str, content: bytes) -> bytes:
    """Return the content as a file of this suffix holds it: no name and no time of packing."""
    if suffix == ".gz":
        packed = BytesIO()
        with gzip.GzipFile("", "wb", GZIP_LEVEL, packed, mtime=0) as file:
            file.write(content)
        return packed.getvalue()
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor().compress(content)
    return content
