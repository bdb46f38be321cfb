"""A few windows again and again: epochs of a stage that are shorter than its texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, final

from asnn_goose.data.stream import check_origin
from asnn_goose.trace import Batch


class Stream(Protocol):
    """A loader of windows that can be put back."""

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch."""

    def state(self) -> dict[str, int]:
        """Where it stands."""

    def restore(self, state: Mapping[str, int]) -> None:
        """Go to where a state was taken."""


@final
class Again:
    """The first `batches` batches of a stream, in one order, without end."""

    def __init__(self, inner: Stream, *, batches: int) -> None:
        self._inner, self._batches = inner, batches
        self._begin, self._given = dict(inner.state()), 0

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch; `progress` is passed on in it."""
        if self._given == self._batches:
            self._inner.restore(self._begin)
            self._given = 0
        self._given += 1
        return self._inner.next(progress)

    def state(self) -> dict[str, int]:
        """Where the stream stands, and how much of it has been given in this epoch."""
        return {**self._inner.state(), "given": self._given, "batches": self._batches}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken. Raises ValueError where it is of another stream."""
        check_origin(state, {"batches": self._batches})
        self._inner.restore(state)
        self._given = state["given"]
