"""The application: its paths, who may ask, and the headers of every answer."""
# The annotations of the endpoints are made while this module runs, so they are not put off until later.

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from flows import masking, metrics
from flows.api import problems, resources
from flows.api.copies import Copies
from flows.api.cursors import Cursors
from flows.api.headers import ReadOnly, on_error
from flows.api.listings import Listing, Page, find_page
from flows.api.marts import Mart, marts
from flows.api.problems import ProblemError, documented
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.masking import Mask

REFRESH_SECONDS = 30.0
"""After which a copy that was replaced is let go of, also when nobody asks for anything."""

Id = Annotated[str, Path(min_length=1, max_length=100)]


class Health(BaseModel):
    """What a server that can answer says."""

    status: Literal["ok"]


class ColumnEntry(BaseModel):
    """A column of a mart."""

    name: str
    type: str = Field(description="The type of the engine.")
    description: str
    is_nullable: bool


class MartEntry(BaseModel):
    """A mart: a table of the gold layer."""

    name: str
    description: str
    rows: str = Field(description="The path of its rows.")
    columns: list[ColumnEntry]


class MartEntries(BaseModel):
    """All marts."""

    items: list[MartEntry]


class Server:
    """What the endpoints share."""

    def __init__(self, settings: Settings, token: str, copies: Copies) -> None:
        self.settings, self.copies = settings, copies
        self.mask: Mask = masking.open_mask(settings)
        self.sealing = Cursors(token)
        self._token = token.encode()

    def check(
        self,
        given: Annotated[
            HTTPAuthorizationCredentials | None,
            Security(HTTPBearer(auto_error=False, description="The token of the server.")),
        ],
    ) -> None:
        """Refuse whoever has not the token; how much of it is right cannot be told by the time that takes."""
        if given is None or not hmac.compare_digest(given.credentials.encode(), self._token):
            raise ProblemError(401, "unauthorised", "Give the token of this server as `Authorization: Bearer TOKEN`.")


def application(settings: Settings, *, token: str, open_metrics: bool = False, copies: Copies | None = None) -> FastAPI:
    """The API over the published copy of a home."""
    server = Server(settings, token, copies or Copies(settings))
    app = FastAPI(
        title="Podcast pipeline",
        summary="What is published: batches, verdicts, quarantine, runs and the marts. To read only.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_lifespan, server.copies),
        exception_handlers=problems.HANDLERS | {Exception: on_error},
    )
    app.add_middleware(ReadOnly)
    app.include_router(_open(server))
    protected = [Depends(server.check)]
    app.include_router(_metrics(server), dependencies=[] if open_metrics else protected)
    app.include_router(_resources(server), dependencies=protected, prefix="/v1")
    for mart in marts():
        app.include_router(_rows_of(server, mart), dependencies=protected, prefix="/v1/marts")
    _describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(copies: Copies, _app: FastAPI) -> AsyncIterator[None]:
    async def let_go() -> None:
        while True:
            await anyio.sleep(REFRESH_SECONDS)
            await anyio.to_thread.run_sync(copies.refresh)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_go)
        yield
        tasks.cancel_scope.cancel()
    copies.close()


def _open(server: Server) -> APIRouter:
    """What needs no token."""
    router = APIRouter(tags=["health"])
    limiter = anyio.CapacityLimiter(1)

    @router.get("/health", responses=documented(503), summary="Whether there is a copy that can be read")
    async def health() -> Health:
        await anyio.to_thread.run_sync(server.copies.look, limiter=limiter)
        return Health(status="ok")

    return router


def _metrics(server: Server) -> APIRouter:
    router = APIRouter(tags=["metrics"])

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=documented(401, 503),
        summary="Figures for Prometheus, in its text format",
    )
    def figures() -> PlainTextResponse:
        text = metrics.render(server.settings, server.copies.figures())
        return PlainTextResponse(text, media_type=metrics.MEDIA_TYPE)

    return router


def _resources(server: Server) -> APIRouter:
    router = APIRouter()
    _add_list(router, "/batches", server, resources.BATCHES, "Batches, the last loaded first")
    _add_list(router, "/verdicts", server, resources.VERDICTS, "Verdicts of the gates, the newest first")
    _add_list(router, "/quarantine", server, resources.QUARANTINE, "Batches in quarantine, the last loaded first")
    _add_list(router, "/runs", server, resources.RUNS, "Runs, the newest first")

    @router.get("/batches/{batch_id}", tags=["batches"], responses=documented(401, 404, 422, 503), summary="One batch")
    def batch(batch_id: Id) -> resources.BatchEntry:
        with server.copies.reading() as reading:
            return resources.BatchEntry.model_validate(resources.find_batch(reading, batch_id))

    @router.get("/runs/{run_id}", tags=["runs"], responses=documented(401, 404, 422, 503), summary="One run")
    def run(run_id: Id) -> resources.RunEntry:
        with server.copies.reading() as reading:
            return resources.RunEntry.model_validate(resources.find_run(reading, run_id))

    @router.get("/status", tags=["status"], responses=documented(401, 503), summary="How fresh the published state is")
    def status() -> resources.Status:
        with server.copies.reading() as reading:
            return resources.Status.model_validate(resources.find_status(reading))

    @router.get("/marts", tags=["marts"], responses=documented(401), summary="The marts with their columns")
    def all_marts() -> MartEntries:
        return MartEntries(items=[_entry(mart) for mart in marts()])

    return router


def _entry(mart: Mart) -> MartEntry:
    columns = [ColumnEntry.model_validate(column, from_attributes=True) for column in mart.columns]
    return MartEntry(name=mart.name, description=mart.description, rows=f"/v1/marts/{mart.name}/rows", columns=columns)


def _rows_of(server: Server, mart: Mart) -> APIRouter:
    router = APIRouter()
    _add_list(router, f"/{mart.name}/rows", server, mart.listing, mart.description, tag="marts")
    return router


def _add_list(
    router: APIRouter, path: str, server: Server, listing: Listing, summary: str, *, tag: str | None = None
) -> None:
    """A path that gives the pages of a list, with its own filters and its own rows."""
    page = Page[listing.row]  # type: ignore[name-defined] # known at run time only

    def rows(asked: Annotated[Any, Query()]) -> Any:  # noqa: ANN401 - said below
        with server.copies.reading() as reading:
            return page.model_validate(find_page(listing, asked, reading, server.sealing, server.mask))

    rows.__annotations__ = {"asked": Annotated[listing.filters, Query()], "return": page}
    router.add_api_route(
        path,
        rows,
        name=listing.name,
        operation_id=f"list_{listing.name}",
        tags=[tag or listing.name],
        summary=summary if tag is None else f"Rows of {listing.name}",
        description=summary,
        responses=documented(401, 409, 422, 503),
    )


def _describe_problems(app: FastAPI) -> None:
    """Say in the document that every answer but a good one is a problem, of its own media type."""
    make: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        for operation in (o for path in document["paths"].values() for o in path.values()):
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")) and "application/json" in answer.get("content", {}):
                    answer["content"] = {problems.MEDIA_TYPE: answer["content"].pop("application/json")}
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's own documentation has it
