"""Object storage against a real S3 server on this machine: what is found, read, left out, refused and kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import s3
from s3 import BUCKET, Server

from flows import evidence, landing, ledger, loading, quarantine, read_ahead, rebuild, retention, storage, warehouse
from flows.backup import back_up
from flows.domain import Batch, Loaded, ObjectFolder, Plan, StoredObject
from flows.errors import EvidenceError, LandingError
from flows.restore import restore
from flows.settings import Settings

Connection = duckdb.DuckDBPyConnection
SECRET = "canary-7c1f0e5d"  # noqa: S105 - of nobody
EVENT = (
    b'{"event_type": "play", "user_id": "u1", "episode_id": "e1", "timestamp": "2026-01-02T03:04:05Z", "duration": 5}\n'
)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with s3.serving() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The server with an empty bucket, without faults."""
    for key in s3.stored():
        s3.take_away(key)
    running.faults.clear()
    running.asked.clear()
    return running


@pytest.fixture
def settings(tmp_path: Path, server: Server) -> Settings:
    return settings_of(tmp_path, server)


def settings_of(home: Path, server: Server, **more: Any) -> Settings:
    given = {"home": home, "landing": f"s3://{BUCKET}/in", "quarantine": f"s3://{BUCKET}/held/back"}
    return Settings(**given | server.settings(SECRET) | more)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        yield connection


def load(settings: Settings, connection: Connection) -> tuple[Plan, Loaded]:
    """What a run does first."""
    plan = landing.discover(settings, connection)
    store = storage.of_landing(settings)
    return plan, loading.load_files(connection, plan.arrivals, run_id="run", store=store)


def names(plan: Plan) -> list[tuple[str, int, bool]]:
    return [(a.file.filename, a.attempt, a.mutates is not None) for a in plan.arrivals]


def publish(connection: Connection) -> None:
    connection.execute("update ops.batches set status = 'published', pending = false where status = 'loaded'")


def store_of(settings: Settings) -> storage.Store:
    store = storage.of_landing(settings)
    assert store is not None
    return store


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select filename, line_number, user_id, rescued from bronze.raw_events order by all"
    ).fetchall()


# --- Finding ------------------------------------------------------------------------------------


def test_what_lies_in_a_bucket_is_loaded_as_from_a_disk(tmp_path: Path, settings: Settings) -> None:
    long = EVENT * 60_000  # longer than a part
    files = {
        "a.json": EVENT, "b/c.ndjson": EVENT * 3 + b"oops\n\xff\n", "b/d.jsonl.gz": gzip.compress(EVENT * 2),
        "empty.json": b"", "long.json": long, "long.json.gz": gzip.compress(long, 1), "broken.json.gz": b"no gzip",
        "sp ace/é[1]*?.json": EVENT, "q?versionId=3.json": EVENT, "per%20cent+plus.json": EVENT, "<&>'\".json": EVENT,
        "other.txt": b"",
    }  # fmt: skip
    s3.put({f"in/{name}": content for name, content in files.items()} | {"inside.json": EVENT, "in2/a.json": EVENT})
    directory = tmp_path / "on disk"
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    on_disk = settings.model_copy(update={"landing": directory, "settle_seconds": 0})
    found = {}
    for kind, of in (("bucket", settings), ("disk", on_disk)):
        with duckdb.connect() as connection:
            connection.execute(warehouse.TABLES)
            plan, loaded = load(of, connection)
            batches = connection.execute(
                "select batch_id, filename, content_hash, size_bytes, status, reason, row_count "
                "from ops.batches order by all"
            ).fetchall()
            found[kind] = plan.ignored, loaded, rows(connection), batches
    assert found["bucket"] == found["disk"]
    assert found["disk"][1].batches == len(files) - 1


def test_keys_that_are_no_paths_are_refused_by_name(settings: Settings, connection: Connection) -> None:
    odd = ("x//y.json", "../z.json", "./a.json", "/b.json", "c/../d.json")
    s3.put({f"in/{name}": EVENT for name in odd} | {"in/folder/": b"", "in/": b"", "in/good.json": EVENT})
    plan, loaded = load(settings, connection)
    assert names(plan) == [("good.json", 1, False)]
    assert [name for name, _ in plan.refused] == sorted(odd)
    assert all("rename it" in reason for _, reason in plan.refused)
    assert (plan.ignored, loaded.left_out) == ((), ())


def test_listings_come_in_pages_and_all_of_them(server: Server, settings: Settings, connection: Connection) -> None:
    s3.put({f"in/{i // 100:02}/{i:05}.json": EVENT for i in range(2_500)})
    plan = landing.discover(settings, connection)
    assert len({a.file.filename for a in plan.arrivals}) == len(plan.arrivals) == 2_500
    assert server.asked[f"GET /{BUCKET}"] == 3
    store = storage.of_landing(settings.model_copy(update={"landing": ObjectFolder(BUCKET, "in/")}))
    assert store is not None
    assert store.folders() == [f"{i:02}" for i in range(25)]


# --- The ledger's rules -------------------------------------------------------------------------


def test_the_history_of_a_bucket(server: Server, settings: Settings, connection: Connection) -> None:
    s3.put({f"in/{name}.json": EVENT for name in "abcd"})
    load(settings, connection)
    publish(connection)

    server.asked.clear()
    plan, _ = load(settings, connection)
    assert not plan.has_work
    assert server.asked == {f"GET /{BUCKET}": 1}, "nothing is read that did not change"

    s3.put({"in/a.json": EVENT * 2, "in/b.json": EVENT})
    s3.store().buckets[BUCKET].keys["in/c.json"]._etag = "abc-2"  # as of an upload in parts: no hash
    s3.take_away("in/d.json")
    server.asked.clear()
    plan, _ = load(settings, connection)
    assert names(plan) == [("a.json", 2, True)]
    assert plan.missing == ("d.json",)
    assert {name for name in server.asked if name.startswith("GET in/")} == {"GET in/a.json", "GET in/c.json"}
    fingerprints = ledger.fingerprints(connection)
    assert fingerprints["c.json"] == f"{len(EVENT)}-abc-2"

    connection.execute("update ops.batches set status = 'quarantined', pending = false where status = 'loaded'")
    assert load(settings, connection)[0].arrivals == (), "the change is waiting for a decision"
    s3.put({"in/d.json": EVENT})
    plan, _ = load(settings, connection)
    assert (plan.arrivals, plan.missing, ledger.missing(connection)) == ((), (), set())

    past = list(ledger.attempts(connection, ["a.json", "b.json"]).values())
    again = landing.landed_again(settings.landing_dir, past, store=storage.of_landing(settings))
    assert [(a.file.filename, a.attempt, a.mutates) for a in again] == [("a.json", 3, None), ("b.json", 2, None)]
    s3.take_away("in/b.json")
    with pytest.raises(LandingError, match=r"s3://landing/in(?s:.*)b.json: No such object"):
        landing.landed_again(settings.landing_dir, past, store=storage.of_landing(settings))


def test_what_cannot_be_compared_now_is_no_change(server: Server, settings: Settings, connection: Connection) -> None:
    s3.put({"in/a.json": EVENT, "in/b.json": EVENT})
    load(settings, connection)
    publish(connection)
    s3.store().buckets[BUCKET].keys["in/a.json"]._etag = "abc-2"
    server.faults["in/a.json"] = s3.always("503 Slow Down")
    plan, _ = load(settings, connection)
    assert not plan.has_work
    assert [name for name, reason in plan.refused if reason.startswith("cannot be read: ")] == ["a.json"]
    assert plan.missing == ()
    server.faults.clear()
    plan, _ = load(settings, connection)
    assert (plan.arrivals, plan.refused) == ((), ())
    assert ledger.fingerprints(connection)["a.json"] == f"{len(EVENT)}-abc-2"


def test_the_hash_is_that_of_the_bytes_however_they_were_uploaded(settings: Settings, connection: Connection) -> None:
    import boto3

    content = EVENT * 60_000
    client = boto3.client(
        "s3", endpoint_url=settings.s3_endpoint_url, aws_access_key_id="key", aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip
    upload = {"Bucket": BUCKET, "Key": "in/parts.json"}
    number = client.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {
            "PartNumber": i,
            "ETag": client.upload_part(**upload, UploadId=number, PartNumber=i, Body=piece)["ETag"],
        }
        for i, piece in enumerate((content[: 5 * 2**20], content[5 * 2**20 :]), 1)
    ]
    client.complete_multipart_upload(**upload, UploadId=number, MultipartUpload={"Parts": parts})
    packed = gzip.compress(EVENT)
    client.put_object(Bucket=BUCKET, Key="in/encoded.json.gz", Body=packed, ContentEncoding="gzip")
    load(settings, connection)
    batches = connection.execute(
        "select filename, content_hash, fingerprint, row_count from ops.batches order by 1"
    ).fetchall()
    assert [(name, value, lines) for name, value, _, lines in batches] == [
        ("encoded.json.gz", hashlib.sha256(packed).hexdigest(), 1),
        ("parts.json", hashlib.sha256(content).hexdigest(), 60_000),
    ]
    assert batches[1][2].endswith("-2")


# --- While reading ------------------------------------------------------------------------------


def test_an_object_that_is_replaced_before_it_is_read_is_left_for_the_next_run(
    settings: Settings, connection: Connection
) -> None:
    s3.put({"in/a.json": EVENT, "in/b.json": EVENT, "in/c.json": EVENT, "in/d.json": EVENT})
    plan = landing.discover(settings, connection)
    s3.put({"in/b.json": EVENT * 2, "in/c.json": b" " * len(EVENT)})
    s3.take_away("in/d.json")
    loaded = loading.load_files(connection, plan.arrivals, run_id="run", store=storage.of_landing(settings))
    reasons = dict(loaded.left_out)
    assert list(reasons) == ["b.json", "c.json", "d.json"]
    assert reasons["b.json"] == reasons["c.json"] == f"cannot be read: {storage.CHANGED}"
    assert "does not exist" in reasons["d.json"]
    assert [(name, line) for name, line, *_ in rows(connection)] == [("a.json", 1)]
    assert names(load(settings, connection)[0]) == [("b.json", 1, False), ("c.json", 1, False)]


def test_an_object_that_is_replaced_between_two_parts_gives_no_mixture(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "PART_BYTES", 2**16)
    s3.put({"in/a.json": b"a" * 2**18, "in/b.json": b"b"})
    store = store_of(settings)
    first, second = store.objects()
    with store.reading([first, second], parts_ahead=1) as ahead:
        with ahead.open(first) as file:
            assert file.read(2**20) == b"a" * 2**16
            s3.put({"in/a.json": b"c" * 2**18})
            with pytest.raises(OSError, match="changed while it was read"):
                list(iter(lambda: file.read(2**20), b""))
        with ahead.open(second) as file:
            assert file.read(10) == b"b"


def test_a_server_that_knows_no_conditions_gives_no_mixture_either(server: Server, settings: Settings) -> None:
    s3.put({"in/a.json": b"old"})
    store = store_of(settings)
    (before,) = store.objects()
    s3.put({"in/a.json": b"new"})
    (after,) = store.objects()
    unconditional = StoredObject(before.bucket, before.key, before.size_bytes, after.etag)
    part = store._part(unconditional, 0, 3)
    assert store._begin(part).result() == b"new"
    server.faults["in/a.json"] = s3.without_conditions
    with pytest.raises(OSError, match="changed while it was read"):
        store._begin(store._part(before, 0, 3)).result()


@pytest.mark.parametrize("status", ["500 Internal Server Error", "403 Forbidden", "503 Slow Down"])
def test_trouble_with_one_object_leaves_out_that_one(
    server: Server, settings: Settings, connection: Connection, status: str
) -> None:
    s3.put({f"in/{name}.json": EVENT for name in "abcde"})
    server.faults["in/c.json"] = s3.always(status)
    _, loaded = load(settings, connection)
    assert loaded.batches == 4
    assert [name for name, _ in loaded.left_out] == ["c.json"]
    server.faults.clear()
    assert names(load(settings, connection)[0]) == [("c.json", 1, False)]


def test_a_connection_that_is_cut_off_is_tried_again(
    server: Server, settings: Settings, connection: Connection
) -> None:
    content = b"".join(EVENT.replace(b"u1", b"u%d" % i) for i in range(20_000))
    s3.put({"in/a.json": content, "in/b.json": EVENT, "in/never.json": EVENT * 100})
    server.faults |= {"in/a.json": s3.cut_off(times=1), "in/never.json": s3.cut_off(times=99)}
    _, loaded = load(settings, connection)
    assert [name for name, _ in loaded.left_out] == ["never.json"]
    hashes = dict(connection.execute("select filename, content_hash from ops.batches").fetchall())
    assert hashes["a.json"] == hashlib.sha256(content).hexdigest()
    assert loaded.rows == 20_001
    assert server.asked["GET in/a.json"] == 2


def test_a_server_that_does_not_answer_holds_nobody_up(
    server: Server, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CALL_SECONDS", 2)
    s3.put({f"in/{name}.json": EVENT for name in "abc"})
    server.faults["in/b.json"] = s3.hang(8)
    began = time.monotonic()
    _, loaded = load(settings, connection)
    assert time.monotonic() - began < 8
    assert loaded.left_out == (("b.json", "cannot be read: no answer within 2 seconds"),)
    assert loaded.batches == 2


def test_a_server_that_goes_away_in_the_middle_ends_the_run_and_nothing_is_lost_or_twice(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "TRANSACTION_FILES", 5)
    s3.put({f"in/{i:02}.json": EVENT for i in range(20)})
    second = Server()
    second.start()
    settings = settings.model_copy(update={"s3_endpoint_url": second.url})
    plan = landing.discover(settings, connection)
    with pytest.raises(LandingError, match=rf"s3://{BUCKET}/in.*{second.url} does not answer"):
        loading.load_files(
            connection,
            plan.arrivals,
            run_id="run",
            store=storage.of_landing(settings),
            progress=lambda _: second.stop(),
        )
    assert len(rows(connection)) == 5
    second.start()
    plan, loaded = load(settings, connection)
    second.stop()
    assert (len(plan.arrivals), loaded.batches, len(rows(connection))) == (15, 15, 20)


def test_many_small_objects_are_read_side_by_side(server: Server, settings: Settings) -> None:
    s3.put({f"in/{i:02}.json": EVENT for i in range(32)})
    server.faults |= {f"in/{i:02}.json": s3.hang(0.3) for i in range(32)}
    store = store_of(settings)
    found = list(store.objects())
    began = time.monotonic()
    assert set(store.hashes(found)) == {hashlib.sha256(EVENT).hexdigest()}
    assert time.monotonic() - began < 32 * 0.3 / 2


# --- Refused as a whole -------------------------------------------------------------------------


def refusal(settings: Settings) -> str:
    with pytest.raises(LandingError) as raised:
        list(store_of(settings).objects())
    message = str(raised.value)
    assert str(settings.landing_dir) in message
    assert SECRET not in message
    return message


def test_a_bucket_that_is_not_there(settings: Settings) -> None:
    message = refusal(settings.model_copy(update={"landing": ObjectFolder("nowhere", "in/")}))
    assert "there is no bucket nowhere" in message
    assert "PODCAST_LANDING" in message


def test_a_server_that_is_not_there(settings: Settings) -> None:
    message = refusal(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    assert "http://127.0.0.1:1 does not answer" in message
    assert "PODCAST_S3_ENDPOINT_URL" in message


def test_credentials_that_are_wrong_or_may_nothing(
    server: Server, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = s3.user_with_rights("s3:ListBucket", "s3:GetObject")
    may_list = s3.user_with_rights("s3:ListBucket")
    may_nothing = s3.user_with_rights("s3:CreateBucket")
    s3.put({"in/a.json": EVENT})
    server.enforce_rights()
    try:

        def owned_by(owner: dict[str, str]) -> Settings:
            return settings_of(settings.home, server, **owner)

        for wrong in (settings, owned_by(may_read | {"s3_secret_access_key": SECRET}), owned_by(may_nothing)):
            assert "refuses the credentials" in refusal(wrong)
            assert "PODCAST_S3_ACCESS_KEY_ID" in refusal(wrong)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        assert "refuses the credentials" in refusal(
            settings.model_copy(update={"s3_access_key_id": None, "s3_secret_access_key": None})
        )
        _, loaded = load(owned_by(may_list), connection)
        assert [name for name, _ in loaded.left_out] == ["a.json"]
        _, loaded = load(owned_by(may_read), connection)
        assert loaded.batches == 1
    finally:
        server.know_everybody()


# --- Evidence -----------------------------------------------------------------------------------

FAILING_LINES = """
    create view ops.failing_lines as
    select
        batch_id, filename, line_number, ['malformed_json'] as codes, event_type, user_id, episode_id,
        "timestamp", duration, rescued, rescued_bytes, load_at
    from bronze.raw_events
    where is_malformed
"""


def held_back(settings: Settings, connection: Connection) -> Batch:
    connection.execute(FAILING_LINES)
    s3.put({"in/bad.json": b"oops\n" * 30})
    load(settings, connection)
    (batch,) = ledger.pending(connection)
    quarantine.write_evidence(settings, connection, batch, gate="raw", reasons=("malformed_share", "Too many."))
    return batch


def test_evidence_is_kept_in_the_bucket(server: Server, settings: Settings, connection: Connection) -> None:
    s3.put({"held/back/other/note.txt": b"", f"held/back/{loading.batch_id('bad.json', 1)}/old.txt": b"of before"})
    batch = held_back(settings, connection)
    objects = s3.stored(f"held/back/{batch.batch_id}/")
    assert {key.rsplit("/", 1)[1] for key in objects} == {"report.md", "report.json", "failing_lines.jsonl"}
    report = json.loads(objects[f"held/back/{batch.batch_id}/report.json"])
    assert (report["filename"], report["row_count"]) == ("bad.json", 30)
    assert len(objects[f"held/back/{batch.batch_id}/failing_lines.jsonl"].splitlines()) == 30

    shown = evidence.failing_lines(settings, connection, [batch.batch_id, "0" * 16], limit=20)
    assert [line.line_number for line in shown[batch.batch_id].first] == list(range(1, 21))
    assert shown[batch.batch_id].has_more
    assert shown["0" * 16].first == ()
    assert evidence.exists(settings, batch.batch_id)
    assert not evidence.exists(settings, "0" * 16)
    assert sorted(evidence.kept(settings)) == sorted(["other", batch.batch_id])
    assert not list(settings.home.glob("evidence-*"))
    assert server.asked[f"DELETE held/back/{batch.batch_id}/old.txt"] == 1


def test_evidence_of_closed_cases_is_pruned_in_the_bucket(settings: Settings, connection: Connection) -> None:
    batch = held_back(settings, connection)
    s3.put({"held/back/other/note.txt": b""})
    due = settings.model_copy(update={"keep_evidence_days": 0})
    assert retention.prune(due, connection).evidence == 0
    connection.execute("update ops.batches set status = 'discarded', pending = false")
    assert retention.prune(due, connection, dry_run=True).evidence == 1
    assert evidence.exists(settings, batch.batch_id)
    assert retention.prune(due, connection).evidence == 1
    assert list(s3.stored("held/back/")) == ["held/back/other/note.txt"]


def test_evidence_that_cannot_be_kept_ends_the_run(settings: Settings, connection: Connection) -> None:
    lost = settings.model_copy(update={"quarantine": ObjectFolder("nowhere")})
    with pytest.raises(EvidenceError, match=r"s3://nowhere.*there is no bucket nowhere.*PODCAST_QUARANTINE"):
        held_back(lost, connection)


# --- Backup and rebuild -------------------------------------------------------------------------


def test_a_warehouse_is_rebuilt_from_a_bucket(tmp_path: Path, settings: Settings) -> None:
    old = EVENT * 3
    s3.put({f"in/{i}.json": EVENT * (i + 1) for i in range(4)} | {"in/changed.json": old})
    with warehouse.connect(settings) as connection:
        load(settings, connection)
        publish(connection)
        before = rows(connection)
    taken = back_up(settings, out=tmp_path / "backup").path
    shutil.rmtree(settings.home / "warehouse")
    s3.put({"in/changed.json": EVENT, "in/0.json": EVENT})
    with pytest.raises(
        rebuild.RebuildError, match=r"s3://landing/in as it was loaded(?s:.*)changed.json has other content"
    ):
        rebuild.rebuild(settings, taken / "ledger.jsonl")
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / "any name").write_bytes(old)
    built = rebuild.rebuild(settings, taken / "ledger.jsonl", originals=tmp_path / "originals")
    assert (built.attempts, built.lines, built.not_there) == (5, 13, ())
    with warehouse.connect(settings) as connection:
        assert rows(connection) == before
        assert names(landing.discover(settings, connection)) == [("changed.json", 2, True)]


def test_a_restore_leaves_the_evidence_of_a_bucket_alone(tmp_path: Path, settings: Settings) -> None:
    s3.put({"in/a.json": EVENT, "held/back/0123456789abcdef/report.md": b"why"})
    with warehouse.connect(settings) as connection:
        load(settings, connection)
    taken = back_up(settings, out=tmp_path / "backup").path
    assert not (taken / "evidence").exists()
    restore(settings, taken, force=True)
    assert s3.stored("held/back/") == {"held/back/0123456789abcdef/report.md": b"why"}
    with warehouse.connect(settings) as connection:
        assert [name for name, *_ in rows(connection)] == ["a.json"]
