"""Backups restored, warehouses rebuilt, and what happens when one of these is damaged, refused or killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from conftest import Home
from prefect.exceptions import ParameterTypeError
from strategies import EPISODES, USERS, big_landing

from flows import backup, ledger, manifest, rebuild
from flows.backup import back_up
from flows.domain import RunStatus
from flows.errors import BackupError, RebuildError, WarehouseLockedError
from flows.loading import batch_id
from flows.restore import restore
from flows.settings import load_settings
from flows.warehouse import connect, restore_mark, writer_lock

if TYPE_CHECKING:
    from oracle import World

KNOWN_USERS, KNOWN_EPISODES = list(USERS[:-2]), list(EPISODES[:-2])
PODCAST = Path(sys.executable).with_name("podcast")


def events(*minutes: int, user: str = "u1") -> bytes:
    values = ({"event_type": "play", "user_id": user, "episode_id": "e1", "duration": 60} for _ in minutes)
    return b"".join(
        json.dumps({**value, "timestamp": f"2025-12-30T09:{minute:02}:00Z"}).encode() + b"\n"
        for value, minute in zip(values, minutes, strict=True)
    )


FIRST = big_landing(11, 60) | {
    "released.json": events(1, 2, user="nobody"),
    "discarded.json": events(3, 4),
    "corrected.json": b"{\n" + events(5),
    "changed.json": events(6, 7, 8),
}
CORRECTED = {"corrected.json": events(5, 9)}
DECISIONS = {"released.json": "released", "discarded.json": "discarded"}


def decide(decision: str, name: str) -> None:
    settings = load_settings()
    with writer_lock(settings, purpose="test"), connect(settings) as connection:
        getattr(ledger, decision)(connection, ledger.find(connection, name), reason="because", who="me")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Path]:  # noqa: ARG001
    """The home of a warehouse with a history: a release, a discard and a corrected file."""
    with pytest.MonkeyPatch.context() as patch:
        home = Home(tmp_path_factory.mktemp("lived") / "home", patch)
        home.set(seeds=write_reference_data(home.path / "seeds", KNOWN_USERS, KNOWN_EPISODES))
        home.land(FIRST)
        home.run()
        home.land(CORRECTED)
        decide("release", "released.json")
        decide("discard", "discarded.json")
        home.run()
        yield home.path


@pytest.fixture
def moved(home: Home, lived: Path) -> Home:
    """A copy of that home, landing directory and all: every file has another fingerprint there."""
    shutil.copytree(lived, home.path, dirs_exist_ok=True)
    home.set(seeds=home.path / "seeds")
    return home


def world(home: Home, **more: bytes) -> World:
    contents = FIRST | CORRECTED | more
    database = home.path / "warehouse" / "podcast.duckdb"
    return expected_world(database, contents, KNOWN_USERS, KNOWN_EPISODES, decisions=DECISIONS)


def tables(home: Home) -> dict[str, Any]:
    """All that a person can see of a warehouse, batch ids and times of loading included."""
    columns = ", ".join(name for name in ledger.COLUMNS if name != "fingerprint")
    return {
        "published": snapshot(home.path / "warehouse" / "published.duckdb"),
        "working": snapshot(home.path / "warehouse" / "podcast.duckdb"),
        "raw": home.query("from bronze.raw_events order by batch_id, line_number"),
        "ledger": home.query(f"select {columns} from ops.batches order by filename, attempt"),
    }


def history(home: Home) -> tuple[set[Any], set[Any]]:
    runs = home.query("from ops.runs")
    return set(runs), set(home.query("from ops.validation_results"))


def evidence(home: Home) -> dict[str, dict[str, Any]]:
    """By batch: the failing lines, and the report with what was found as one text."""
    found: dict[str, dict[str, Any]] = {}
    for path in (home.path / "quarantine").glob("*/report.json"):
        report = json.loads(path.read_text())
        lines = path.with_name("failing_lines.jsonl")
        found[path.parent.name] = report | {
            "findings": "; ".join(report["findings"]),
            "lines": lines.read_text() if lines.exists() else None,
            "is for people": report["filename"] in path.with_name("report.md").read_text(),
        }
    return found


def everything(home: Home) -> dict[str, str]:
    """Every file below the home by its hash, but for the lock and the libraries' own."""
    own = ("warehouse/writer", "prefect/", "dbt/", "gx/", "site/")
    paths = ((path.relative_to(home.path).as_posix(), path) for path in home.path.rglob("*") if path.is_file())
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in paths if not n.startswith(own)}


def lose(home: Home) -> None:
    shutil.rmtree(home.path / "warehouse")
    shutil.rmtree(home.path / "quarantine")


# Restoring


def test_what_is_restored_is_what_was_and_goes_on(moved: Home) -> None:
    before, kept, past = tables(moved), evidence(moved), history(moved)
    made = back_up(load_settings())
    assert made.path.parent == moved.path / "backups"
    assert made.manifest.tables["podcast.duckdb"]["bronze.raw_events"] == len(before["raw"])
    assert len((made.path / "ledger.jsonl").read_text().split("\n")) == len(before["ledger"]) + 1
    lose(moved)

    restore(load_settings(), made.path)

    assert (tables(moved), evidence(moved), history(moved)) == (before, kept, past)
    assert_tables_equal(moved.path, world(moved))
    assert moved.run().status is RunStatus.NOTHING_NEW
    assert tables(moved) == before
    moved.land({"new.json": events(20)})
    assert moved.run().published_batches == 1
    assert_tables_equal(moved.path, world(moved, **{"new.json": events(20)}))


def test_files_that_came_after_the_backup_are_loaded_after_the_restore(moved: Home) -> None:
    made = back_up(load_settings())
    moved.land({"later.json": events(21)})
    moved.run()

    restored = restore(load_settings(), made.path, force=True)

    assert restored.aside is not None
    with duckdb.connect(str(restored.aside / "podcast.duckdb"), read_only=True) as connection:
        later = connection.execute("select count(*) from ops.batches where filename = 'later.json'").fetchone()
    assert later == (1,)
    assert (restored.aside / "published.duckdb").exists()
    assert any((restored.aside / "quarantine").iterdir())
    assert moved.query("from ops.batches where filename = 'later.json'") == []
    assert moved.run().published_batches == 1
    assert_tables_equal(moved.path, world(moved, **{"later.json": events(21)}))


def test_reference_data_that_is_not_what_it_was_is_named(moved: Home) -> None:
    made = back_up(load_settings())
    write_reference_data(moved.path / "seeds", USERS, KNOWN_EPISODES)
    assert restore(load_settings(), made.path, force=True).other_reference == ("users.csv",)


def test_what_a_crash_left_in_the_log_is_in_the_backup(moved: Home) -> None:
    code = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1])\n"
        "c.execute(\"insert into ops.runs (run_id, status) values ('only in the log', 'failed')\"); os._exit(0)"
    )
    database = moved.path / "warehouse" / "podcast.duckdb"
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)
    assert database.with_name("podcast.duckdb.wal").exists()

    made = back_up(load_settings())

    with duckdb.connect(str(made.path / "podcast.duckdb"), read_only=True) as connection:
        found = connection.execute("select count(*) from ops.runs where run_id = 'only in the log'").fetchone()
    assert found == (1,)
    assert "only in the log" in (made.path / "runs.jsonl").read_text()


# Damaged backups


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A manifest that says something else and is whole."""
    content = json.loads((folder / manifest.NAME).read_text())
    del content["manifest_sha256"]
    change(content)
    content["manifest_sha256"] = manifest._checksum(content)
    (folder / manifest.NAME).write_text(json.dumps(content))


def outside(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder.parent / "victim").write_bytes(b"")
        entry = {"size_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
        rewrite(folder, lambda content: content["files"].update({name.format(folder.parent): entry}))

    return damage


def link(folder: Path) -> None:
    (folder / "podcast.duckdb").rename(folder.parent / "elsewhere.duckdb")
    (folder / "podcast.duckdb").symlink_to(folder.parent / "elsewhere.duckdb")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped": (lambda b: flip(b / "podcast.duckdb"), r"podcast\.duckdb: has other bytes"),
    "flipped published": (lambda b: flip(b / "published.duckdb"), r"published\.duckdb: has other bytes"),
    "flipped ledger": (lambda b: flip(b / "ledger.jsonl"), r"ledger\.jsonl: has other bytes"),
    "flipped manifest": (lambda b: flip(b / "manifest.json"), r"manifest\.json is not as it was written"),
    "cut off": (lambda b: os.truncate(b / "podcast.duckdb", 5000), r"podcast\.duckdb: has 5,000 bytes instead of"),
    "missing": (lambda b: (b / "published.duckdb").unlink(), r"published\.duckdb: cannot be read: No such file"),
    "cut manifest": (lambda b: os.truncate(b / "manifest.json", 300), r"manifest\.json is not as it was written"),
    "no manifest": (lambda b: (b / "manifest.json").unlink(), "is no backup: manifest.json cannot be read"),
    "later version": (lambda b: rewrite(b, lambda m: m.update(format=2)), "is of format 2, .* reads up to 1"),
    "no database": (lambda b: rewrite(b, lambda m: m["files"].pop("podcast.duckdb")), "has no entry for it"),
    "other rows": (
        lambda b: rewrite(b, lambda m: m["tables"]["podcast.duckdb"].update({"ops.batches": 1})),
        r"podcast\.duckdb: ops\.batches has 65 rows instead of 1",
    ),
    "above": (outside("../victim"), r"\.\./victim: lies outside of the backup"),
    "above inside": (outside("quarantine/../../victim"), "victim: lies outside of the backup"),
    "absolute": (outside("{}/victim"), "/victim: lies outside of the backup"),
    "link": (link, r"podcast\.duckdb: lies outside of the backup"),
}


@pytest.fixture(scope="module")
def good_backup(lived: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODCAST_HOME", str(lived))
        patch.setenv("PODCAST_SEEDS", str(lived / "seeds"))
        return back_up(load_settings(), out=tmp_path_factory.mktemp("backup") / "good").path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_refused_and_nothing_is_touched(
    moved: Home, good_backup: Path, tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(good_backup, tmp_path / "backups" / "damaged")
    before = everything(moved)
    do, message = DAMAGES[damage]
    do(copy)
    with pytest.raises(BackupError, match=message) as error:
        restore(load_settings(), copy, force=True)
    assert "nothing was changed" in str(error.value).lower() or "Name the folder" in str(error.value)
    assert everything(moved) == before
    restore(load_settings(), good_backup, force=True)


# Refusals


def test_a_backup_needs_something_to_back_up_and_a_free_place(moved: Home, tmp_path: Path) -> None:
    settings = load_settings()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "a file").touch()
    for out, message in ((taken, "is not empty"), (moved.path / "landing" / "x", "would be read as events")):
        with pytest.raises(BackupError, match=message):
            back_up(settings, out=out)
    with writer_lock(settings, purpose="another"), pytest.raises(WarehouseLockedError):
        back_up(settings)
    assert not (moved.path / "backups").exists()
    lose(moved)
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(settings)
    assert not (moved.path / "warehouse").exists()


def test_a_warehouse_is_neither_restored_nor_rebuilt_over(moved: Home, good_backup: Path) -> None:
    before = everything(moved)
    with pytest.raises(BackupError, match=r"There is a warehouse already: .*podcast\.duckdb.*--force"):
        restore(load_settings(), good_backup)
    with pytest.raises(RebuildError, match=r"There is a warehouse already: .*podcast\.duckdb.*move it away"):
        rebuild.rebuild(load_settings(), good_backup / "ledger.jsonl")
    assert everything(moved) == before


def test_the_flow_keeps_the_newest_backups(moved: Home, good_backup: Path) -> None:
    from flows.maintenance import podcast_backup

    made = [podcast_backup(keep=2) for _ in range(3)]
    assert sorted(str(path) for path in (moved.path / "backups").iterdir()) == sorted(made[1:])
    podcast_backup(out=str(moved.path / "beside"), keep=1)
    assert len(list((moved.path / "backups").iterdir())) == 2, "only a backup in the default folder makes others go"
    with pytest.raises(ParameterTypeError, match="keep: Input should be greater than or equal to 1"):
        podcast_backup(keep=0)
    assert good_backup.exists()


# Rebuilding


@pytest.fixture
def changed(moved: Home) -> Home:
    """The home after one published file was overwritten; its first content is kept beside."""
    (moved.path / "originals" / "any name").mkdir(parents=True)
    (moved.path / "originals" / "any name" / "1").write_bytes(FIRST["changed.json"])
    moved.land({"changed.json": events(6, 7, 50)})
    summary = moved.run()
    assert [b.reason for b in summary.quarantined] == ["mutated_file"]
    return moved


def test_what_is_rebuilt_is_what_was_load_times_included(changed: Home) -> None:
    from flows.maintenance import podcast_rebuild

    before, kept, past = tables(changed), evidence(changed), history(changed)
    exported = back_up(load_settings()).path / "ledger.jsonl"
    lose(changed)
    changed.land({"unknown.json": events(30)})
    gone = batch_id("corrected.json", 1)

    with pytest.raises(RebuildError) as error:
        podcast_rebuild(ledger_file=str(exported))
    first = hashlib.sha256(FIRST["changed.json"]).hexdigest()
    assert f"changed.json has other content; attempt 1 (published, 3 lines) has sha256 {first}" in str(error.value)
    assert not (changed.path / "warehouse" / "podcast.duckdb").exists()
    summary = podcast_rebuild(ledger_file=str(exported), originals=str(changed.path / "originals"))

    assert summary.refused == (("corrected.json", "(attempt 1, superseded): its 2 lines are no longer there"),)
    assert summary.run.lines + 2 == summary.warehouse.lines
    after = tables(changed)
    assert (after["published"], after["working"]) == (before["published"], before["working"])
    assert after["raw"] == [row for row in before["raw"] if row[0] != gone]
    assert [b[0] for b in after["raw"]].count(batch_id("changed.json", 1)) == 3
    pruned = ("raw_pruned_at",) if "raw_pruned_at" in ledger.COLUMNS else ()
    names = [name for name in ledger.COLUMNS if name != "fingerprint"]
    plain = [[v for n, v in zip(names, row, strict=True) if n not in pruned] for row in after["ledger"]]
    assert plain == [[v for n, v in zip(names, row, strict=True) if n not in pruned] for row in before["ledger"]]
    assert all(lived <= rebuilt for lived, rebuilt in zip(past, history(changed), strict=True))
    held_back = {b for (b,) in changed.query("select batch_id from ops.batches where status = 'quarantined'")}
    assert len(held_back) > 5
    assert evidence(changed) == {batch: kept[batch] for batch in held_back}

    # It goes on as if nothing had happened.
    assert changed.run().published_batches == 1
    published = changed.query("select count(*) from gold.fact_user_interactions", published=True)
    changed.run(full_refresh=True)
    assert changed.query("select count(*) from gold.fact_user_interactions", published=True) == published
    assert changed.run().status is RunStatus.NOTHING_NEW


def test_a_copy_that_was_published_since_the_backup_is_not_what_a_rebuild_goes_by(moved: Home) -> None:
    """It knows of one run more than the backup, as after a crash in the middle of publishing."""
    from flows.maintenance import podcast_rebuild

    exported = back_up(load_settings()).path / "ledger.jsonl"
    moved.land({"since.json": events(31)})
    moved.run()
    for path in (moved.path / "warehouse").glob("podcast.duckdb*"):
        path.unlink()

    podcast_rebuild(ledger_file=str(exported))
    moved.run()
    assert_tables_equal(moved.path, world(moved, **{"since.json": events(31)}))


def test_all_that_is_missing_is_named_at_once_and_can_be_left_out(changed: Home) -> None:
    from flows.maintenance import podcast_rebuild

    exported = back_up(load_settings()).path / "ledger.jsonl"
    raw = changed.query("select batch_id, filename from bronze.raw_events")
    lose(changed)
    (changed.path / "landing" / "released.json").unlink()
    before = everything(changed)
    with pytest.raises(RebuildError) as error:
        podcast_rebuild(ledger_file=str(exported))
    assert "2 attempts" in str(error.value)
    assert "released.json is not there; attempt 1 (released, 2 lines)" in str(error.value)
    assert "changed.json has other content; attempt 1" in str(error.value)
    assert everything(changed) == before

    summary = podcast_rebuild(ledger_file=str(exported), partial=True)

    assert {name for name, _ in summary.refused} == {"changed.json", "released.json", "corrected.json"}
    left = {batch_id("changed.json", 1), batch_id("released.json", 1)}
    lost = left | {batch_id("corrected.json", 1)}
    assert left.isdisjoint(b for (b,) in changed.query("select batch_id from ops.batches"))
    found = changed.query("select batch_id, filename from bronze.raw_events")
    assert sorted(found) == sorted(row for row in raw if row[0] not in lost)
    assert summary.warehouse.reconciles
    assert changed.run().status is RunStatus.NOTHING_NEW


def test_an_export_of_another_version_is_read(good_backup: Path, tmp_path: Path) -> None:
    lines = (good_backup / "ledger.jsonl").read_text().split("\n")
    entries = [json.loads(line) for line in lines if line]
    other = [{**{k: v for k, v in entry.items() if k != "detail"}, "of_tomorrow": [1]} for entry in entries]
    path = tmp_path / "ledger.jsonl"
    path.write_text("\n".join(map(json.dumps, other)))
    batches = rebuild.read_ledger(path)
    assert [b.batch_id for b in batches] == [entry["batch_id"] for entry in entries]
    assert {b.detail for b in batches} == {None}

    for content, message in (
        (lines[0] + "\n" + lines[1][:50], "line 2 is not an entry of a ledger"),
        (json.dumps({**entries[0], "load_at": None}), "line 1 .*load_at missing"),
        (json.dumps({**entries[0], "status": "odd"}), "line 1 .*odd"),
        (lines[0] + "\n" + lines[0], "names a batch twice"),
        ("", "names no batch"),
    ):
        path.write_text(content)
        with pytest.raises(RebuildError, match=message):
            rebuild.read_ledger(path)
    with pytest.raises(RebuildError, match="cannot be read: No such file"):
        rebuild.read_ledger(tmp_path / "nowhere")


def test_another_number_of_lines_or_a_name_outside_is_no_rebuild(moved: Home, good_backup: Path) -> None:
    lose(moved)
    copy = moved.path / "ledger.jsonl"
    for change, message in (
        ({"row_count": 7}, r"discarded\.json: 2 lines instead of 7"),
        ({"filename": "../seeds/users.csv", "status": "published"}, r"\.\./seeds/users\.csv is not there"),
    ):
        entries = [json.loads(line) for line in (good_backup / "ledger.jsonl").read_text().split("\n") if line]
        (entry,) = [entry for entry in entries if entry["filename"] == "discarded.json"]
        entry |= change
        if "filename" in change:
            entry["content_hash"] = hashlib.sha256((moved.path / "seeds" / "users.csv").read_bytes()).hexdigest()
        copy.write_text("\n".join(map(json.dumps, entries)))
        with pytest.raises(RebuildError, match=message):
            rebuild.rebuild(load_settings(), copy)
        assert not (moved.path / "warehouse" / "podcast.duckdb").exists()


# Kills

KILLED_AT = """
import os, signal, sys
from pathlib import Path
import flows.backup, flows.restore, flows.rebuild
from flows import files, ledger, loading
from flows.settings import load_settings
left = int(sys.argv[1])
def counted(function):
    def call(*arguments, **options):
        global left
        is_one_of_many = function.__name__ == "copy" and arguments[1].name != "podcast.duckdb"
        left -= not is_one_of_many
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for module, name in ((files, "rename"), (files, "remove"), (files, "copy"), (flows.backup, "copy_in_process"),
                     (loading, "load_known"), (ledger, "enter"), (flows.rebuild, "_load_history")):
    setattr(module, name, counted(getattr(module, name)))
"""


def kill_at(step: int, code: str) -> bool:
    """Run code in a process that is killed before its so many-th step; whether it came to the end instead."""
    done = subprocess.run([sys.executable, "-c", KILLED_AT + code, str(step)], capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode == 0


def test_a_killed_backup_never_looks_whole(moved: Home) -> None:
    before = tables(moved)
    step = 0
    while not kill_at(step, "flows.backup.back_up(load_settings())"):
        assert not list((moved.path / "backups").glob("[!.]*"))
        step += 1
    assert step >= 2
    (made,) = (moved.path / "backups").iterdir()
    manifest.check(made, manifest.read(made))
    assert tables(moved) == before


def test_a_copy_that_goes_wrong_leaves_nothing(moved: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = backup.reference_sources(load_settings())
    monkeypatch.setattr(backup, "reference_sources", lambda _: reference | {"reference/more": Path("/nowhere")})
    with pytest.raises(BackupError, match="/nowhere"):
        back_up(load_settings())
    assert list((moved.path / "backups").iterdir()) == []


def test_a_killed_restore_leaves_the_old_state_or_says_how_to_finish(moved: Home, good_backup: Path) -> None:
    settings = load_settings()
    with connect(settings) as connection:
        connection.execute("insert into ops.runs (run_id, status) values ('later', 'failed')")
    restored = manifest.count_rows(good_backup / "podcast.duckdb")
    old = restored | {"ops.runs": restored["ops.runs"] + 1}
    pristine = moved.path.parent / "pristine"
    for name in ("warehouse", "quarantine"):
        shutil.copytree(moved.path / name, pristine / name)
    marked = step = 0
    finished = False
    while not finished:
        finished = kill_at(step, f"flows.restore.restore(load_settings(), Path({str(good_backup)!r}), force=True)")
        if restore_mark(settings).exists():
            marked += 1
            with pytest.raises(BackupError, match=f"podcast restore --force {good_backup}"), connect(settings):
                pass
            with pytest.raises(BackupError, match="podcast restore --force"):
                rebuild.rebuild(settings, good_backup / "ledger.jsonl")
        else:
            assert manifest.count_rows(settings.warehouse_path) == (restored if finished else old)
            assert settings.published_path.exists()
        aside = restore(settings, good_backup, force=True).aside
        assert manifest.count_rows(settings.warehouse_path) == restored
        assert settings.published_path.read_bytes() == (good_backup / "published.duckdb").read_bytes()
        # What was there before the first attempt is where the last one says.
        assert aside is not None
        assert {path.name for path in aside.iterdir()} == {"podcast.duckdb", "published.duckdb", "quarantine"}
        assert finished or manifest.count_rows(aside / "podcast.duckdb") == old
        for name in ("warehouse", "quarantine"):
            shutil.rmtree(moved.path / name)
            shutil.copytree(pristine / name, moved.path / name)
        step += 1
    assert marked >= 5


def test_a_killed_rebuild_is_started_again_or_finished_by_a_run(moved: Home, good_backup: Path) -> None:
    before = tables(moved)
    lose(moved)
    step = 0
    while not kill_at(step, f"flows.rebuild.rebuild(load_settings(), Path({str(good_backup / 'ledger.jsonl')!r}))"):
        assert not (moved.path / "warehouse" / "podcast.duckdb").exists()
        step += 1
    assert step >= 4
    # Here it could be killed as well, before the flow has published anything.
    with pytest.raises(RebuildError, match="finish that with: podcast run"):
        rebuild.rebuild(load_settings(), good_backup / "ledger.jsonl")
    moved.run()
    after = tables(moved)
    assert after["published"] == before["published"]
    assert after["working"] == before["working"]
    assert moved.run().status is RunStatus.NOTHING_NEW


# What a person types


def podcast(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {"COLUMNS": "300"}
    return subprocess.run(
        [PODCAST, *words], env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=home.path
    )


def test_the_commands_say_what_they_did_and_why_not(changed: Home) -> None:
    made = podcast(changed, "backup", "--out", "here")
    assert (made.returncode, made.stderr) == (0, "")
    folder = changed.path / "here"
    assert str(folder) in made.stdout
    assert f"{manifest.read(folder).size_bytes:,} bytes" in made.stdout
    assert "rows in" in made.stdout

    again = podcast(changed, "backup", "--out", "here")
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    refused = podcast(changed, "restore", "here")
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    forced = podcast(changed, "restore", "here", "--force")
    assert (forced.returncode, forced.stderr) == (0, "")
    assert "before-restore-" in forced.stdout
    rebuilt = podcast(changed, "rebuild", "--ledger", "here/ledger.jsonl")
    assert (rebuilt.returncode, "There is a warehouse already" in rebuilt.stderr) == (1, True)

    lose(changed)
    missing = podcast(changed, "rebuild", "--ledger", "here/ledger.jsonl")
    assert (missing.returncode, "changed.json has other content" in missing.stderr) == (1, True)
    rebuilt = podcast(changed, "rebuild", "--ledger", "here/ledger.jsonl", "--originals", "originals")
    assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
    assert "corrected.json (attempt 1, superseded): its 2 lines are no longer there" in rebuilt.stdout
    assert "Nothing new" in podcast(changed, "run").stdout

    lose(changed)
    nothing = podcast(changed, "backup")
    assert (nothing.returncode, "podcast run" in nothing.stderr) == (1, True)
    no_backup = podcast(changed, "restore", "landing")
    assert (no_backup.returncode, "is no backup" in no_backup.stderr) == (1, True)
    for done in (again, refused, rebuilt, missing, nothing, no_backup):
        assert "Traceback" not in done.stderr
