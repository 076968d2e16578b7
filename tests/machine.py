"""A machine of its own for the unit files: systemd as the first process of namespaces, with a PostgreSQL beside it.

It has the programs and the network of this machine and nothing else of it: its own processes, users, `/etc`,
`/opt`, `/run`, `/tmp` and `/var/lib`, none of this machine's units, and it ends with the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.settings import PROJECT_ROOT

SYSTEMD = Path("/lib/systemd/systemd")
START_SECONDS = 60
STOP_SECONDS = 60
TOOLS = ("unshare", "nsenter", "systemctl", "useradd", "dbus-daemon", "curl")
GIVEN_UP = ("/etc/systemd/system", "/usr/lib/systemd/system", "/usr/lib/systemd/system-generators")
"""Where this machine's own units come from."""

MAKE = r"""
set -euo pipefail
scratch=$1 project=$2
mount --make-rprivate /
mount -t proc proc /proc
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp --archive /etc "$scratch/etc"
install --directory --mode 755 "$scratch"/{opt,lib,log} "$scratch"/opt/podcast
mount --bind "$scratch/etc" /etc
mount --bind "$project" "$scratch/opt/podcast"
mount --rbind "$scratch/opt" /opt
mount --bind "$scratch/lib" /var/lib
mount --bind "$scratch/log" /var/log
for hidden in /run __HIDDEN__; do mount -t tmpfs -o mode=755 tmpfs "$hidden"; done
mount -t tmpfs -o mode=1777 tmpfs /tmp
install --directory /run/systemd/system/service.d /run/lock
cd /run/systemd/system
for target in sysinit basic network multi-user shutdown umount; do
  printf '[Unit]\nDefaultDependencies=no\n' > $target.target
done
printf '%s' "$DROP_IN" > service.d/test.conf
printf '%s' "$POSTGRESQL" > postgresql.service
printf '%s' "$DBUS" > dbus.service
printf '[Socket]\nListenStream=/run/dbus/system_bus_socket\n' > dbus.socket
exec env --ignore-environment container=podcast PATH="$PATH" \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
""".replace("__HIDDEN__", " ".join(GIVEN_UP))

DROP_IN = f"""
[Service]
StandardOutput=append:/var/log/%n.log
StandardError=inherit
# The interpreter of the tests may live in somebody's home, and the package be installed from another path.
BindReadOnlyPaths={sys.base_prefix}
Environment=PYTHONPATH=/opt/podcast
"""
PATHS = (
    "--property=ProtectHome=tmpfs",
    f"--property=BindReadOnlyPaths={sys.base_prefix}",
    "--setenv=PYTHONPATH=/opt/podcast",
)
"""The same for what is started by hand, by systemd-run."""

DBUS = """
[Unit]
Requires=dbus.socket
[Service]
ExecStart=dbus-daemon --system --address=systemd: --nofork --nopidfile
"""
"""What systemd-run speaks to systemd through."""

# As Debian's: who is `postgres` on the machine is that in the database, everybody else has a password.
POSTGRESQL = """
[Service]
Type=notify
User=postgres
StateDirectory=postgresql
RuntimeDirectory=postgresql
ExecStartPre={bin}/initdb --pgdata /var/lib/postgresql/data --auth-local peer --auth-host scram-sha-256 --no-sync
ExecStart={bin}/postgres -D /var/lib/postgresql/data -p {port} -c listen_addresses=127.0.0.1 \\
  -c unix_socket_directories=/run/postgresql -c fsync=off
"""


@dataclass(frozen=True)
class Machine:
    """The machine, seen from outside."""

    scratch: Path
    init: int
    """The id of its first process, as this machine counts."""

    def run(self, *command: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command on it, as root."""
        return subprocess.run(
            ["nsenter", "--target", str(self.init), "--mount", "--pid", "--ipc", "--uts", *command],
            env={**os.environ, **environment}, cwd="/", capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def do(self, *command: str, seconds: float = 120, **environment: str) -> str:
        """What a command printed that has to succeed."""
        done = self.run(*command, seconds=seconds, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.do("systemctl", "show", "--value", "--property", what, unit).strip()

    def lib(self, name: str) -> Path:
        """A folder of its `/var/lib`."""
        return self.scratch / "lib" / name

    def logs(self) -> str:
        """The end of every log, to say why something did not happen."""
        paths = [self.scratch / "systemd.log", *sorted((self.scratch / "log").glob("*.log"))]
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in paths if p.exists())


def postgresql_programs() -> Path | None:
    """Where the newest PostgreSQL of this machine has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def machine(scratch: Path, *, postgresql_port: int) -> Iterator[Machine]:
    """The machine with its PostgreSQL running; skips the tests where there cannot be one, and says why."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    group = _group(scratch.name)
    try:
        with (scratch / "systemd.log").open("wb") as log:
            process = _start(scratch, group, POSTGRESQL.format(bin=programs, port=postgresql_port), log.fileno())
        try:
            made = Machine(scratch, _first_process(process, scratch))
            _await_systemd(made)
            made.do("systemctl", "start", "dbus", "postgresql")
            yield made
        finally:
            process.send_signal(signal.SIGKILL)  # its first process ends with it, and with that all others
            process.wait(STOP_SECONDS)
    finally:
        _remove(group)


def _group(name: str) -> Path:
    """A control group of its own, without which the first systemd would take in everybody else's processes."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if os.geteuid() != 0 or not roots or not SYSTEMD.exists() or missing:
        pytest.skip("needs root, control groups of version 2 and systemd: apt-get install systemd dbus curl")
    group = roots[0] / f"podcast-{os.getpid()}-{name}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs a control group of its own: {error}")
    return group


def _start(scratch: Path, group: Path, postgresql: str, log: int) -> subprocess.Popen[bytes]:
    entering = 'echo $$ > "$0"; exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child bash -c "$@"'
    return subprocess.Popen(
        ["bash", "-c", entering, str(group / "cgroup.procs"), MAKE, "make", str(scratch), str(PROJECT_ROOT)],
        env={**os.environ, "DROP_IN": DROP_IN, "DBUS": DBUS, "POSTGRESQL": postgresql},
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip


def _first_process(process: subprocess.Popen[bytes], scratch: Path) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.1)
    pytest.skip(f"needs namespaces to run systemd in: {(scratch / 'systemd.log').read_text()}")


def _await_systemd(machine: Machine) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (state := machine.run("systemctl", "is-system-running")).stdout.strip() != "running":
        assert time.monotonic() < deadline, state.stdout + state.stderr + machine.logs()
        time.sleep(0.2)


def _remove(group: Path) -> None:
    """Remove the control groups once their processes are gone."""
    deadline = time.monotonic() + STOP_SECONDS
    while group.exists():
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            _remove_if_empty(folder)
        _remove_if_empty(group)
        assert time.monotonic() < deadline, f"processes are left in {group}"
        time.sleep(0.05)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
