"""Login by key pair at an emulated Snowflake that lets nobody in by anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)
from engine_place import SAMPLE, Place, counted, land
from snowflake_server import SECRET, counted_there, on_snowflake, skip_unless_installed, start_emulator

from flows import publish

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]

PASSPHRASE = "only for this test, Grüße"  # noqa: S105 - of no key but the test's own
WRONG_PASSWORD, WRONG_TOKEN = 390100, 390144
CLIENTS = {"podcast", "dbt", "great_expectations_core"}
"""As they call themselves: what is carried and the lease, the builds, the gates."""
RENEWING = "import flows.snowflake_lock as lock; lock.RENEW_SECONDS = 5"
"""The lease is renewed by sessions of their own, all through the run."""
KEY, PHRASE = "PODCAST_SNOWFLAKE_PRIVATE_KEY_PATH", "PODCAST_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"


@dataclass
class Guarded:
    """A home, and what the emulator that it is on has seen of logins."""

    place: Place
    folder: Path

    def logins(self) -> list[tuple[str, str, int | None]]:
        """What each client calls itself, how it said who it is, and the error, if it was refused."""
        path = self.folder / "logins.jsonl"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def key(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One home for all tests of the module, in which nothing is done before the last one."""
    skip_unless_installed()
    folder = tmp_path_factory.mktemp("login")
    public_key = write_key(folder, "key.p8", PASSPHRASE)
    write_key(folder, "other.p8", PASSPHRASE)
    with start_emulator(folder, public_key) as variables:
        place = on_snowflake(folder / "home", variables)
        found = {name: value for name, value in place.variables.items() if not name.endswith("PASSWORD")}
        for path in sorted(path for path in SAMPLE.rglob("*") if path.is_file()):
            land(place, path.relative_to(SAMPLE), path.read_bytes())
        yield Guarded(replace(place, variables=found | {KEY: str(folder / "key.p8"), PHRASE: PASSPHRASE}), folder)


def write_key(folder: Path, name: str, passphrase: str) -> Path:
    """A private key as Snowflake's documentation has one made, and beside it its public key, whose path it gives."""
    key = rsa.generate_private_key(65537, 2048)
    how = BestAvailableEncryption(passphrase.encode())
    (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public = folder / f"{name}.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


@pytest.mark.parametrize(
    ("given", "said", "code", "login"),
    [
        pytest.param(
            {KEY: "other.p8"},
            f"does not let podcast in by {KEY}; nothing was published: 390144 JWT token is invalid. Check that, "
            "PODCAST_SNOWFLAKE_ACCOUNT, _USER and _ROLE, and that the public half of the key is set (desc user ",
            1,
            ("podcast", "SNOWFLAKE_JWT", WRONG_TOKEN),
            id="another key",
        ),
        pytest.param(
            {KEY: None, PHRASE: None, "PODCAST_SNOWFLAKE_PASSWORD": SECRET},
            "does not let podcast in by PODCAST_SNOWFLAKE_PASSWORD; nothing was published: 390100 Incorrect user",
            1,
            ("podcast", "SNOWFLAKE", WRONG_PASSWORD),
            id="a password",
        ),
        pytest.param(
            {PHRASE: SECRET},
            f"key.p8 is no private key in PEM (PKCS#8) that {PHRASE} opens.",
            2,
            None,
            id="a wrong passphrase",
        ),
        pytest.param({KEY: "gone.p8"}, "gone.p8 cannot be read: No such file or directory.", 2, None, id="no key"),
    ],
)
def test_without_the_right_key_nothing_is_done_and_it_is_said_why(
    guarded: Guarded, given: dict[str, str | None], said: str, code: int, login: tuple[str, str, int] | None
) -> None:
    changed = {name: value and (guarded.key(value) if name == KEY else value) for name, value in given.items()}
    variables = {name: value for name, value in {**guarded.place.variables, **changed}.items() if value}
    earlier = len(guarded.logins())

    ended = replace(guarded.place, variables=variables).start("run")
    told = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode == code, told
    assert said in told
    assert "Traceback" not in told
    assert [secret for secret in (SECRET, PASSPHRASE, "PRIVATE KEY--") if secret in told] == []
    assert guarded.logins()[earlier:] == ([login] if login else [])
    assert not (guarded.place.home / "warehouse" / "published.duckdb").exists()


@pytest.mark.short
def test_all_that_work_there_log_in_by_key_pair(guarded: Guarded) -> None:
    """The home in which the others have not got in: as if nothing had been."""
    earlier = len(guarded.logins())
    ended = guarded.place.start("run", "--json", within=RENEWING)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert json.loads(ended.stdout)["run"]["lines"] > 4000
    logins = guarded.logins()[earlier:]
    assert {login[1:] for login in logins} == {("SNOWFLAKE_JWT", None)}
    assert {client for client, *_ in logins} == CLIENTS

    there = counted_there(guarded.place, *(f"podcast_published.{name}" for name in publish.TABLES))
    assert {name.partition(".")[2]: rows for name, rows in there.items()} == counted(guarded.place)
    assert there["podcast_published.gold.fact_user_interactions"] > 4000

    secrets = PASSPHRASE.encode(), SECRET.encode(), *guarded.folder.joinpath("key.p8").read_bytes().splitlines()[1:3]
    kept = b"".join(path.read_bytes() for path in guarded.place.home.rglob("*") if path.is_file())
    assert [secret for secret in secrets if secret in kept] == []
