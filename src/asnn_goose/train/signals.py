"""SIGINT and SIGTERM ask a run to save itself and stop; a second one stops it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object] | int | None


class StopSignals:
    """Context in which the first SIGINT or SIGTERM only sets `received`.

    Outside the main thread Python cannot install handlers: there, signals keep their effect.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.received: signal.Signals | None = None
        self._tell = tell
        self._teller: threading.Thread | None = None
        self._previous: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
        if self._teller is not None:
            self._teller.join()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self._restore()
            # Sent again instead of raised here: the old handler is Python's or the caller's, and
            # ends the process as it would have.
            os.kill(os.getpid(), number)
            return
        self.received = signal.Signals(number)
        text = (
            f"{self.received.name}: a checkpoint will be written after this step; "
            "a second signal stops at once and loses the work since the last one"
        )
        # Not here: whoever was interrupted may be printing, and no stream is entered twice.
        self._teller = threading.Thread(target=self._tell, args=(text,))
        self._teller.start()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
