"""S3-compatible storage, the only module that knows the libraries for it: listed in pages, read, written, emptied."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.domain import ObjectFolder, StoredObject
from flows.errors import EvidenceError, LandingError, PipelineError
from flows.read_ahead import PARTS_AHEAD, Readable, ReadAhead

if TYPE_CHECKING:
    from s3fs import S3FileSystem

    from flows.settings import Settings

CONNECT_SECONDS, READ_SECONDS, CALL_SECONDS = 5, 20, 100
"""How long a connection, an answer, and a request with all its repetitions may take: a run never hangs."""
SLOWEST_BYTES = 64 * 2**10
"""Bytes a second of a link on which content has the time that it needs, beside that of a call."""
TRIES = 2
"""So often each of the two libraries asks; between their repetitions both wait longer and longer."""
IN_A_ROW = 5
"""So many objects in a row that the server does not give: it is the server, not the objects."""

CHANGED = "it changed while it was read; it is left for the next run"
_GONE = frozenset({"404", "NoSuchKey"})
_OF_THE_CREDENTIALS = {
    "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}  # fmt: skip
_OF_THE_SERVER = {"500", "502", "503", "504", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}

Opener = Callable[[Path | StoredObject], AbstractContextManager[Readable]]


@dataclass
class Store:
    """The objects below a folder; what is wrong with the storage as a whole is raised as a `kind`."""

    settings: Settings
    folder: ObjectFolder
    setting: str
    kind: type[PipelineError]
    _troubles: int = field(default=0, init=False)

    # Reading

    def objects(self) -> Iterator[StoredObject]:
        """Every object, a page at a time, in the order of their keys."""
        for page in self._pages():
            for entry in page.get("Contents", ()):
                yield _stored(self.folder.bucket, entry["Key"], entry["Size"], entry)

    def folders(self) -> list[str]:
        """The names of the folders that lie directly in this one."""
        cut = len(self.folder.prefix)
        pages = self._pages(Delimiter="/")
        return [entry["Prefix"][cut:-1] for page in pages for entry in page.get("CommonPrefixes", ())]

    def look_up(self, names: Sequence[str]) -> Iterator[StoredObject | None]:
        """The object of each name, a few asked for at a time; None where there is none."""
        bucket = self.folder.bucket
        for some in _some(names):
            keys = [f"{self.folder.prefix}{name}" for name in some]
            asked = [self._start("head_object", Bucket=bucket, Key=key) for key in keys]
            for key, future in zip(keys, asked, strict=True):
                found = self._result(future, none_for=_GONE)
                yield None if found is None else _stored(bucket, key, found["ContentLength"], found)

    @contextmanager
    def reading(self, objects: Iterable[StoredObject], *, parts_ahead: int = PARTS_AHEAD) -> Iterator[ReadAhead]:
        """Read these objects in this order."""
        ahead = ReadAhead(objects, self._fetch, self._explain_one, self._forget_troubles, parts_ahead=parts_ahead)
        try:
            yield ahead
        finally:
            ahead.close()

    def hashes(self, objects: Sequence[StoredObject]) -> Iterator[str | OSError]:
        """SHA-256 of the bytes of each, in hexadecimal; or why it cannot be had."""
        with self.reading(objects) as ahead:
            for stored in objects:
                digest = hashlib.sha256()
                try:
                    with ahead.open(stored) as file:
                        while piece := file.read(2**20):
                            digest.update(piece)
                except OSError as error:
                    yield error
                else:
                    yield digest.hexdigest()

    # Writing

    def replace(self, contents: Sequence[Path]) -> None:
        """Let the folder hold these files, by name, and no others; first they come, then the others go.

        A large one goes in parts, and has the time that a slow link needs.
        """
        bucket, keys = self.folder.bucket, {f"{self.folder.prefix}{path.name}": path for path in contents}
        for key, path in keys.items():
            seconds = CALL_SECONDS + path.stat().st_size / SLOWEST_BYTES
            self._result(self._begin(self._files._put_file(str(path), f"{bucket}/{key}"), seconds))  # noqa: SLF001
        self._delete([stored.key for stored in self.objects() if stored.key not in keys])

    def empty(self) -> None:
        """Delete every object."""
        self._delete([stored.key for stored in self.objects()])

    def _delete(self, keys: Sequence[str]) -> None:
        for some in _some(keys):
            for future in [self._start("delete_object", Bucket=self.folder.bucket, Key=key) for key in some]:
                self._result(future)

    # Calls

    @cached_property
    def _files(self) -> S3FileSystem:
        from s3fs import S3FileSystem

        settings, secret = self.settings, self.settings.s3_secret_access_key
        filesystem = S3FileSystem(
            endpoint_url=settings.s3_endpoint_url,
            key=settings.s3_access_key_id,
            secret=secret.get_secret_value() if secret else None,
            client_kwargs={"region_name": settings.s3_region} if settings.s3_region else {},
            config_kwargs={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": READ_SECONDS,
                "retries": {"total_max_attempts": TRIES, "mode": "standard"},
                "max_pool_connections": PARTS_AHEAD + 1,
                # Servers that are not Amazon's know neither buckets as hosts nor check sums behind the content.
                "s3": {"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
            use_listings_cache=False,
        )
        filesystem.retries = TRIES
        return filesystem

    def _pages(self, **options: str) -> Iterator[dict[str, Any]]:
        listing: dict[str, Any] = {"Bucket": self.folder.bucket, "Prefix": self.folder.prefix, **options}
        while True:
            page = self._result(self._start("list_objects_v2", **listing))
            yield page
            if not page.get("IsTruncated"):
                return
            listing["ContinuationToken"] = page["NextContinuationToken"]

    def _start(self, method: str, **arguments: Any) -> Future[dict[str, Any]]:  # noqa: ANN401 - of the call
        return self._begin(self._files._call_s3(method, **arguments))  # noqa: SLF001 - its way to call from coroutines

    def _begin(self, call: Any, seconds: float = CALL_SECONDS) -> Future[Any]:  # noqa: ANN401 - a coroutine of the library
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(call, seconds), self._files.loop)

    def _result(self, future: Future[dict[str, Any]], *, none_for: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401
        try:
            return future.result()
        except Exception as error:
            if none_for and _code(error) in none_for:
                return None
            raise self._explain(error) from error

    def _fetch(self, stored: StoredObject, start: int, end: int) -> Future[bytes]:
        seconds = CALL_SECONDS + PARTS_AHEAD * (end - start) / SLOWEST_BYTES
        return self._begin(self._part(stored, start, end), seconds)

    async def _part(self, stored: StoredObject, start: int, end: int) -> bytes:
        """A part of an object as it was listed, asked for again where the answer breaks off."""
        from s3fs.core import S3_RETRYABLE_ERRORS

        wanted = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        for wait in (0.2, 1.0, None):
            try:
                answer = await self._files._call_s3(  # noqa: SLF001 - likewise
                    "get_object", Bucket=stored.bucket, Key=stored.key, IfMatch=f'"{stored.etag}"', **wanted
                )
                try:
                    content: bytes = await answer["Body"].read()
                finally:
                    answer["Body"].close()
                break
            except S3_RETRYABLE_ERRORS:
                if wait is None:
                    raise
                await asyncio.sleep(wait)
        if _etag(answer) != stored.etag or len(content) != end - start:
            raise OSError(None, CHANGED)
        return content

    # Errors

    def _explain_one(self, error: Exception) -> Exception:
        """What is wrong with one object, which is left out; or with all, when others before it failed likewise."""
        code = _code(error)
        if code in _OF_THE_CREDENTIALS or code == "NoSuchBucket":
            return self._explain(error)
        if code in {"412", "PreconditionFailed"}:
            return OSError(None, CHANGED)
        if code in _OF_THE_SERVER or _is_out_of_reach(error):
            self._troubles += 1
            if self._troubles >= IN_A_ROW:
                return self._explain(error)
        return error if isinstance(error, OSError) and str(error) else OSError(None, _text(error))

    def _forget_troubles(self) -> None:
        self._troubles = 0

    def _explain(self, error: Exception) -> PipelineError:
        settings, code, said = self.settings, _code(error), _text(error)
        server = settings.s3_endpoint_url or "the S3 server"
        if code in {"NoSuchBucket", *_GONE}:
            what = (
                f"there is no bucket {self.folder.bucket} at {server}. Create it, or name another with {self.setting}"
            )
        elif _is_out_of_reach(error) or code in _OF_THE_SERVER:
            what = f"{server} does not answer: {said}. Look whether it is up and PODCAST_S3_ENDPOINT_URL names it"
        elif code in {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
            what = f"{server} refuses the region: {said}. Name that of the bucket with PODCAST_S3_REGION"
        elif code in {"403", "AccessDenied", *_OF_THE_CREDENTIALS} or type(error).__name__ in _NO_CREDENTIALS:
            what = (
                f"{server} refuses the credentials: {said}. Look at PODCAST_S3_ACCESS_KEY_ID and "
                "PODCAST_S3_SECRET_ACCESS_KEY, and at what their owner may do there"
            )
        else:
            what = f"{server} says: {said}. Put that right"
        return self.kind(f"{self.folder} cannot be used: {what}. Nothing is lost; then: podcast run")


_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")


def of_landing(settings: Settings) -> Store | None:
    """The landing directory, where it is a bucket."""
    folder = settings.landing_dir
    return Store(settings, folder, "PODCAST_LANDING", LandingError) if isinstance(folder, ObjectFolder) else None


def of_evidence(settings: Settings, folder: ObjectFolder) -> Store:
    """A folder of the evidence in a bucket."""
    return Store(settings, folder, "PODCAST_QUARANTINE", EvidenceError)


@contextmanager
def opening(places: Iterable[Path | StoredObject], store: Store | None) -> Iterator[Opener]:
    """A function that opens files; those in a bucket are opened in the order given, and read ahead."""
    if store is None:
        yield _open_on_disk
        return
    with store.reading(place for place in places if isinstance(place, StoredObject)) as ahead:
        yield lambda place: _open_on_disk(place) if isinstance(place, Path) else ahead.open(place)


def _open_on_disk(place: Path | StoredObject) -> AbstractContextManager[Readable]:
    if isinstance(place, StoredObject):
        raise TypeError(f"{place} lies in a bucket, and none was named")
    return place.open("rb")


def _stored(bucket: str, key: str, size: int, answer: Mapping[str, Any]) -> StoredObject:
    return StoredObject(bucket, key, size, _etag(answer))


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')


def _some(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), PARTS_AHEAD):
        yield items[start : start + PARTS_AHEAD]


def _code(error: Exception) -> str | None:
    """The code that the server answered with, if it did."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return None if code is None else str(code)


def _text(error: Exception) -> str:
    code, said = _code(error), str(error).strip().removesuffix(".") or f"no answer within {CALL_SECONDS} seconds"
    return f"{said} ({code})" if code and code not in said else said


def _is_out_of_reach(error: Exception) -> bool:
    """Whether no answer came: nobody there, cut off, or too late."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError
    from s3fs.core import S3_RETRYABLE_ERRORS

    unanswered = (*S3_RETRYABLE_ERRORS, HTTPClientError, NoConnection, TimeoutError, ConnectionError)
    return _code(error) is None and isinstance(error, unanswered)
