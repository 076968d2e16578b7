"""Errors as answers: one shape for all of them (RFC 9457), and what a client may do about each."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"

Code = Literal[
    "unauthorised",
    "not_found",
    "method_not_allowed",
    "invalid_request",
    "invalid_cursor",
    "copy_replaced",
    "nothing_published",
    "damaged_copy",
    "outdated_copy",
    "busy",
    "too_slow",
    "too_large",
    "internal",
]


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="The parameter, as in `query.limit`.")
    message: str = Field(description="What it takes.")


class Problem(BaseModel):
    """Why there is no answer."""

    type: Literal["about:blank"] = Field(description="Nothing beyond the status; `code` tells the problems apart.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status of the answer.")
    code: Code = Field(description="Which problem it is; it stays the same, whatever the words are.")
    detail: str = Field(description="What happened, and what to do next.")
    errors: list[Fault] = Field(description="All that is wrong with a request (`invalid_request`); else empty.")


class ProblemError(Exception):
    """Ends a request with a problem; `retry_after` is in seconds."""

    def __init__(self, status: int, code: Code, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == HTTPStatus.UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = "Bearer"


def respond(
    status: int, code: Code, detail: str, *, headers: dict[str, str] | None = None, errors: list[Fault] | None = None
) -> JSONResponse:
    """The answer that tells of a problem."""
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=errors or [],
    )
    return JSONResponse(jsonable_encoder(problem), status, headers=headers, media_type=MEDIA_TYPE)


def on_problem(_request: Request, error: Exception) -> JSONResponse:
    """One of our own."""
    assert isinstance(error, ProblemError)  # noqa: S101 - what it is registered for
    return respond(error.status, error.code, error.detail, headers=error.headers)


def on_http(_request: Request, error: Exception) -> JSONResponse:
    """A path or method that there is not."""
    assert isinstance(error, HTTPException)  # noqa: S101 - likewise
    codes: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "invalid_request")
    return respond(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))


def on_invalid(_request: Request, error: Exception) -> JSONResponse:
    """Parameters that are not what they should be; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
    faults = [Fault(where=".".join(map(str, e["loc"])), message=str(e["msg"])) for e in error.errors()]
    return respond(422, "invalid_request", "The request has parameters that cannot be used.", errors=faults)


HANDLERS: dict[Any, Any] = {
    ProblemError: on_problem,
    HTTPException: on_http,
    RequestValidationError: on_invalid,
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those answers of a route, for the OpenAPI document."""
    about = {
        401: "No token, or another one.",
        404: "There is none of that id.",
        405: "Only GET and HEAD are there.",
        409: "The copy that the cursor is of has been replaced, and `same_copy` was asked for.",
        422: "Parameters that cannot be used; or a cursor that this server has not given for this list.",
        503: "Nothing is published, the copy cannot be read, or too much is being asked; `Retry-After` says when.",
    }
    return {status: {"model": Problem, "description": about[status]} for status in statuses}
