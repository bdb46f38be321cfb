"""Errors as OpenAI's API writes them, with every bad field named."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}

UNKNOWN = "is not offered here, or no such field: leave it out"

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """A request that cannot be answered; becomes a response of that status.

    fields  (name of the field, what is wrong with it), for every bad field
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        fields: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.fields, self.headers = tuple(fields), dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The response's JSON."""
        return {
            "error": {
                "message": self.message,
                "type": TYPES.get(self.status, "invalid_request_error"),
                "param": self.fields[0][0] if self.fields else None,
                "code": self.code,
                "fields": [{"param": name, "message": text} for name, text in self.fields],
            }
        }

    def response(self) -> JSONResponse:
        """The whole response."""
        return JSONResponse(self.body, status_code=self.status, headers=self.headers)


def bad_fields(fields: Sequence[tuple[str, str]]) -> ApiError:
    """400, with what is wrong with each field."""
    message = "; ".join(f"{name}: {text}" if name else text for name, text in fields)
    return ApiError(400, message, code="invalid_value", fields=fields)


def busy(waiting: int, *, seconds: int) -> ApiError:
    """429: no room to wait in; try again after so many seconds."""
    message = f"{waiting} requests are waiting already: try again in {seconds} s"
    headers = {"Retry-After": str(seconds)}
    return ApiError(429, message, code="queue_full", headers=headers)


def install(app: FastAPI) -> None:
    """Let the application answer every error in this form."""
    app.add_exception_handler(ApiError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error.response()


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [_field(found) for found in error.errors()]
    names = [name for name, _ in fields]
    # What is wrong inside a field says more than that the whole of it is not of some other type.
    inner = [f for f in fields if not any(name.startswith(f"{f[0]}.") for name in names)]
    return bad_fields(inner or fields).response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    headers = error.headers
    return ApiError(error.status_code, message, code="http_error", headers=headers).response()


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "the server failed at this request; its log says why"
    return ApiError(500, message, code="internal_error").response()


def _field(found: Mapping[str, Any]) -> tuple[str, str]:
    """Dotted name and complaint of one of pydantic's findings."""
    place = [part for part in found["loc"] if part != "body"]
    # Of a union, pydantic names each member it tried; the field is what stands before them.
    name = ".".join(str(part) for part in place if not _is_member(part))
    if found["type"] == "json_invalid":
        return "", f"the body is no JSON: {found.get('ctx', {}).get('error', '')}"
    text = UNKNOWN if found["type"] == "extra_forbidden" else str(found["msg"])
    return name, text.removeprefix("Value error, ")


def _is_member(part: object) -> bool:
    """Whether a part of a place is pydantic's name of a type, which no field of ours looks like."""
    return isinstance(part, str) and (part in {"str", "int"} or bool({*"[-"} & {*part}))
