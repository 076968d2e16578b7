"""A landing for whoever loads it, in several groups of files, and what a run has made of it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from strategies import big_landing

from flows.settings import PROJECT_ROOT

RUN = """
from flows import loading

loading.TRANSACTION_FILES = 4
{before}
from flows.cli import main

main()
"""
"""The command in a process whose groups are small; those that it starts know nothing of it."""

WORKING = {
    "raw": "select * exclude (load_at) from bronze.raw_events order by filename, line_number",
    "ledger": "select * exclude (run_id, load_at, updated_at, fingerprint) from ops.batches order by filename",
}
PUBLISHED = "select * exclude (load_at) from gold.fact_user_interactions order by all"


@dataclass(frozen=True)
class Place:
    """A home with a landing of its own, whose files can be compressed, malformed, no text, empty and broken."""

    home: Path

    def land(self) -> None:
        files = big_landing(seed=5, files=30) | {
            "broken.json.gz": gzip.compress(b"{}" * 999, mtime=0)[:-9],
            "none.json": b"",
            "no-text.json": b"\xff\xfe{}\n" * 3,
        }
        for path in (PROJECT_ROOT / "data" / "landing").rglob("*.json*"):
            files[f"sample/{path.parent.name}/{path.name}"] = path.read_bytes()
        for name, content in files.items():
            path = self.home / "landing" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, *, before: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
        """One run by the command, with `before` as further lines of its process."""
        environment = os.environ | {"PODCAST_HOME": str(self.home), "PODCAST_SETTLE_SECONDS": "0"}
        environment |= {"PREFECT_HOME": str(self.home.parent / "prefect"), "PYTHONPATH": str(PROJECT_ROOT)}
        environment |= {f"PODCAST_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-c", RUN.format(before=before), "run", "--json"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)

    def passed(self, **settings: object) -> Any:
        """The summary of a run that has to succeed."""
        done = self.run(**settings)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    def held(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rows of the working database that do not depend on when they were loaded, and published facts."""
        found = {name: self._rows("podcast", sql) for name, sql in WORKING.items()}
        return found | {"facts": self._rows("published", PUBLISHED)}

    def ledger(self) -> list[str]:
        return [row[0] for row in self._rows("podcast", "select filename from ops.batches order by filename")]

    def _rows(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "warehouse" / f"{name}.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()
