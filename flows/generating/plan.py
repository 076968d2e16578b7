"""Which files there will be: their names, the time each covers, their rows, and what is odd about them."""

from dataclasses import dataclass
from datetime import timedelta

from flows.generating.calendar import DAY, Calendar
from flows.generating.options import GeneratorOptions

REGULAR, LATE = "regular", "late"
SUFFIXES = {1: ".json.gz", 4: ".json.zst", 5: ".jsonl"}  # by place in every seven files; else .json
EVERY = 7
CRLF_AT, BOM_AT, CUT_AT = 2, 4, 5  # by place in every six files
ROUND = 6
LATE_PART = 2  # a late file has as many rows as one in so many parts of a usual file


@dataclass(frozen=True)
class FilePlan:
    """One file: `role` is regular, late or the kind of bad file; times are seconds since the first day."""

    number: int
    name: str
    role: str
    begin: int
    end: int
    rows: int

    @property
    def newline(self) -> bytes:
        """The bytes that end a line."""
        return b"\r\n" if self.number % ROUND == CRLF_AT else b"\n"

    @property
    def has_bom(self) -> bool:
        """Whether the file starts with a byte order mark."""
        return self.number % ROUND == BOM_AT

    @property
    def ends_with_newline(self) -> bool:
        """Whether the last line is ended as the others are."""
        return self.number % ROUND != CUT_AT


def plan_files(options: GeneratorOptions, calendar: Calendar) -> list[FilePlan]:
    """Return the files in order of their names, with exactly the rows asked for."""
    regular = options.file_count - options.late_count
    spans = _spans(options.days, regular)
    late_rows = max(1, options.events // options.file_count // LATE_PART)
    rows = _shares(
        options.events - late_rows * options.late_count, [calendar.weight(begin, end) for begin, end in spans]
    )
    roles = _roles(options, regular)
    plans = [
        FilePlan(
            number,
            _name(options, "events", number, begin),
            roles.get(number, REGULAR),
            begin,
            end,
            rows[number],
        )
        for number, (begin, end) in enumerate(spans)
    ]
    last_day = calendar.end - DAY
    return plans + [
        FilePlan(number, _name(options, "late", number, last_day), LATE, *spans[0], late_rows)
        for number in range(regular, options.file_count)
    ]


def _name(options: GeneratorOptions, stem: str, number: int, begin: int) -> str:
    day = options.start_date + timedelta(days=begin // DAY)
    digits = max(4, len(str(options.file_count)))
    return f"{day}/{stem}-{number + 1:0{digits}d}{SUFFIXES.get(number % EVERY, '.json')}"


def _spans(days: int, files: int) -> list[tuple[int, int]]:
    """Return what each file covers: some days, or a part of one where files outnumber days."""
    if files <= days:
        return [(DAY * (n * days // files), DAY * ((n + 1) * days // files)) for n in range(files)]
    spans = []
    for day in range(days):
        parts = (day + 1) * files // days - day * files // days
        spans += [(DAY * day + DAY * n // parts, DAY * day + DAY * (n + 1) // parts) for n in range(parts)]
    return spans


def _shares(rows: int, weights: list[int]) -> list[int]:
    """Divide rows by weight, at least one to each, and exactly."""
    spare, in_all, so_far, given = rows - len(weights), sum(weights), 0, 0
    shares = []
    for weight in weights:
        so_far += weight
        due = spare * so_far // in_all
        shares.append(1 + due - given)
        given = due
    return shares


def _roles(options: GeneratorOptions, regular: int) -> dict[int, str]:
    """Spread the bad files evenly over the others; the first file is good if any is."""
    return {
        (place + 1) * regular // (options.bad_count + 1): options.bad_kinds[place % len(options.bad_kinds)]
        for place in range(options.bad_count)
    }
