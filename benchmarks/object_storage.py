"""How long it takes, and how much memory, to find and to load many objects of a bucket.

The S3 server is moto's, in a process of its own. The objects are put past the network, and for each page of the listing
it searches a sorted list of the keys instead of going through all of them. `server` is the time that a bare HTTP client
waits for the same listing, and `own` the processor time of this process, so that what the pipeline adds can be seen.
"""

from __future__ import annotations

import argparse
import bisect
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from flows import landing, loading, storage, warehouse
from flows.settings import Settings

EVENT = b'{"event_type":"play","user_id":"u%d","episode_id":"e1","timestamp":"2026-01-02T03:04:05Z","duration":5}\n'
BIG_LINES = 5_000_000


def quick_listing() -> None:
    """Let moto find a page in a sorted list of the keys."""
    from moto.s3.models import S3Backend

    names: list[str] = []

    def page(self, bucket, prefix, _delimiter, continuation_token, _start_after, max_keys):  # noqa: ANN001, ANN202
        if not names:
            names.extend(sorted(bucket.keys))
        after = self._pagination_tokens.get(continuation_token, prefix)
        start = bisect.bisect_right(names, after)
        keys = [bucket.keys[name] for name in names[start : start + max_keys + 1] if name.startswith(prefix)]
        return self._truncate_result(keys, max_keys)

    S3Backend.list_objects_v2 = lambda self, **given: page(self, *given.values())


def serve(ready: Connection, objects: int, *, is_big: bool) -> None:
    """The server, until the other end is closed."""
    import s3

    quick_listing()
    with s3.serving() as server:
        s3.put({f"in/{i // 1000:03}/{i:06}.json": EVENT % i for i in range(objects)})
        if is_big:
            s3.put({"big/big.json": b"".join(EVENT % i for i in range(BIG_LINES))})
        ready.send(server.url)
        ready.recv()


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def waited_for_server(url: str) -> float:
    """Seconds for the pages of the listing, read by nobody."""
    import re

    began, token = time.perf_counter(), ""
    while token is not None:
        query = {"list-type": "2", "prefix": "in/", **({"continuation-token": token} if token else {})}
        page = httpx.get(f"{url}/landing", params=query, timeout=100).text
        found = re.search("<NextContinuationToken>(.*?)<", page)
        token = found[1] if found else None
    return time.perf_counter() - began


def find(settings: Settings, objects: int, url: str) -> None:
    """Discover all objects, and load some of them."""
    before = megabytes()
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        began, own = time.perf_counter(), time.process_time()
        plan = landing.discover(settings, connection)
        took, own = time.perf_counter() - began, time.process_time() - own
        if len(plan.arrivals) != objects:
            raise SystemExit(f"{len(plan.arrivals):,} objects found instead of {objects:,}")
        print(f"{objects:,} objects: found in {took:.1f} s (server {waited_for_server(url):.1f} s, own {own:.1f} s)")
        print(f"  memory {before:.0f} MB before, {megabytes():.0f} MB after")
        some = plan.arrivals[:2_000]
        began, own = time.perf_counter(), time.process_time()
        loaded = loading.load_files(connection, some, run_id="run", store=storage.of_landing(settings))
        took, own = time.perf_counter() - began, time.process_time() - own
        print(f"  {loaded.batches:,} of them loaded in {took:.1f} s (own {own:.1f} s)")


def load_big(settings: Settings) -> None:
    """One object of half a gigabyte."""
    before = megabytes()
    with duckdb.connect() as connection:
        connection.execute(warehouse.TABLES)
        plan = landing.discover(settings, connection)
        began = time.perf_counter()
        landing.content_hashes([arrival.file for arrival in plan.arrivals], storage.of_landing(settings))
        size = plan.arrivals[0].file.size_bytes / 2**20
        print(f"one object of {size:,.0f} MB: read in {time.perf_counter() - began:.1f} s")
        print(f"  memory {before:.0f} MB before, {megabytes():.0f} MB after")


def main() -> None:
    """Start the server, and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--objects", type=int, default=100_000)
    options.add_argument("--big", action="store_true", help="read one object of half a gigabyte instead")
    given = options.parse_args()
    here, there = multiprocessing.Pipe()
    objects = 0 if given.big else given.objects
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, objects), kwargs={"is_big": given.big}, daemon=True
    )
    process.start()
    url = here.recv()
    with tempfile.TemporaryDirectory() as home:
        place = "s3://landing/big" if given.big else "s3://landing/in"
        key = {"s3_access_key_id": "key", "s3_secret_access_key": "of nobody"}
        settings = Settings(home=Path(home), landing=place, s3_endpoint_url=url, **key)
        if given.big:
            load_big(settings)
        else:
            find(settings, objects, url)
    here.send("enough")
    process.join()


if __name__ == "__main__":
    main()
