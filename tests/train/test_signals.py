from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from asnn_goose.train.signals import StopSignals


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler: a shell starts what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_first_signal_is_noted_and_the_second_stops() -> None:
    told: list[str] = []
    noted = []

    def twice() -> None:
        with StopSignals(told.append) as signals:
            for _ in range(2):
                noted.append(signals.received)
                os.kill(os.getpid(), signal.SIGINT)
                noted.append(signals.received)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert noted == [None, signal.SIGINT, signal.SIGINT]
    assert len(told) == 1
    assert "SIGINT: a checkpoint will be written" in told[0]


def test_it_is_told_where_nothing_is_half_printed() -> None:
    """A handler that prints what its own thread prints is refused: "reentrant call"."""
    stream = io.BufferedWriter(cast(io.RawIOBase, Interrupting()))

    def tell(text: str) -> None:
        stream.write(text.encode())
        stream.flush()

    with StopSignals(tell) as signals:
        tell("a step\n")
    assert signals.received == signal.SIGTERM
    written = cast(Interrupting, stream.raw).written
    assert written[0] == b"a step\n"
    assert b"SIGTERM: a checkpoint will be written" in written[1]


class Interrupting(io.RawIOBase):
    """A stream that a signal interrupts at its first write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written.append(bytes(data))
        if len(self.written) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return len(data)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals(print):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_works_outside_the_main_thread() -> None:
    entered = []

    def body() -> None:
        with StopSignals(print) as signals:
            entered.append(signals.received)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert entered == [None]
