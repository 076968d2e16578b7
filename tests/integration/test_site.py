"""The site of real runs: what it says, what it keeps, and what does not come onto it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import comparison
import duckdb
import pytest
from browser import DESK, PHONE, Browser, barriers, dead_links, too_wide
from conftest import Home
from hostile import FRAGMENTS
from markdown_it import MarkdownIt
from prefect.client.orchestration import get_client
from starlette.testclient import TestClient

from flows import history, publish
from flows.decisions import release_batches
from flows.domain import VALIDATION_CODES, Gate, RunStatus, RunSummary
from flows.settings import Settings, load_settings
from flows.site import build, catalog, figures, look
from flows.site.serve import HEADERS, application
from flows.warehouse import connect

USERS = [f"canary-{n:02}" for n in range(20)]


def event(minute: int, **changes: Any) -> bytes:
    """A valid line, changed."""
    values = {
        "event_type": "play",
        "user_id": USERS[minute % len(USERS)],
        "episode_id": f"e{minute % 5}",
        "timestamp": f"2024-01-01T10:{minute % 60:02}:00Z",
        "duration": 60 + minute,
    }
    return json.dumps(values | changes).encode() + b"\n"


HOSTILE = (
    *FRAGMENTS,
    "![x](http://evil.example/x.png)",
    "| a | b |\n|---|---|",
    '=HYPERLINK("http://evil.example")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\x1b[2J\x1b]0;owned\x07",
    "\u2028 \u0000",
)
"""Each in every column, and as the name of a file."""
PAGE = 200
"""What the server hands out at once."""


def hostile_lines() -> bytes:
    columns = ("event_type", "user_id", "episode_id", "timestamp", "duration")
    lines = [event(n, **{column: text}) for n, text in enumerate(HOSTILE) for column in columns]
    further = [event(n, **{text: text}) for n, text in enumerate(HOSTILE)]
    malformed = [json.dumps(text).encode() + b"\n" for text in HOSTILE]
    return b"".join([*lines, *further, *malformed])


def file_name(text: str) -> str:
    """A name that a file system takes."""
    return "".join(c for c in text if c not in "/\x00\n")[:120] + ".json"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Home]:  # noqa: ARG001
    """Three runs: a clean one, one with hostile files that are held back, and a release."""
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("site") / "home", patch)
        write_reference_data(home)
        home.land({"a.json": b"".join(event(n) for n in range(40))})
        home.run()
        bad = {file_name(text): hostile_lines() + text.encode() for text in HOSTILE}
        home.land(bad | {"later/b.json": b"".join(event(n, user_id=USERS[n % 7]) for n in range(40, 60))})
        home.run()
        release_batches("<b>because</b> | [x](y) \x1b[31m", [file_name(HOSTILE[0])], decided_by="<i>me</i>")
        yield home


def write_reference_data(home: Home) -> None:
    """The users and episodes of the valid lines."""
    users = [(user, "2023-01-01", "NO") for user in USERS]
    episodes = [(f"e{n}", "p1", f"Title {n}", "2023-01-01", 600) for n in range(5)]
    home.set(seeds=comparison.write_reference_data(home.path / "seeds", users, episodes))


class Texts(HTMLParser):
    """The cells of a page's tables, row by row, and its JSON."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in = False

    def handle_data(self, data: str) -> None:
        if self._in:
            self.rows[-1][-1] += data.strip()


def page(home: Home, name: str) -> str:
    return (home.path / "site" / name).read_text(encoding="utf-8")


def row(home: Home, name: str, first: str) -> list[str]:
    return next(cells for cells in Texts(page(home, name)).rows if cells and cells[0] == first)


def test_the_figures_are_those_of_the_published_copy(site: Home) -> None:
    newest = "(select * from ops.runs order by finished_at desc limit 1)"
    for column, name in figures.KINDS.items():
        expected = site.query(f"select {column}, total_{column} from {newest}", published=True)[0]
        for where in ("index.html", f"runs/{last_run(site)}.html"):
            assert row(site, where, name) == [name, *(f"{n:,}" for n in expected)]
    assert (
        row(site, "index.html", "all lines")[2]
        == f"{site.query(f'select total_lines from {newest}', published=True)[0][0]:,}"
    )
    states = dict(site.query("select status, count(*) from ops.batches group by status", published=True))
    for status, count in states.items():
        assert row(site, "index.html", status) == [status, f"{count:,}"]
    facts = site.query("select count(*) from gold.fact_user_interactions", published=True)[0][0]
    assert row(site, "index.html", "facts")[2] == f"{facts:,}"


def last_run(home: Home) -> str:
    return str(home.query("select arg_max(run_id, finished_at) from ops.runs")[0][0])


def test_the_charts_are_those_of_the_published_copy(site: Home) -> None:
    drawn = {
        chart["key"]: chart
        for chart in map(
            json.loads, re.findall(r'type="application/json"[^>]*>(.*?)</script>', page(site, "index.html"))
        )
    }
    with duckdb.connect(str(site.path / "warehouse" / "published.duckdb"), read_only=True) as connection:
        published = {chart.key: chart for chart in figures.charts(connection, figures.last_passed(connection))}
    assert drawn.keys() == {*published, "funnel"}
    for key, chart in published.items():
        assert [tuple(s["values"]) for s in drawn[key]["series"]] == [s.values for s in chart.series], key
        assert len(drawn[key]["labels"]) == 3
    by_code = {s["name"]: s["values"] for s in drawn["invalid"]["series"]}
    (expected,) = site.query(
        """
        select round(100 * sum(invalid_timestamp) / sum(lines), 3) from ops.batch_profiles
        inner join ops.batches using (batch_id) where filename <> 'a.json'
        """,
        published=True,
    )[0]
    assert by_code["invalid timestamp"] == [0, expected, None]
    steps = {s["name"]: s["values"] for s in drawn["steps"]["series"]}
    assert {"discover", "load", "gate raw", "build gold"} <= steps.keys()


def test_series_of_one_chart_have_colours_of_their_own() -> None:
    styles = (look.ASSETS / "site.css").read_text()
    (count,) = re.findall(r"SERIES_COLOURS = (\d+);", (look.ASSETS / "charts.js").read_text())
    light, dark = styles.rsplit("prefers-color-scheme: dark", 1)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--series-(\d+): (#[0-9a-f]{6});", scheme))
        assert set(colours) == {str(n) for n in range(1, int(count) + 1)}
        assert len(set(colours.values())) == int(count) >= len(VALIDATION_CODES)


def test_the_catalog_has_every_table_with_its_owner_rows_and_last_verdict(site: Home) -> None:
    there = site.query("select schema_name || '.' || table_name from duckdb_tables() where schema_name <> 'main'")
    internal = {"ops.publishing", "ops.gold_versions", "ops.reference_versions", "ops.batch_transitions"}
    for (name,) in there:
        shown, _, owner, rows, _, published_at = row(site, "catalog.html", name)
        assert owner in ("Data engineering", "Analytics engineering"), name
        if name != "ops.run_steps":  # the step that writes the catalog is entered when it has ended
            assert rows == f"{site.query(f'select count(*) from {name}')[0][0]:,}", name
        assert bool(published_at) == (name in publish.TABLES), name
        assert (site.path / "site" / "catalog" / f"{shown}.html").is_file()
    assert {name for (name,) in there} >= {*publish.TABLES, *internal}
    verdicts = {gate: row(site, "catalog.html", f"ops.{gate}_batches")[4] for gate in Gate}
    failing = dict(
        site.query(
            """
            with newest as (
                select checkpoint, arg_max(run_id, checked_at) as run_id from ops.validation_results group by all
            )

            select checkpoint, count(distinct batch_id) from ops.validation_results
            inner join newest using (checkpoint, run_id)
            where not success and severity = 'critical' and batch_id is not null group by checkpoint
            """
        )
    )
    assert verdicts == {gate: f"held back {failing[gate]}" if gate in failing else "passed" for gate in Gate}


def test_a_table_of_the_catalog_says_from_where_for_whom_and_by_which_rules(site: Home) -> None:
    name = "catalog/bronze.validated_events.html"
    text = " ".join(unescape(page(site, name)).split())
    assert 'href="bronze.classified_events.html"' in text
    assert 'href="silver.cleansed_events.html"' in text
    for code in VALIDATION_CODES:
        assert f"<code>{code}</code>" in text
    assert row(site, name, "batch_id")[1] == "VARCHAR"
    assert row(site, name, "batch_id")[2].startswith("One attempt at one file: sixteen hexadecimal digits")
    most = row(site, name, "Most rows of a batch are valid.")
    assert most[1:3] == ["critical", "at most 0.2PODCAST_MAX_INVALID_SHARE"]
    assert "same_row_count_by_batch" in text
    question = "podcast ask, top completed episodes"
    assert question in page(site, "catalog/gold.top_completed_episodes.html")
    assert "Columns and types are a contract" in page(site, "catalog/silver.cleansed_events.html")
    assert "the_latest_row_of_a_key_wins" in page(site, "catalog/silver.cleansed_events.html")


def test_the_catalog_follows_the_settings_and_leaves_what_is_as_it_was(
    site: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site.path / "site" / "catalog"
    build_catalog()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    build_catalog()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (folder / "gold.no_longer_there.html").write_text("old")
    monkeypatch.setenv("PODCAST_MAX_INVALID_SHARE", "0.123")
    build_catalog()
    changed = {path.stem for path in folder.iterdir() if path.stat().st_mtime_ns != before[path]}
    assert changed == {"bronze.classified_events", "bronze.validated_events", "ops.validated_batches"}
    assert "at most 0.123" in page(site, "catalog/ops.validated_batches.html")
    monkeypatch.undo()


def build_catalog() -> None:
    settings = load_settings()
    with connect(settings) as connection:
        catalog.build(settings, connection, published=publish.TABLES)


def test_every_link_leads_to_a_file(site: Home) -> None:
    assert dead_links(site.path / "site") == []


def test_every_batch_in_quarantine_has_a_page_that_says_what_to_do(site: Home) -> None:
    batches = site.query(
        "select batch_id, status, reason, row_count from ops.batches where filename not in ('a.json', 'later/b.json')"
    )
    assert len(batches) == len({file_name(text) for text in HOSTILE})
    for batch_id, status, reason, row_count in batches:
        text = " ".join(unescape(page(site, f"quarantine/{batch_id}.html")).split())
        assert f"{row_count:,} lines" in text
        if status == "quarantined":
            assert reason in text
            assert f"podcast quarantine release {batch_id} --reason" in text
        else:
            assert "released" in text
            assert "What to do" not in text
            assert "by <i>me</i>" in text


def test_failing_lines_stand_there_with_their_numbers_and_codes(site: Home) -> None:
    ((batch_id,),) = site.query(
        "select batch_id from ops.batches where filename = ?".replace("?", f"'{file_name(HOSTILE[4])}'")
    )
    lines = [
        json.loads(line)
        for line in (site.path / "quarantine" / batch_id / "failing_lines.jsonl").read_text().split("\n")[:-1]
    ]
    shown = [cells for cells in Texts(page(site, f"quarantine/{batch_id}.html")).rows if len(cells) == 3][1:]
    assert [(cells[0], cells[1]) for cells in shown] == [(str(r["line_number"]), ", ".join(r["codes"])) for r in lines][
        :100
    ]


def test_no_user_id_and_nothing_raw_reaches_the_site(site: Home) -> None:
    """Nor the terminal escapes, which have no place in any page."""
    for path in (site.path / "site").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "canary" not in text, path
        if path.parent.name == "dbt_docs":  # a program of dbt's, about the project alone
            continue
        assert not re.search(r"<(img|svg|b|i)[ >]", text), path
        assert not re.search(r"[\x00\x07\x1b\u2028\u202e]", text), path


def of_runs(home: Home, kind: str) -> list[dict[str, Any]]:
    """The artifacts or logs of the home's own runs; the server knows those of other tests too."""
    runs = [run_id for (run_id,) in home.query("select run_id from ops.runs")]
    found: list[dict[str, Any]] = []
    with get_client(sync_client=True) as client:
        while True:
            asked = {"flow_runs": {"id": {"any_": runs}}, "limit": PAGE, "offset": len(found)}
            if kind == "logs":
                asked = {"logs": {"flow_run_id": {"any_": runs}}, "limit": PAGE, "offset": len(found)}
            answer = client.request("POST", f"/{kind}/filter", json=asked).json()
            found += answer
            if len(answer) < PAGE:
                return found


def test_artifacts_and_logs_have_no_user_id_and_nothing_that_runs(site: Home) -> None:
    artifacts, logs = of_runs(site, "artifacts"), of_runs(site, "logs")
    assert {"gate-raw", "quarantine", "run-summary", "selection", "site"} <= {a["key"] for a in artifacts}
    pages = load_settings().site_link
    for artifact in artifacts:
        assert artifact["type"] == "progress" or f"{pages}/" in f"{artifact['data']} {artifact['description']}"
        for text in map(str, (artifact["data"], artifact["description"])):
            assert "canary" not in text
            assert not re.search(r"[\x00\x07\x1b\u2028\u202e]", text)
        markdown = artifact["data"] if artifact["type"] == "markdown" else artifact["description"] or ""
        rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
        assert not re.search(r"<(img|svg|script|b|i)[ >]", rendered)
        assert {urlsplit(link).scheme for link in re.findall(r'(?:href|src)="([^"]*)"', rendered)} <= {"file"}
    assert logs
    assert [log["message"] for log in logs if "canary" in log["message"] or "\x1b" in log["message"]] == []


def test_user_ids_are_shown_where_a_setting_says_so(site: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SHOW_USER_IDS", "true")
    ((batch_id,),) = site.query("select max(batch_id) from ops.batches where status = 'quarantined'")
    before = page(site, f"quarantine/{batch_id}.html")
    path = site.path / "site" / "quarantine" / f"{batch_id}.html"
    path.unlink()
    settings = load_settings()
    with connect(settings) as connection:
        build.build(settings, connection, summary_of_last(connection))
    assert "canary" in path.read_text()
    path.write_text(before)


def summary_of_last(connection: duckdb.DuckDBPyConnection) -> RunSummary:
    newest = history.last_runs(connection, 1)[0]
    return RunSummary(newest["run_id"], RunStatus.PASSED, newest["started_at"], newest["finished_at"])


def test_the_site_is_served_with_headers_that_keep_it_to_itself(site: Home) -> None:
    client = TestClient(application(Settings(home=site.path)), base_url="http://127.0.0.1")
    for path in ("/", "/index.html", "/data_docs/", "/assets/site.css", "/nowhere.html"):
        answer = client.get(path)
        assert answer.status_code == (404 if "nowhere" in path else 200)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert client.get("/index.html", headers={"host": "evil.example"}).status_code == 400
    assert client.post("/index.html").status_code == 405
    assert client.get("/%2e%2e/warehouse/podcast.duckdb").status_code == 404


def names(home: Home) -> list[str]:
    """A page of each kind, the hostile ones all."""
    held_back = sorted(path.name for path in (home.path / "site" / "quarantine").glob("*.html"))
    return [
        "index.html",
        "runs/index.html",
        f"runs/{last_run(home)}.html",
        "catalog.html",
        "catalog/bronze.validated_events.html",
        "catalog/ops.batches.html",
        *(f"quarantine/{name}" for name in held_back),
    ]


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_pages_run_nothing_ask_nobody_and_can_be_read(site: Home, browser: Browser, width: int, *, dark: bool) -> None:
    for name in names(site):
        opened = browser.open(site.path / "site" / name, width=width, dark=dark)
        assert browser.problems(opened) == [], name
        assert opened.evaluate("() => window.hit === undefined"), name
        assert too_wide(opened) == [], name
        assert barriers(opened) == [], name
        opened.context.close()


def test_the_charts_are_drawn_in_the_colours_of_the_page(site: Home, browser: Browser) -> None:
    opened = browser.open(site.path / "site" / "index.html")
    opened.wait_for_selector(".plot .main-svg")
    assert opened.locator(".plot").count() == opened.locator(".plot .plot-container").count() == 5
    bar = opened.locator("[data-chart=chart-volume] .bars path").first
    light = bar.evaluate("bar => getComputedStyle(bar).fill")
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_function(
        "light => getComputedStyle(document.querySelector('[data-chart=chart-volume] .bars path')).fill !== light",
        arg=light,
    )
    assert browser.problems(opened) == []


def test_what_is_kept_does_not_grow_with_history(site: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one: it forgets what the others look at."""
    monkeypatch.setenv("PODCAST_DOCS_KEPT", "1")
    settings = load_settings()
    (first,), (second,), (third,) = site.query("select run_id from ops.runs order by started_at")
    with connect(settings) as connection:
        build.build(settings, connection, summary_of_last(connection))
        kept = {path.stem for path in (site.path / "site" / "runs").glob("*.html")} - {"index"}
        assert kept == {second, third}, "the one before holds back what is in quarantine now"
        connection.execute("update ops.batches set status = 'discarded' where status = 'quarantined'")
        build.build(settings, connection, summary_of_last(connection))
    kept = {path.stem for path in (site.path / "site" / "runs").glob("*.html")} - {"index"}
    assert kept == {third}
    assert {path.stem for path in (site.path / "site" / "quarantine").glob("*.html")} == {"index"}
    assert first not in {path.name for path in (site.path / "gx").rglob("*")}
    assert dead_links(site.path / "site") == []


def test_assets_are_placed_once_and_again_when_they_have_changed(tmp_path: Path) -> None:
    look.write_assets(tmp_path)
    style = tmp_path / "assets" / "site.css"
    written = style.stat().st_mtime_ns
    look.write_assets(tmp_path)
    assert style.stat().st_mtime_ns == written
    style.write_text("old")
    look.write_assets(tmp_path)
    assert style.read_text() != "old"
    assert (tmp_path / "assets" / "plotly.min.js").stat().st_size > 10**6
