"""Who is told how far a measurement is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""(what is measured, how much of it) -> within the block, who is told how much more is done."""


@contextmanager
def unwatched(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Tell nobody."""
    yield lambda done: None
