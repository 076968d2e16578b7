"""How long a small file takes from its rename into the landing directory to its rows in the published copy."""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from flows.settings import Settings
from flows.ui import logs, running

EVENTS = 1_000
"""Of each file."""
PARTS = ("noticed", "run asked for", "run started", "published")
"""Each from the one before; the first from the rename."""
LOOK_SECONDS = 0.1


def main() -> None:
    """Measure and print a table in markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=int, default=10)
    arrivals = parser.parse_args().arrivals
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = generate(root / "made", arrivals + 2)[: arrivals + 1]  # one of them is made to be held back
        settings = prepare(root, seeds=root / "made" / "seeds")
        port, site_port = free_port(), free_port()
        api = f"http://127.0.0.1:{port}/api"
        with running(settings, port=port, site_port=site_port):
            pause_schedule(api)
            run_once(settings, api, files[0])  # the first run makes the warehouse
            measured = []
            for number, file in enumerate(files[1:], 1):
                measured.append(measure(settings, api, file))
                print(f"arrival {number}: {measured[-1]['whole']:.1f} s", file=sys.stderr, flush=True)
    print(f"\nSeconds for a file of {EVENTS:,} events, {len(measured)} arrivals, {os.cpu_count()} cores\n")
    print("| from the one before | median | worst |\n|---|---|---|")
    for part in (*PARTS, "whole"):
        values = [seconds[part] for seconds in measured]
        print(f"| {part} | {statistics.median(values):.1f} | {max(values):.1f} |")


def generate(folder: Path, files: int) -> list[Path]:
    """Small files that the gates let through, with the reference data to them."""
    podcast = Path(sys.executable).with_name("podcast")
    options = ["--events", str(EVENTS * files), "--files", str(files), "--out", folder]
    subprocess.run([podcast, "generate", *options], check=True, capture_output=True)
    known = json.loads((folder / "answers.json").read_text())["files"]
    return [folder / "landing" / file["filename"] for file in known if file["status"] == "published"]


def prepare(root: Path, *, seeds: Path) -> Settings:
    """A home of its own, which what is started here finds in the environment."""
    home = root / "home"
    (home / "landing").mkdir(parents=True)
    os.environ |= {"PODCAST_HOME": str(home), "PODCAST_SEEDS": str(seeds)}
    return Settings()


def measure(settings: Settings, api: str, file: Path) -> dict[str, float]:
    """Seconds of each part, and of the whole, for one file."""
    renamed, published, run = run_once(settings, api, file)
    times = [renamed, noticed(settings, renamed), moment(run["created"]), moment(run["start_time"]), published]
    seconds = {part: later - sooner for part, sooner, later in zip(PARTS, times, times[1:], strict=False)}
    return seconds | {"whole": published - renamed}


def run_once(settings: Settings, api: str, file: Path) -> tuple[float, float, dict[str, Any]]:
    """When the file got its name, when its rows were public, and its run; afterwards the pipeline is quiet again."""
    target = settings.landing_dir / file.name
    beside = target.with_name(f"{file.name}.part")
    beside.write_bytes(file.read_bytes())
    renamed = time.time()
    beside.rename(target)
    while not is_published(settings, file.name):
        time.sleep(LOOK_SECONDS)
    published = time.time()
    run = finished_run(api, since=renamed)
    time.sleep(3)
    return renamed, published, run


def is_published(settings: Settings, filename: str) -> bool:
    """Whether facts of the file are in the published copy."""
    facts = """
        select count(*) from gold.fact_user_interactions
        where batch_id in (select batch_id from ops.batches where filename = ?)
    """
    if not settings.published_path.exists():
        return False
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        return (connection.execute(facts, [filename]).fetchone() or (0,))[0] > 0


def noticed(settings: Settings, since: float) -> float:
    """When the watcher noticed the file, as its log says."""
    log = (logs(settings) / "watcher.log").read_text()
    found = re.findall(r"^(\S+ \S+) UTC  Event files are being written$", log, re.MULTILINE)
    return next(at for at in map(moment, found) if at >= since - 0.001)


def finished_run(api: str, *, since: float) -> dict[str, Any]:
    """The run that the file started, once it is over."""
    while True:
        body = {
            "flow_runs": {
                "tags": {"all_": ["files-landed"]},
                "state": {"type": {"any_": ["COMPLETED"]}},
                "expected_start_time": {"after_": datetime.fromtimestamp(since, UTC).isoformat()},
            }
        }
        if runs := ask(f"{api}/flow_runs/filter", body):
            return dict(runs[0])
        time.sleep(0.5)


def pause_schedule(api: str) -> None:
    """So that nothing else runs meanwhile."""
    deployment = ask(f"{api}/deployments/name/podcast-pipeline/pipeline")
    ask(f"{api}/deployments/{deployment['id']}/pause_deployment", {})


def ask(url: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON
    """One request to the server on this machine."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http, our own
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def moment(text: str) -> float:
    """Seconds since 1970 of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
