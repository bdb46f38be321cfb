"""How long a connection may take to say what it wants."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def patient(seconds: float) -> type[asyncio.Protocol]:
    """A protocol for uvicorn that closes a connection whose next request has not begun in time.

    Uvicorn itself waits for the first request of a connection, and for the rest of a request's
    headers, as long as a client likes, and so a few thousand silent ones would use up its files.
    A body has a limit of its own (gate.py), and so has the time between two requests
    (`timeout_keep_alive`).
    """

    class Patient(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect()

        def data_received(self, data: bytes) -> None:
            if self._between_requests:
                self._expect()
            super().data_received(data)
            if not self._between_requests:
                self._expect_nothing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            super().connection_lost(exc)

        @property
        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect(self) -> None:
            """Start the clock, once: bytes that trickle in do not set it back."""
            if self._late is None:
                self._late = self.loop.call_later(seconds, self._give_up)

        def _expect_nothing(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _give_up(self) -> None:
            self._late = None
            if not self.transport.is_closing():
                self.transport.write(LATE)
                self.transport.close()

    return Patient
