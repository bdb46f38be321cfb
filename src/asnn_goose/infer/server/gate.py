"""What a request must pass before anything is read from it: host, key, type, size and time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asnn_goose.infer.server.error_answers import ApiError
from asnn_goose.infer.server.settings import Access, Limits

OPEN = ("/", "/health", "/playground/")
"""Paths that need no key: what a browser must load before it can be given one."""

Seen = Callable[[str, int], None]


class Gate:
    """Reads a whole body, within its limits, before the application sees the request.

    seen  told path and status of every response
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, access: Access, seen: Seen) -> None:
        self._app, self._limits, self._access, self._seen = app, limits, access, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._seen(scope["path"], message["status"])
            await send(message)

        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except ApiError as error:
            await error.response()(scope, receive, told)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), told)

    def _check(self, scope: Scope) -> None:
        headers, access = Headers(scope=scope), self._access
        host = urlsplit(f"//{headers.get('host', '')}").hostname
        # A page of another site can make a browser ask this address under its own name (DNS
        # rebinding); the header gives it away.
        if access.hosts and host not in access.hosts:
            raise ApiError(
                421, f"host {host!r}: call this server by its own address", code="wrong_host"
            )
        path = scope["path"]
        if access.keys and path not in OPEN and not path.startswith(OPEN[-1]):
            given = headers.get("authorization", "").removeprefix("Bearer ").encode()
            # In constant time: how long a comparison takes would tell how much of a key was right.
            if not any(secrets.compare_digest(given, key.encode()) for key in access.keys):
                raise ApiError(
                    401,
                    "no valid API key: send Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        # Browsers send JSON to other sites only after asking, plain text without: this closes that
        # way.
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            message = f"Content-Type {kind!r}: send application/json"
            raise ApiError(415, message, code="wrong_content_type")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client has gone."""
        limits, length = self._limits, Headers(scope=scope).get("content-length", "")
        large = ApiError(413, f"a body of more than {limits.body} bytes", code="body_too_large")
        # Refused before a byte is read; who lies about the length is stopped while counting.
        if length.isascii() and length.isdigit() and int(length) > limits.body:
            raise large
        parts, size, more = list[bytes](), 0, True
        try:
            async with asyncio.timeout(limits.body_time):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > limits.body:
                        raise large
        except TimeoutError:
            late = f"the body did not arrive within {limits.body_time:g} s"
            raise ApiError(408, late, code="body_too_slow") from None
        return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message
