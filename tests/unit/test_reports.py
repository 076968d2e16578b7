"""Reports: what they say, and that no file name and no value can become markup in them."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from flows import reports
from flows.domain import (
    Accounting,
    Batch,
    BatchStatus,
    ExpectationResult,
    Gate,
    HeldBack,
    RunStatus,
    RunSummary,
    Severity,
    Verdict,
    VerdictChange,
)

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NOON = datetime(2026, 6, 1, 12)  # noqa: DTZ001 - UTC without a zone, as everywhere

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<b>bold</b>",
    "</td></tr></table>",
    "<!-- comment",
    "&lt;b&gt; &amp; &#60;",
    "[link](https://example.org)",
    "[link][ref]",
    "[ref]: https://example.org",
    "![image](https://example.org/x.png)",
    "<https://example.org>",
    "https://example.org/a.json",
    "www.example.org",
    "me@example.org",
    "javascript:alert(1)",
    "**bold** __bold__ *em* _em_ ~~gone~~",
    "`code` ``code``",
    "```\nfence",
    "~~~",
    "# heading",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "1) item",
    "> quote",
    "---",
    "===",
    "a | b",
    "\\| b",
    "\\",
    "a\\",
    "\\`a",
    "|---|",
    "new\nline",
    "two\n\nparagraphs",
    "carriage\rreturn",
    "line\u2028separator\u0085next",
    "tab\tand  spaces",
    "hard break  \nhere",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x9b",
    "\u202egnp.exe\u202c \u200b\u200f\ufeff",
    "$x$ $$y$$",
    "{{ this }} {% raw %}",
    "{name} {0} %s",
    ":warning: @someone #1",
    "=cmd()",
    "'quoted' \"quoted\"",
    "caf\u00e9 \u65e5\u672c \U0001f3a7",
]
ANY_TEXT = st.text(max_size=30) | st.text("\\`*_{}[]()#+-.!|~$<>&:/@ \n\rax0", max_size=30)


def shown(text: str) -> str:
    """Text as a person is to see it: what cannot be printed by its number."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.children is None:
            yield token
        else:
            yield from flat(token.children)


def words(tokens: list[Token]) -> str:
    return "".join(token.content for token in flat(tokens) if token.type in {"text", "text_special"})


def squeezed(text: str) -> str:
    """White space at the ends is nothing in markdown."""
    return text.strip(" ")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("before", ["", "- ", "# ", "**what** "])
def test_escaped_text_is_text_wherever_it_stands(before: str, text: str) -> None:
    assert_text_only(before, text)


@hypothesis_settings(max_examples=80, deadline=None)
@given(st.sampled_from(["", "- ", "# "]), ANY_TEXT)
def test_any_escaped_text_is_text(before: str, text: str) -> None:
    assert_text_only(before, text.strip())


def assert_text_only(before: str, text: str) -> None:
    found = MARKDOWN.parse(before + reports.escape(text) + "\n")
    with_a_word = MARKDOWN.parse(before + ("word" if text.strip() else "") + "\n")
    assert [token.type for token in found] == [token.type for token in with_a_word]
    assert squeezed(words(found).removeprefix("what ")) == squeezed(shown(text))
    allowed = {"text", "text_special", "strong_open", "strong_close"}
    assert {token.type for token in flat(found) if not token.block} <= allowed


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_survives_for_a_program_that_makes_links_of_addresses(text: str) -> None:
    escaped = reports.escape(text)
    assert not re.search(r"://|\bwww\.|@[\w-]+\.", escaped)
    assert not re.search(r"[<>]", escaped)
    assert html.unescape(re.sub(r"\\(.)", r"\1", escaped)) == shown(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_code_is_one_piece_of_code(text: str) -> None:
    assert_code(text)


@hypothesis_settings(max_examples=80, deadline=None)
@given(ANY_TEXT.filter(bool))
def test_any_code_is_one_piece_of_code(text: str) -> None:
    assert_code(text)


def assert_code(text: str) -> None:
    (token,) = flat(MARKDOWN.parseInline(f"{reports.code(text)}"))
    assert token.type == "code_inline"
    expected = shown(text).replace("`", "'").replace("|", "\u00a6")
    if expected.startswith(" ") and expected.endswith(" ") and expected.strip():
        expected = expected[1:-1]  # as CommonMark has it
    assert token.content == expected


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_keeps_its_cells(text: str) -> None:
    cells = (reports.escape(text), reports.code(text), "last")
    tokens = MARKDOWN.parse(reports.markdown_table(("a", "b", "c"), [cells, cells]))
    kinds = [token.type for token in tokens]
    assert (kinds.count("table_open"), kinds.count("tr_open"), kinds.count("td_open")) == (1, 3, 6)
    rows = [token for token in tokens if token.type == "inline"][3:]
    assert squeezed(words([rows[0]])) == squeezed(shown(text))
    assert [words([rows[2]]), words([rows[5]])] == ["last", "last"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_values_leave_the_reports_as_they_are(text: str) -> None:
    """The structure of each report is that of the same report with harmless words."""
    for make in (
        gate_with, gate_without_blame_with, summary_with, evidence_with,
    ):  # fmt: skip
        found, expected = (MARKDOWN.parse(make(value)) for value in (text, "word"))
        assert [token.type for token in found] == [token.type for token in expected]
        assert not {"link_open", "image", "html_inline"} & {token.type for token in flat(found)}
        assert "html_block" not in {token.type for token in found}
        assert not re.search(r"[^\x20-\x7e\n\u00a0-\U0010ffff]", make(text))


# --- A gate -------------------------------------------------------------------------------------


def result(**changes: Any) -> ExpectationResult:
    plain = ExpectationResult(
        expectation="expect_x(y)",
        description="Most rows are valid.",
        severity=Severity.CRITICAL,
        success=True,
        observed="0 of 3 batches fail",
        threshold="at most 0.2",
    )
    return replace(plain, **changes)


FAILED = result(success=False, observed="1 of 3 batches fail")
PASSED = Verdict(Gate.VALIDATED, (result(),), judged_batches=3, judged_rows=1234)
HELD_BACK = Verdict(
    Gate.VALIDATED,
    (FAILED, replace(FAILED, batch_id="b1", observed="invalid_share 0.3")),
    failing={"b1": ("invalid_share", "Most rows are valid. Found 0.3; allowed is at most 0.2.")},
    judged_batches=3,
    judged_rows=1234,
)


def gate_with(text: str) -> str:
    hostile = result(description=text, observed=text, threshold=text, success=False)
    verdict = Verdict(Gate.RAW, (hostile, result()), failing={"b1": (text, text, "last")}, judged_batches=2)
    return reports.gate_markdown(verdict, {"b1": text})


def gate_without_blame_with(text: str) -> str:
    return reports.gate_markdown(Verdict(Gate.RAW, (FAILED,), unblamed=(text, "x")), {})


def first_line(markdown: str) -> str:
    return markdown.splitlines()[0]


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (PASSED, "# Gate validated (after bronze): passed (3 batches, 1,234 rows)"),
        (
            replace(PASSED, gate=Gate.RAW, judged_batches=1, judged_rows=1),
            "# Gate raw (after the load): passed (1 batch, 1 row)",
        ),
        (HELD_BACK, "# Gate validated (after bronze): 1 of 3 batches held back"),
        (
            Verdict(Gate.CLEANSED, (FAILED,), unblamed=("x",), failing={"b1": ("y",)}),
            "# Gate cleansed (after silver): FAILED",
        ),
        (Verdict(Gate.GOLD, ()), "# Gate gold (after gold): nothing to judge"),
        (
            replace(PASSED, results=(result(severity=Severity.WARNING, success=False),)),
            "# Gate validated (after bronze): passed (3 batches, 1,234 rows), 1 warning",
        ),
        (
            replace(PASSED, results=(result(severity=Severity.INFO, success=False),)),
            "# Gate validated (after bronze): passed (3 batches, 1,234 rows)",
        ),
    ],
)
def test_a_gate_opens_with_its_verdict(verdict: Verdict, line: str) -> None:
    assert first_line(reports.gate_markdown(verdict, {})) == line


def test_each_expectation_is_one_row_of_the_table() -> None:
    warned = result(description="Few rows.", severity=Severity.WARNING, success=False, threshold="none")
    verdict = replace(HELD_BACK, results=(*HELD_BACK.results, result(description="Other."), warned))
    rows = [line for line in reports.gate_markdown(verdict, {}).splitlines() if line.startswith("| ")]
    assert rows == [
        "| Result | Severity | Expectation | Observed | Allowed |",
        "| --- | --- | --- | --- | --- |",
        r"| **FAILED** | critical | Most rows are valid\. | 1 of 3 batches fail | at most 0\.2 |",
        r"| ok | critical | Other\. | 0 of 3 batches fail | at most 0\.2 |",
        r"| noted | warning | Few rows\. | 0 of 3 batches fail | none |",
    ]


def test_a_failing_batch_is_named_with_its_findings_and_what_to_do() -> None:
    markdown = reports.gate_markdown(HELD_BACK, {"b1": "day/a.json"})
    _, _, batch = markdown.partition("## Batches held back\n")
    assert r"### `day/a.json` (batch `b1`): invalid\_share" in batch
    assert r"- Most rows are valid\. Found 0\.3; allowed is at most 0\.2\." in batch
    for command in ("show b1", "release b1 --reason", "discard b1 --reason", "reprocess b1"):
        assert f"podcast quarantine {command}" in batch
    assert "land a corrected file under the same name" in batch


def test_a_failure_without_blame_says_that_nothing_is_published() -> None:
    markdown = reports.gate_markdown(Verdict(Gate.GOLD, (FAILED,), unblamed=("One row is one event.",)), {})
    assert "the run stops and nothing of it is published" in markdown
    assert r"- One row is one event\." in markdown


# --- A run --------------------------------------------------------------------------------------

RUN = Accounting(lines=2100, malformed=1, invalid=20, duplicates=79, facts=1000, held_back=1000)
TOTAL = Accounting(lines=5000, malformed=10, invalid=90, duplicates=900, facts=3000, held_back=1000)
SUMMARY = RunSummary(
    run_id="run",
    status=RunStatus.PASSED,
    started_at=NOON,
    finished_at=NOON,
    run=RUN,
    warehouse=TOTAL,
    published_batches=6,
)
HELD = HeldBack("b1", "day/a.json", "validated", "invalid_share", "Most rows are valid.", 1000)


def summary_with(text: str) -> str:
    return reports.summary_markdown(
        replace(
            SUMMARY,
            quarantined=(HeldBack("b1", text, "raw", text, text, 1), HELD),
            empty=(text, "x"),
            unsettled=(text, "x"),
            ignored=(text, "x"),
            refused=((text, text), ("x", "y")),
            warnings=(text, "x"),
        )
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"run": replace(RUN, held_back=0)}, "# 6 batches published, none held back"),
        ({"run": replace(RUN, held_back=1)}, "# 6 batches published, none newly held back"),
        ({"published_batches": 1, "quarantined": (HELD,)}, "# 1 batch published, 1 held back"),
        ({"status": RunStatus.NOTHING_NEW}, "# Nothing new: no file to load, no batch waiting"),
        ({"status": RunStatus.FAILED}, "# The run failed; the last published state stays"),
    ],
)
def test_a_run_opens_with_its_outcome(changes: dict[str, Any], line: str) -> None:
    assert first_line(reports.summary_markdown(replace(SUMMARY, **changes))) == line


@pytest.mark.parametrize("more", [0, 1, 2000])
def test_of_very_many_changed_verdicts_the_first_are_shown(more: int) -> None:
    count = reports.CHANGES_SHOWN + more
    changes = tuple(VerdictChange(f"b{n}", f"{n}.json", "published", "quarantined", 1, 2, 3) for n in range(count))
    summary = replace(SUMMARY, rejudged_batches=count, changes=changes)
    markdown = reports.changes_markdown(summary)
    assert f"{count:,} verdicts and {3 * count:,} rows changed" in first_line(markdown)
    assert len(re.findall(r"\d\.json", markdown)) == len(reports.change_rows(summary)) == reports.CHANGES_SHOWN
    assert (f"... and {more:,} more; all are in ops.revalidations" in markdown) == bool(more)


def test_the_lines_of_a_run_add_up() -> None:
    rows = reports.accounting_rows(RUN)
    *kinds, (label, total) = rows
    assert label == "all lines"
    assert sum(count for _, count in kinds) == total == RUN.lines
    assert len(kinds) == len(Accounting.__dataclass_fields__) - 1
    markdown = reports.summary_markdown(SUMMARY)
    assert "## Every line is accounted for" in markdown
    assert "| duplicate | 79 | 900 |" in markdown
    assert "| all lines | 2,100 | 5,000 |" in markdown


@pytest.mark.parametrize("field", list(Accounting.__dataclass_fields__))
def test_lines_that_do_not_add_up_are_seen(field: str) -> None:
    assert RUN.reconciles
    assert not replace(RUN, **{field: getattr(RUN, field) + 1}).reconciles


def test_a_run_that_passed_nothing_claims_no_accounting() -> None:
    markdown = reports.summary_markdown(replace(SUMMARY, status=RunStatus.FAILED))
    assert "accounted for" not in markdown


def test_what_was_held_back_comes_first_and_no_list_is_endless() -> None:
    many = tuple(f"{n}.json" for n in range(reports.SHOWN + 3))
    markdown = reports.summary_markdown(
        replace(SUMMARY, quarantined=(HELD,) * len(many), missing=many, ignored=many, unsettled=many)
    )
    headings = [line for line in markdown.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## Held back", "## Every line is accounted for"]
    assert markdown.count("podcast quarantine show b1") == reports.SHOWN
    assert markdown.count("- ... and 3 more") == 2
    assert "| ... and 6 more |  |" in markdown
    assert "`49.json`" in markdown
    assert "`50.json`" not in markdown


def test_what_was_held_back_and_what_was_not_loaded_is_named() -> None:
    markdown = reports.summary_markdown(
        replace(
            SUMMARY,
            quarantined=(HELD,),
            empty=("empty.json",),
            unsettled=("growing.json",),
            ignored=("notes.txt",),
            refused=(("link.json", "is a link"),),
            warnings=("a.json: Few rows.",),
        )
    )
    held = (
        r"- `day/a.json` (1,000 lines) by gate validated: **invalid\_share**. Most rows are valid\. "
        "What to do: `podcast quarantine show b1`"
    )
    for line in (
        held,
        "- `empty.json`",
        "| `link.json` | is a link |",
        "| `growing.json` | still being written; the next run looks again |",
        "| `notes.txt` | not an event file (.json, .ndjson, .jsonl, plain or .gz or .zst) |",
        r"- a\.json: Few rows\.",
    ):
        assert line in markdown.splitlines()


def test_sections_without_content_are_left_out() -> None:
    headings = [line for line in reports.summary_markdown(SUMMARY).splitlines() if line.startswith("## ")]
    assert headings == ["## Every line is accounted for"]


# --- Quarantine ---------------------------------------------------------------------------------

BATCH = Batch(
    batch_id="b1", filename="day/a.json", attempt=2, content_hash="c", size_bytes=1, fingerprint="f",
    status=BatchStatus.QUARANTINED, gate="raw", reason="malformed_share", detail="Most lines.", decision=None,
    decided_by=None, row_count=1000, malformed_count=1, invalid_count=None, mutates=None, pending=False,
    run_id="run", load_at=NOON, updated_at=NOON,
)  # fmt: skip


def evidence_with(text: str) -> str:
    return reports.evidence_markdown(replace(BATCH, filename=text), gate="raw", reasons=(text, text, "last"))


def test_quarantine_rows_all_have_all_columns() -> None:
    bare = replace(BATCH, gate=None, reason=None, detail=None, row_count=0)
    rows = reports.quarantine_rows([BATCH, bare])
    assert [list(row) for row in rows] == [list(rows[0])] * 2
    assert rows[0] == {
        "batch": "b1",
        "file": r"day/a\.json",
        "gate": "raw",
        "reason": "malformed_share",
        "found": r"Most lines\.",
        "rows": 1000,
        "loaded at (UTC)": "2026-06-01 12:00:00",
        "next": "podcast quarantine show b1",
    }
    assert (rows[1]["gate"], rows[1]["reason"], rows[1]["found"]) == ("", "", "")


def test_evidence_names_batch_gate_findings_and_lines() -> None:
    markdown = reports.evidence_markdown(BATCH, gate="raw", reasons=("malformed_share", "First.", "Second."))
    assert first_line(markdown) == r"# `day/a.json`: malformed\_share"
    assert "Batch `b1`, attempt 2, 1,000 lines, loaded at 2026-06-01 12:00:00 UTC, held back by gate raw." in markdown
    assert "- First\\.\n- Second\\.\n" in markdown
    assert "failing_lines.jsonl" in markdown
    assert "podcast quarantine release b1" in markdown


def test_evidence_of_a_batch_without_rows_names_no_lines() -> None:
    markdown = reports.evidence_markdown(replace(BATCH, row_count=0), gate="load", reasons=("unreadable_file",))
    assert "failing_lines" not in markdown
