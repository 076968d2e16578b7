"""Reference data through the real flow: every form, its versions over time, broken parts, and crashes in between."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from comparison import assert_tables_equal, expected_world, snapshot, write_reference_data
from lines import event, lines
from reference_data import FORMS

from flows import publish, reference, transform, versions
from flows.backup import back_up
from flows.domain import RunStatus
from flows.errors import ReferenceDataError, TransformError
from flows.restore import restore
from flows.settings import load_settings
from flows.warehouse import connect

if TYPE_CHECKING:
    from conftest import Home

    from flows.settings import Settings

USERS = [("u1", date(2024, 1, 31), "NO"), ("u2", None, None), ("ü, \"3'", date(2023, 12, 1), "SE")]
EPISODES = [
    ("e1", "p1", "One", date(2024, 1, 1), 1000),
    ("e2", "p1", 'Two, "too"', None, 0),
    ("e3", "p2", None, None, None),
]
LANDING = {"a.json": lines(*(event(m) for m in range(10)), event(12, user="nobody"))}
VERSIONS = "select seen_at, is_built, pending from ops.reference_versions order by seen_at"
HISTORY = """
    select episode_id, duration_seconds, dbt_valid_from, dbt_valid_to from silver.episodes_history
    order by episode_id, dbt_valid_from
"""
PENDING = "select kind, id from ops.pending_reference_changes order by all"


def seeds(home: Home, users: list[Any] | None = None, episodes: list[Any] | None = None) -> Path:
    return write_reference_data(home.path / "as_seeds", users or USERS, episodes or EPISODES)


def put(home: Home, form: str, users: list[Any] | None = None, episodes: list[Any] | None = None) -> Path:
    """The reference data in a form, in place of what was there."""
    made, folder = seeds(home, users, episodes), home.path / "refe[r]ence='1'"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("users", "episodes"):
        if form == "seed":
            folder.mkdir(exist_ok=True)
            shutil.copyfile(made / f"{name}.csv", folder / f"{name}.csv")
        else:
            FORMS[form](made, folder, name)
    home.set(seeds=folder)
    return folder


def check(home: Home, users: list[Any] | None = None, episodes: list[Any] | None = None) -> None:
    warehouse = home.path / "warehouse" / "podcast.duckdb"
    assert_tables_equal(home.path, expected_world(warehouse, LANDING, users or USERS, episodes or EPISODES))


def steps(home: Home) -> list[str]:
    """Of the last run that published."""
    last = "(select arg_max(run_id, finished_at) from ops.runs)"
    rows = home.query(f"select step from ops.run_steps where run_id = {last} order by position")
    return [step for (step,) in rows]


def test_every_form_gives_the_same_tables(home: Home) -> None:
    """One home, the form exchanged: what is published stays the same, and no row has a second version."""
    home.land(LANDING)
    put(home, "seed")
    home.run()
    check(home)
    before = snapshot(home.path / "warehouse" / "published.duckdb")
    history = home.query(HISTORY, published=True)
    assert len(history) == 3
    for form in FORMS:
        put(home, form)
        assert home.run().status is RunStatus.PASSED
        assert "build reference" in steps(home)
        assert snapshot(home.path / "warehouse" / "published.duckdb") == before
        assert home.run().status is RunStatus.NOTHING_NEW
    assert home.query(HISTORY, published=True) == history
    assert home.query("select count(*) from ops.reference_changes") == [(0,)]

    # A backup has it as it is, and a restore says where it is otherwise by now.
    put(home, "parquet parts")
    made = back_up(load_settings())
    kept = {name for name in made.manifest.files if name.startswith("reference/")}
    assert kept == {f"reference/{name}/part-{n}.parquet" for name in ("users", "episodes") for n in (0, 1)}
    put(home, "csv parts", users=USERS[:2])
    differing = restore(load_settings(), made.path, force=True).other_reference
    assert set(differing) >= {"users/part-0.parquet", "users/part-0.csv", "episodes/part-1.csv.gz"}

    put(home, "seed")
    home.run(full_refresh=True)
    assert snapshot(home.path / "warehouse" / "published.duckdb") == before
    assert home.query(HISTORY, published=True) == history


def build() -> None:
    """What the flow does with a version of the reference data, without a run around it."""
    settings = load_settings()
    reference.check(settings.seeds)
    with connect(settings) as connection:
        versions.enter(connection, settings.reference_hash())
        transform.build_reference(settings)
        versions.mark_built(connection)


def test_what_the_engine_would_guess_is_told_to_it(home: Home) -> None:
    """A seed, then parts: quotes behind the rows a guess is made from, line ends, further columns, white space."""
    folder = home.path / "many"
    folder.mkdir()
    home.set(seeds=folder)
    header = "order,user_id,User-Agent,signup_date,country,full name\n"
    plain = "".join(f"$5,plain{n},x,2024-01-01,NO,y\n" for n in range(21_000))
    odd = (
        '1,"u1",x,2024-01-31,"US",y\r\n2, \u00fc\u00a0,x,,"S,E",y\n3,7,x,2024-2-1,"a ""b""\n\'c\'",y\r4,"null",x,,"",\n'
    )
    (folder / "users.csv").write_text(header + plain + odd, encoding="utf-8", newline="")
    (folder / "episodes.csv").write_text("episode_id,podcast_id,title,release_date,duration_seconds\r\ne1,p1,One,,60\n")
    expected = [
        ("7", date(2024, 2, 1), "a \"b\"\n'c'"),
        ("null", None, None),
        ("u1", date(2024, 1, 31), "US"),
        ("\u00fc", None, "S,E"),
    ]
    users = "select * from silver.users where user_id not like 'plain%' order by user_id"
    build()
    assert home.query(users) == expected
    assert home.query("select count(*), count(distinct user_id) from silver.users") == [(21_004, 21_004)]

    # The same in parts, of which no id is another for a space beside it.
    (folder / "users.csv").unlink()
    (folder / "users").mkdir()
    (folder / "users" / "0.csv").write_text(header + odd.replace("\r\n", "\n").replace("\r", "\n"), encoding="utf-8")
    build()
    assert home.query(users) == expected
    assert home.query("select count(*) from ops.reference_changes where id not like 'plain%'") == [(4 + 1,)]


def test_a_change_is_a_version(home: Home) -> None:
    form = "parquet parts"
    home.land(LANDING)
    put(home, form)
    home.run()
    ((first, *_),) = home.query(VERSIONS)
    longer = [("e1", "p1", "One", date(2024, 1, 1), 1200), *EPISODES[2:], ("e4", "p2", "Four", None, 60)]
    put(home, form, episodes=longer)
    home.run()
    check(home, episodes=longer)
    assert home.query(VERSIONS) == [(first, True, False), (second := home.query(VERSIONS)[1][0], True, False)]
    assert home.query(HISTORY, published=True) == [
        ("e1", 1000, first, second),
        ("e1", 1200, second, None),
        ("e2", 0, first, second),
        ("e3", None, first, None),
        ("e4", 60, second, None),
    ]
    assert home.query(PENDING) == []

    # A run over new files only does not build the reference data; a full refresh does, and drops no version.
    history = home.query(HISTORY)
    home.land({"b.json": lines(event(40))})
    home.run()
    assert "build reference" not in steps(home)
    home.run(full_refresh=True)
    assert "build reference" in steps(home)
    assert home.query(HISTORY, published=True) == history
    assert len(home.query(VERSIONS)) == 2


def test_a_broken_part_changes_nothing(home: Home) -> None:
    form, part, said = "csv parts", "part-0.csv", "record 2: signup_date is not"
    spoilt = b"user_id,signup_date,country\nu2,,\nu7,yesterday,\n"
    home.land(LANDING)
    folder = put(home, form)
    home.run()
    before, versions = snapshot(home.path / "warehouse" / "published.duckdb"), home.query(VERSIONS)
    path = folder / "users" / part
    whole = path.read_bytes()
    path.write_bytes(spoilt)
    with pytest.raises(ReferenceDataError, match="nothing was changed") as raised:
        home.run()
    assert f"{path}: {said}" in str(raised.value)
    assert snapshot(home.path / "warehouse" / "published.duckdb") == before
    assert home.query(VERSIONS) == versions
    path.write_bytes(whole)
    assert home.run().status in (RunStatus.NOTHING_NEW, RunStatus.PASSED)
    check(home)
    assert home.query(VERSIONS) == versions


def torn(*_: Any, **__: Any) -> None:
    raise TransformError("torn")


def run_torn(home: Home, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str], instead: Any = torn) -> None:
    """A run that ends in one of its functions."""
    with monkeypatch.context() as patch:
        patch.setattr(*place, instead)
        with pytest.raises(TransformError, match="torn"):
            home.run()


def test_a_crash_keeps_what_is_pending(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land(LANDING)
    put(home, "seed")
    home.run()
    ((first, *_),) = home.query(VERSIONS)

    # Before anything of the new version is built: it is entered, and not built.
    longer = [("e1", "p1", "One", date(2024, 1, 1), 1200), *EPISODES[1:]]
    put(home, "seed", episodes=longer)
    run_torn(home, monkeypatch, (transform, "build_reference"))
    assert home.query(VERSIONS)[1][1:] == (False, True)
    second = home.query(VERSIONS)[1][0]

    # After it is built, and before it is published: the changes wait, also for a run that builds no reference data.
    for _ in range(2):
        run_torn(home, monkeypatch, (transform, "build_layer"))
        assert home.query(VERSIONS)[1] == (second, True, True)
        assert home.query(PENDING) == [("episode", "e1")]

    # Another version on top, of another id: both wait.
    named = [("e1", "p1", "One", date(2024, 1, 1), 1200), EPISODES[1], ("e3", "p2", "Three", None, None)]
    put(home, "seed", users=USERS[:2], episodes=named)
    run_torn(home, monkeypatch, (publish, "_replace"))
    assert home.query(PENDING) == [("episode", "e1"), ("episode", "e3"), ("user", USERS[2][0])]
    home.run()
    check(home, users=USERS[:2], episodes=named)
    assert home.query(PENDING) == []
    third = home.query(VERSIONS)[2][0]
    assert [pending for *_, pending in home.query(VERSIONS)] == [False, False, False]
    assert home.query(HISTORY, published=True) == [
        ("e1", 1000, first, second),
        ("e1", 1200, second, None),
        ("e2", 0, first, None),
        ("e3", None, first, third),
        ("e3", None, third, None),
    ]

    # Between the rename and the settling: the next run catches up.
    put(home, "seed", users=USERS[:1], episodes=named)
    settle = publish._settle
    run_torn(home, monkeypatch, (publish, "_settle"), lambda *a: settle(*a) if a[2] == "published" else torn())
    assert home.query(PENDING) == [("user", "u2")]
    assert home.run().status is RunStatus.NOTHING_NEW
    assert home.query(PENDING) == []
    check(home, users=USERS[:1], episodes=named)


def test_a_crash_in_the_middle_of_the_build(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The users are in silver and in their history, the episodes in neither."""
    home.land(LANDING)
    put(home, "parquet")
    home.run()
    put(home, "parquet", users=USERS[:2], episodes=EPISODES[:2])
    build = transform.build_reference

    def of_users_only(settings: Settings) -> None:
        build(settings, select="tag:reference,+users_history")
        torn()

    run_torn(home, monkeypatch, (transform, "build_reference"), of_users_only)
    ((first, *_), (second, is_built, pending)) = home.query(VERSIONS)
    assert (is_built, pending) == (False, True)
    assert home.query("select count(*) from silver.users") == [(2,)]
    assert home.query("select count(*) from silver.episodes") == [(3,)]
    home.run()
    check(home, users=USERS[:2], episodes=EPISODES[:2])
    assert home.query(
        "select user_id, dbt_valid_from, dbt_valid_to from silver.users_history order by 1", published=True
    ) == [
        ("u1", first, None),
        ("u2", first, None),
        (USERS[2][0], first, second),
    ]
    assert home.query(HISTORY)[2] == ("e3", None, first, second)
