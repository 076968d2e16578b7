"""The read API over the sample: every answer as its document says, nobody without the token, no user id anywhere."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import httpx
import pytest
import schemathesis
from conftest import Home
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from flows import metrics
from flows.api import copies as copies_module
from flows.api.app import application
from flows.api.copies import Copies
from flows.api.marts import KEYS, marts
from flows.api.problems import ProblemError
from flows.domain import BatchStatus, RunStatus, RunSummary
from flows.masking import open_mask
from flows.publish import TABLES
from flows.settings import PROJECT_ROOT, load_settings
from flows.warehouse import connect, utc_now, writer_lock

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of servers that last as long as a test
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
CANARY = "canary-7f3a"
WITHOUT_PARAMETERS = ["/health", "/metrics", "/v1/status", "/v1/marts"]
LISTS = ["batches", "verdicts", "quarantine", "runs", *(f"marts/{name}/rows" for name in KEYS)]
PATHS = ["/v1/batches/{batch_id}", "/v1/runs/{run_id}", *(f"/v1/{path}" for path in LISTS)]
UNHEALTHY = list(HealthCheck)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Home]:  # noqa: ARG001
    """One run over the sample, and over lines with what must not be shown."""
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("api") / "home", patch)
        shutil.copytree(PROJECT_ROOT / "data" / "landing", home.path / "landing", dirs_exist_ok=True)
        event = {"event_type": "play", "episode_id": "e0001", "timestamp": "2024-01-09T10:00:00Z", "duration": 60}
        users = [f"{CANARY}-{n}" for n in range(10)] + [f"u{n:06}" for n in range(1, 31)]
        lines = [json.dumps(event | {"user_id": user}) for user in users] + [f"{{{CANARY} malformed"]
        home.land({"canary.json": "\n".join(lines).encode()})
        home.run()
        yield home


@pytest.fixture(scope="module")
def app(home: Home) -> FastAPI:  # noqa: ARG001
    return application(load_settings(), token=TOKEN)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, headers=AUTHORIZED) as client:
        yield client


def walk(client: Any, path: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """All pages of a list."""
    cursor: dict[str, str] = {}
    while True:
        answer = client.get(f"/v1/{path}", params={**asked, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield page
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    return dict(found)


# --- The document, and every answer against it --------------------------------------------------


@pytest.fixture(scope="module")
def document(app: FastAPI, client: TestClient) -> Any:  # noqa: ARG001
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_as_the_document_says(document: Any, path: str, mode: GenerationMode) -> None:
    """To requests that are made of the document, and to ones that are made to be refused by it."""

    @hypothesis_settings(
        max_examples=5, derandomize=True, deadline=None, database=None, suppress_health_check=UNHEALTHY
    )
    @given(case=document[path]["GET"].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE:
            case.query.pop("cursor", None)  # no schema can say which texts the server has given
        answer = case.call_and_validate(headers=AUTHORIZED)
        assert answer.status_code < 500

    ask()


def test_no_path_is_left_out(client: TestClient) -> None:
    assert set(client.get("/openapi.json").json()["paths"]) == {*PATHS, *WITHOUT_PARAMETERS}


@pytest.mark.parametrize("path", WITHOUT_PARAMETERS)
def test_an_answer_to_a_request_without_parameters_is_as_the_document_says(document: Any, path: str) -> None:
    assert document[path]["GET"].Case().call_and_validate(headers=AUTHORIZED).status_code == 200


def test_each_mart_that_is_published_has_its_rows_in_the_document(client: TestClient) -> None:
    published = {table.removeprefix("gold.") for table in TABLES if table.startswith("gold.")}
    listed = {mart["name"]: mart for mart in client.get("/v1/marts").json()["items"]}
    assert set(listed) == published
    paths = client.get("/openapi.json").json()["paths"]
    assert all(mart["rows"] in paths and mart["description"] for mart in listed.values())
    assert all(column["description"] for mart in listed.values() for column in mart["columns"])
    assert not any("{{" in json.dumps(mart) for mart in listed.values())


# --- Pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", [7, 1000])
def test_the_pages_of_a_list_are_its_rows_each_once_and_in_one_order(
    home: Home, client: TestClient, path: str, limit: int
) -> None:
    table = {"verdicts": "ops.validation_results", "quarantine": "ops.batches where status = 'quarantined'"}.get(
        path, f"gold.{path.split('/')[1]}" if path.startswith("marts") else f"ops.{path}"
    )
    ((count,),) = home.query(f"select count(*) from {table}", published=True)
    if limit == 7 and count > 3000:
        limit = 97
    items = [json.dumps(item) for page in walk(client, path, limit=limit) for item in page["items"]]
    assert len(items) == len(set(items)) == count > 0
    if limit != 1000:
        assert items == [json.dumps(item) for page in walk(client, path, limit=1000) for item in page["items"]]


@pytest.mark.parametrize(
    ("path", "where", "asked"),
    [
        ("batches", "ops.batches where status = 'quarantined'", {"status": "quarantined"}),
        ("batches", "ops.batches where filename like '2024-01-1_/%'", {"file": "2024-01-1?/*"}),
        ("batches", "ops.batches where filename = '[.json'", {"file": "[.json"}),
        ("quarantine", "ops.batches where reason = 'invalid_share'", {"reason": "invalid_share", "gate": "validated"}),
        ("verdicts", "ops.validation_results where not success", {"success": "false"}),
        (
            "marts/fact_user_interactions/rows",
            "gold.fact_user_interactions where \"timestamp\" >= '2024-01-09 12:00' and \"timestamp\" < '2024-01-10'",
            {"timestamp_from": "2024-01-09T14:00:00+02:00", "timestamp_before": "2024-01-10T00:00:00Z"},
        ),
        (
            "marts/fact_listens/rows",
            "gold.fact_listens where is_valid and furthest_claim_seconds >= 600 and episode_id = 'e0001'",
            {"is_valid": "true", "furthest_claim_seconds_from": 600, "episode_id": "e0001"},
        ),
        (
            "marts/listener_daily/rows",
            f"gold.listener_daily where user_id = '{CANARY}-3'",
            {"user_id": f"{CANARY}-3", "event_date": "2024-01-09"},
        ),
    ],
)
def test_filters_choose(home: Home, client: TestClient, path: str, where: str, asked: dict[str, Any]) -> None:
    ((count,),) = home.query(f"select count(*) from {where}", published=True)
    items = [item for page in walk(client, path, limit=50, **asked) for item in page["items"]]
    assert len(items) == count
    assert count > 0 or asked == {"file": "[.json"}


def test_batches_by_the_time_of_their_loading(home: Home, client: TestClient) -> None:
    (first, last) = home.query("select min(load_at), max(load_at) from ops.batches", published=True)[0]
    later = {b["batch_id"] for p in walk(client, "batches", loaded_before=f"{last.isoformat()}Z") for b in p["items"]}
    from_last = {b["batch_id"] for p in walk(client, "batches", loaded_from=f"{last.isoformat()}Z") for b in p["items"]}
    everything = {
        b["batch_id"] for p in walk(client, "batches", loaded_from=f"{first.isoformat()}Z") for b in p["items"]
    }
    assert later | from_last == everything
    assert not later & from_last
    assert from_last


def test_entries_have_what_belongs_to_them(home: Home, client: TestClient) -> None:
    ((run_id,),) = home.query("select run_id from ops.runs", published=True)
    run = client.get(f"/v1/runs/{run_id}").json()
    assert run["run"]["total_lines"] == 6041
    assert [step["step"] for step in run["steps"]][:2] == ["discover", "load"]
    for batch_id, lines in home.query("select batch_id, lines from ops.batch_profiles", published=True):
        entry = client.get(f"/v1/batches/{batch_id}").json()
        assert entry["batch"]["batch_id"] == batch_id
        assert entry["profile"]["lines"] == lines == entry["batch"]["row_count"]
    problem(client.get("/v1/batches/0000"), 404, "not_found")
    problem(client.get("/v1/runs/0000"), 404, "not_found")


def test_the_status_is_that_of_the_copy(home: Home, client: TestClient) -> None:
    status = client.get("/v1/status").json()
    ((newest,),) = home.query('select max("timestamp") from gold.fact_user_interactions', published=True)
    assert status["newest_event_at"] == f"{newest.isoformat()}Z"
    assert status["batches"] == {"published": 7, "quarantined": 1}
    assert 0 < status["published_age_seconds"] < 3600
    assert status["size_bytes"] == (home.path / "warehouse" / "published.duckdb").stat().st_size


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 0},
        {"limit": 1001},
        {"unknown": 1},
        {"event_date": "0"},
        {"event_date_from": "2024-02-30"},
        {"is_before_release": "1"},
        {"starts": 2**63},
        {"hours_from": "nan"},
        {"episode_id": "x" * 1001},
        {"last_load_at_from": "2024-01-01T00:00:00"},
        {"last_load_at_from": "0001-01-01T00:00:00+10:00"},
    ],
)
def test_what_cannot_be_used_is_refused_by_name(client: TestClient, asked: dict[str, Any]) -> None:
    found = problem(client.get("/v1/marts/episode_daily/rows", params=asked), 422, "invalid_request")
    assert [fault["where"] for fault in found["errors"]] == [f"query.{name}" for name in asked]


def test_a_parameter_that_is_given_twice_is_refused(client: TestClient) -> None:
    problem(client.get("/v1/batches?status=published&status=quarantined"), 422, "invalid_request")


def test_a_cursor_is_of_one_list_and_of_its_filters(client: TestClient) -> None:
    page = client.get("/v1/batches", params={"limit": 1, "file": "*"}).json()
    cursor = page["next_cursor"]
    assert client.get("/v1/batches", params={"file": "*", "cursor": cursor, "limit": 5}).status_code == 200
    changed = cursor[:40] + ("A" if cursor[40] != "A" else "B") + cursor[41:]
    for path, asked in (
        ("batches", {"cursor": cursor}),
        ("batches", {"cursor": cursor, "file": "2024*"}),
        ("runs", {"cursor": cursor}),
        ("batches", {"cursor": changed, "file": "*"}),
        ("batches", {"cursor": "x", "file": "*"}),
        ("batches", {"cursor": "é", "file": "*"}),
    ):
        problem(client.get(f"/v1/{path}", params=asked), 422, "invalid_cursor")


# --- Who may ask, and for what ------------------------------------------------------------------


def test_all_but_the_state_and_the_document_need_the_token(app: FastAPI, client: TestClient) -> None:
    paths = [path.replace("{", "").replace("}", "") for path in client.get("/openapi.json").json()["paths"]]
    assert len(paths) > 25
    with_none = [None, "", TOKEN, "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
    stranger = TestClient(app)
    for path in set(paths) - {"/health"}:
        for header in with_none:
            answer = stranger.get(path, headers={} if header is None else {"Authorization": header})
            problem(answer, 401, "unauthorised")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert stranger.get("/v1/runs", headers={"Authorization": b"Bearer \xe9"}).status_code == 401  # type: ignore[dict-item]
    assert stranger.get("/health").json() == {"status": "ok"}
    assert stranger.get("/openapi.json").status_code == 200


def test_metrics_are_open_where_that_is_asked_for(home: Home) -> None:  # noqa: ARG001
    with TestClient(application(load_settings(), token=TOKEN, open_metrics=True)) as stranger:
        assert stranger.get("/metrics").status_code == 200
        problem(stranger.get("/v1/status"), 401, "unauthorised")


def test_it_can_only_be_read_and_every_answer_keeps_to_itself(client: TestClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = client.request(method, "/v1/batches")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"
    whole, head = client.get("/v1/batches"), client.head("/v1/batches")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    for path in ("/v1/batches", "/v1/unknown", "/health", "/docs"):
        answer = client.get(path, headers={"Origin": "https://example.org"})
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_no_user_id_and_no_malformed_line_gets_out(home: Home, client: TestClient) -> None:
    ids = {row[0] for row in home.query("select user_id from gold.dim_users", published=True)}
    hashes = {row[0] for row in home.query("select interaction_id from gold.fact_user_interactions", published=True)}
    hashes |= {row[0] for row in home.query("select listen_id from gold.fact_listens", published=True)}
    assert len(ids) > 100
    assert f"{CANARY}-3" in ids
    answers = [json.dumps(page) for path in LISTS for page in walk(client, path, limit=500)]
    answers += [client.get(path).text for path in ("/metrics", "/v1/status", "/v1/marts", "/openapi.json")]
    for (batch_id,) in home.query("select batch_id from ops.batches", published=True):
        answers.append(client.get(f"/v1/batches/{batch_id}").text)
    text = "\n".join(answers)
    words = set(text.replace('"', " ").replace("\\", " ").split())
    assert not words & (ids | hashes)
    assert CANARY not in text
    assert TOKEN not in text
    cursor = client.get("/v1/marts/dim_users/rows", params={"limit": 1}).json()["next_cursor"]
    opened = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert not [user for user in ids if user.encode() in opened]


def test_the_order_of_users_says_nothing_of_their_ids(home: Home, client: TestClient) -> None:
    mask = open_mask(load_settings()).user_id
    shown = {mask(user): user for (user,) in home.query("select user_id from gold.dim_users", published=True)}
    order = [shown[item["user_id"]] for page in walk(client, "marts/dim_users/rows") for item in page["items"]]
    ascending = sum(a < b for a, b in itertools.pairwise(order)) / (len(order) - 1)
    assert 0.4 < ascending < 0.6


def test_ids_are_shown_where_the_settings_say_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODCAST_SHOW_USER_IDS", "true")
    with TestClient(application(load_settings(), token=TOKEN), headers=AUTHORIZED) as client:
        users = [item["user_id"] for page in walk(client, "marts/dim_users/rows", limit=100) for item in page["items"]]
    assert users == [row[0] for row in home.query("select user_id from gold.dim_users order by 1", published=True)]


# --- The copy: not there, damaged, replaced -----------------------------------------------------


@pytest.fixture
def away(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The copy of a home of its own, as it was published."""
    monkeypatch.setenv("PODCAST_HOME", str(tmp_path))
    copy = tmp_path / "warehouse" / "published.duckdb"
    copy.parent.mkdir()
    shutil.copy(home.path / "warehouse" / "published.duckdb", copy)
    return copy


def test_without_a_copy_it_says_when_to_ask_again_and_answers_once_there_is_one(away: Path) -> None:
    aside = away.rename(away.with_name("aside"))
    with TestClient(application(load_settings(), token=TOKEN), headers=AUTHORIZED) as client:
        for path in ("/health", "/v1/batches", "/v1/marts/dim_users/rows", "/v1/status", "/v1/runs/x"):
            answer = client.get(path)
            problem(answer, 503, "nothing_published")
            assert int(answer.headers["retry-after"]) > 0
        assert "podcast_copy_readable 0.0" in client.get("/metrics").text
        aside.rename(away)
        assert client.get("/v1/batches").status_code == 200
        assert "podcast_copy_readable 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_copy_is_told_and_a_whole_one_taken_again(away: Path, damage: str) -> None:
    whole = away.read_bytes()
    broken = {
        "empty": b"",
        "text": b"no database" * 1000,
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:12288] + bytes(255 - b for b in whole[12288:]),
    }[damage]
    away.with_name("new").write_bytes(broken)
    away.with_name("new").replace(away)
    with TestClient(application(load_settings(), token=TOKEN), headers=AUTHORIZED) as client:
        for _ in range(2):
            for path in ("/v1/batches", "/v1/marts/fact_listens/rows"):
                answer = client.get(path)
                problem(answer, 503, "damaged_copy")
                assert int(answer.headers["retry-after"]) > 0
        away.with_name("new").write_bytes(whole)
        away.with_name("new").replace(away)
        assert client.get("/v1/batches").status_code == 200


def test_a_copy_of_an_earlier_version_is_told(away: Path) -> None:
    with duckdb.connect(str(away)) as connection:
        connection.execute("drop table gold.episode_transitions")
        connection.execute("alter table gold.dim_podcasts drop column episode_count")
    with TestClient(application(load_settings(), token=TOKEN), headers=AUTHORIZED) as client:
        problem(client.get("/v1/marts/episode_transitions/rows"), 503, "outdated_copy")
        problem(client.get("/v1/marts/dim_podcasts/rows"), 503, "outdated_copy")
        assert client.get("/v1/marts/dim_dates/rows").status_code == 200


def test_a_fault_of_the_server_tells_nothing_and_the_next_request_is_answered(away: Path) -> None:
    with duckdb.connect(str(away)) as connection:
        connection.execute("update gold.dim_users set is_inferred = null")
    app = application(load_settings(), token=TOKEN)
    with TestClient(app, headers=AUTHORIZED, raise_server_exceptions=False) as client:
        answer = client.get("/v1/marts/dim_users/rows")
        problem(answer, 500, "internal")
        assert answer.headers["cache-control"] == "no-store"
        assert "is_inferred" not in answer.text
        assert client.get("/v1/marts/dim_dates/rows").status_code == 200


def mark(path: Path, name: str) -> None:
    """Make a copy that says in each of these rows which one it is."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("update ops.runs set run_id = ?", [name])
        connection.execute("update gold.dim_episodes set title = ?", [name])
        connection.execute("update ops.batches set run_id = ?", [name])


def test_a_cursor_goes_on_in_another_copy_unless_that_is_refused(away: Path) -> None:
    new = Path(shutil.copy(away, away.with_name("new")))
    mark(new, "second")
    with TestClient(application(load_settings(), token=TOKEN), headers=AUTHORIZED) as client:
        first = client.get("/v1/marts/dim_episodes/rows", params={"limit": 10}).json()
        new.replace(away)
        asked = {"limit": 1000, "cursor": first["next_cursor"]}
        problem(client.get("/v1/marts/dim_episodes/rows", params=asked | {"same_copy": "true"}), 409, "copy_replaced")
        rest = client.get("/v1/marts/dim_episodes/rows", params=asked).json()
    assert rest["published"]["run_id"] == "second"
    episodes = [item["episode_id"] for item in first["items"] + rest["items"]]
    with duckdb.connect(str(away), read_only=True) as connection:
        assert episodes == [
            row[0] for row in connection.execute("select episode_id from gold.dim_episodes order by 1").fetchall()
        ]


def test_a_copy_that_was_replaced_is_let_go_of(away: Path) -> None:
    copies = Copies(load_settings())
    with copies.reading() as reading:
        before = reading.copy
        away.with_name("new").write_bytes(away.read_bytes())
        away.with_name("new").replace(away)
        copies.refresh()
        assert reading.rows("select count(*) as n from published.ops.runs") == [{"n": 1}]
    with pytest.raises(duckdb.ConnectionException):
        before.connection.execute("select 1")
    with copies.reading() as reading:
        assert reading.copy is not before
    copies.close()


def test_what_takes_too_long_is_ended_and_what_waits_too_long_is_refused(away: Path) -> None:  # noqa: ARG001
    copies = Copies(load_settings(), wait=0.1, timeout=0.3)
    started = time.monotonic()
    slow = "select count(*) as n from range(100000) a, range(100000) b where hash(a.range, b.range) = 1"
    with pytest.raises(ProblemError) as raised, copies.reading() as reading:
        reading.rows(slow)
    assert raised.value.code == "too_slow"
    assert time.monotonic() - started < 20
    with copies.reading(), copies.reading(), copies.reading(), copies.reading():
        copies.look()
        with pytest.raises(ProblemError) as raised, copies.reading():
            pass
        assert raised.value.code == "busy"
    with copies.reading() as reading:
        assert reading.rows("select 1 as n") == [{"n": 1}]
    with pytest.raises(duckdb.Error), copies.reading() as reading:
        reading.rows("select * from read_text('/etc/hostname')")
    copies.close()
    assert copies_module.READINGS == 4


# --- The server ---------------------------------------------------------------------------------


@contextmanager
def server(home: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`podcast api serve`, as a person starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flows.cli", "api", "serve", "--port", str(port), *options]
    variables = {**os.environ, "PODCAST_HOME": str(home), **environment}
    process = subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PROJECT_ROOT
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with suppress(httpx.TransportError):
                httpx.get(f"{url}/health")
                break
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        yield url, process
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(url: str, asking: tuple[str, str], is_over: threading.Event, seen: list[str], wrong: list[str]) -> None:
    """Walk a list until it is over; each row of a page says in a column which copy it is of."""
    path, column = asking
    with httpx.Client(base_url=url, headers=AUTHORIZED, timeout=60) as client:
        while not is_over.is_set() and not wrong:
            try:
                for page in walk(client, path, limit=20):
                    name = page["published"]["run_id"]
                    seen.append(name)
                    if {item[column] for item in page["items"]} != {name}:
                        wrong.append(json.dumps(page))
            except (AssertionError, httpx.HTTPError) as error:
                wrong.append(repr(error))


def replace_again_and_again(copy: Path, names: list[str], seen: list[str], wrong: list[str]) -> int:
    """For some seconds, and until each copy has been seen often enough; how often it was replaced."""
    replaced, started = 0, time.monotonic()
    while not wrong and (time.monotonic() < started + 4 or min(map(seen.count, names)) < 20):
        assert time.monotonic() < started + 90
        shutil.copy(copy.with_name(names[replaced % 2]), copy.with_name("new"))
        copy.with_name("new").replace(copy)
        replaced += 1
        time.sleep(0.02)
    return replaced


def test_pages_are_never_mixed_while_the_copy_is_replaced_again_and_again(away: Path) -> None:
    names, seen, wrong, is_over = ["one", "other"], list[str](), list[str](), threading.Event()
    for name in names:
        shutil.copy(away, away.with_name(name))
        mark(away.with_name(name), name)
    shutil.copy(away.with_name("one"), away)
    with server(away.parents[1], PODCAST_API_TOKEN=TOKEN) as (url, process):
        asking = (("marts/dim_episodes/rows", "title"), ("batches", "run_id")) * 3
        threads = [threading.Thread(target=ask, args=(url, each, is_over, seen, wrong)) for each in asking]
        for thread in threads:
            thread.start()
        replaced = replace_again_and_again(away, names, seen, wrong)
        is_over.set()
        for thread in threads:
            thread.join(timeout=60)
        assert wrong == []
        assert replaced > 20
        opened = [link.readlink().name for link in Path(f"/proc/{process.pid}/fd").glob("*") if link.is_symlink()]
        assert sum("(deleted)" in name for name in opened) <= 1
    output = process.stdout.read().decode() if process.stdout else ""
    assert TOKEN not in output
    assert "Traceback" not in output


def test_the_token_of_a_home_is_made_once_and_nobody_else_can_read_it(away: Path) -> None:
    with server(away.parents[1]) as (url, _):
        kept = away.parents[1] / "api.token"
        token = kept.read_text()
        assert len(token) == 64
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert httpx.get(f"{url}/v1/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert httpx.get(f"{url}/v1/runs").status_code == 401
        assert httpx.head(f"{url}/v1/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert "server" not in httpx.get(f"{url}/health").headers


def test_another_host_needs_a_token_that_was_chosen(away: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "api", "serve", "--host", "0.0.0.0"]  # noqa: S104 - which is refused
    variables = {**os.environ, "PODCAST_HOME": str(away.parents[1])}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, cwd=PROJECT_ROOT)
    assert done.returncode == 2
    assert "PODCAST_API_TOKEN" in done.stderr
    assert not (away.parents[1] / "api.token").exists()


# --- Figures ------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_run(home: Home, client: TestClient) -> None:
    text = client.get("/metrics").text
    assert text == metrics.render(load_settings(), metrics.of_copy(load_settings()))
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    ((lines, facts, invalid, newest),) = home.query(
        "select total_lines, total_facts, (total_invalid + total_malformed) / total_lines, epoch(newest_event_at) "
        "from ops.runs",
        published=True,
    )
    assert sum(value for key, value in found.items() if key[0] == "podcast_warehouse_lines") == lines == 6041
    assert found["podcast_warehouse_lines", "facts"] == facts
    assert found["podcast_warehouse_invalid_ratio",] == pytest.approx(invalid)
    assert found["podcast_newest_event_timestamp_seconds",] == newest
    assert found["podcast_quarantined_batches", "validated", "invalid_share"] == 1
    assert found["podcast_batches", "published"] == 7
    assert {key[1] for key in found if key[0] == "podcast_batches"} == set(BatchStatus)
    assert found["podcast_last_run_status", "passed"] == 1
    assert found["podcast_last_run_step_seconds", "gate raw"] > 0
    assert found["podcast_crashed_runs",] == found["podcast_writing",] == 0
    assert {mart.name for mart in marts()} == set(KEYS)


def test_a_run_can_write_the_figures_while_it_holds_the_warehouse(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODCAST_METRICS_FILE", str(tmp_path / "podcast.prom"))
    settings, now = load_settings(), utc_now()
    failed = RunSummary("r", RunStatus.FAILED, now, now)
    with writer_lock(settings, purpose="flow run x", run_id="r"), connect(settings) as connection:
        metrics.note_run(settings, failed, {"discover": 1.0})
        metrics.write_textfile(settings)
        assert connection.execute("select count(*) from ops.runs").fetchone() == (1,)
    text = (tmp_path / "podcast.prom").read_text()
    (home.path / "metrics" / "last_run.json").unlink()
    for line in ('podcast_last_run_status{status="failed"} 1.0', "podcast_copy_readable 1.0", "podcast_writing 1.0"):
        assert line in text
    assert 'podcast_warehouse_lines{kind="facts"}' in text
