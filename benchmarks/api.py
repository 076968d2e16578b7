"""What the main requests of the read API cost over the published copy of PODCAST_HOME, for one client and for four."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

TOKEN = "a-token-of-the-benchmark"  # noqa: S105 - of a server that lasts as long as the benchmark
REQUESTS = 200
CLIENTS = (1, 4)
PATHS = (
    "/health",
    "/metrics",
    "/v1/status",
    "/v1/batches?limit=100",
    "/v1/verdicts?limit=100",
    "/v1/marts/episode_daily/rows?limit=100",
    "/v1/marts/dim_users/rows?limit=100",
    "/v1/marts/listener_daily/rows?limit=100",
    "/v1/marts/fact_listens/rows?limit=100",
    "/v1/marts/fact_user_interactions/rows?limit=100",
    "/v1/marts/fact_user_interactions/rows?limit=1000",
    "/v1/marts/fact_user_interactions/rows?limit=100&episode_id=e0001",
)


def main() -> None:
    """Print a table of milliseconds."""
    print("| request | " + " | ".join(f"{n} client{'s' * (n > 1)}, p50 / p95" for n in CLIENTS) + " |")
    print("|---|" + "---|" * len(CLIENTS))
    with server() as url:
        for path in PATHS:
            times = [measure(url, path, clients) for clients in CLIENTS]
            cells = [f"{statistics.median(found):.0f} / {statistics.quantiles(found, n=20)[-1]:.0f}" for found in times]
            print(f"| `{path}` | {' | '.join(cells)} |", flush=True)


def measure(url: str, path: str, clients: int) -> list[float]:
    """Milliseconds of each request; a list is walked page by page, and from its beginning after its end."""
    found: list[float] = []
    threads = [threading.Thread(target=ask, args=(url, path, REQUESTS // clients, found)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def ask(url: str, path: str, requests: int, found: list[float]) -> None:
    """One client, with one connection."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        client.get(path).raise_for_status()
        cursor = None
        for _ in range(requests):
            started = time.perf_counter()
            answer = client.get(path + (f"&cursor={cursor}" if cursor else "")).raise_for_status()
            found.append((time.perf_counter() - started) * 1000)
            cursor = answer.json().get("next_cursor") if path.startswith("/v1") else None


@contextmanager
def server() -> Iterator[str]:
    """`podcast api serve` on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flows.cli", "api", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, "PODCAST_API_TOKEN": TOKEN}, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/health").raise_for_status()
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
