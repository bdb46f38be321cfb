"""Connections that do not say what they want, on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn

from asnn_goose.infer.server.patience import patient

PATIENCE = 0.6
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

Connect = Callable[[], socket.socket]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"hi"})


@pytest.fixture(scope="module")
def connect() -> Iterator[Connect]:
    settings = uvicorn.Config(
        hello, port=0, http=patient(PATIENCE), log_level="error", lifespan="off"
    )
    server = uvicorn.Server(settings)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield lambda: socket.create_connection(listening.getsockname(), timeout=20)
        server.should_exit = True
        thread.join()


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while part := connection.recv(4096):
        found += part
    return found


def answered(connection: socket.socket) -> None:
    """Read one whole answer."""
    found = b""
    while not found.endswith(b"hi"):
        found += connection.recv(4096) or b"closed"
        assert found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: he"])
def test_who_says_nothing_whole_is_let_go(connect: Connect, said: bytes) -> None:
    with closing(connect()) as connection:
        connection.sendall(said)
        assert everything(connection).startswith(b"HTTP/1.1 408")


def test_bytes_that_trickle_in_win_no_time(connect: Connect) -> None:
    with closing(connect()) as connection:
        connection.settimeout(0.1)
        started, found = time.monotonic(), b""
        while not found and time.monotonic() < started + 20:
            connection.sendall(b"G" if time.monotonic() == started else b"E")
            try:
                found = connection.recv(4096)
            except TimeoutError:
                continue
        assert found.startswith(b"HTTP/1.1 408")


def test_a_second_request_is_waited_for_no_longer(connect: Connect) -> None:
    with closing(connect()) as connection:
        connection.sendall(GET)
        answered(connection)
        connection.sendall(GET[:9])
        assert everything(connection).startswith(b"HTTP/1.1 408")


def test_who_asks_in_time_is_answered(connect: Connect) -> None:
    with closing(connect()) as connection:
        for _ in range(2):
            connection.sendall(GET)
            answered(connection)
            time.sleep(1.2 * PATIENCE)  # between two requests another clock runs
