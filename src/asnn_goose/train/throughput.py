"""How fast a run goes and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_RECENT = 20


class Pace:
    """Measures steps; the speed is that of the last twenty, so that it follows a new stage."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)

    @contextmanager
    def measure(self, tokens: int) -> Iterator[None]:
        """Time one step over `tokens` tokens."""
        start = time.perf_counter()
        # Not in a finally: a step that failed is no step, and would count as a fast one.
        yield
        elapsed = time.perf_counter() - start
        self.seconds += elapsed
        self._recent.append((tokens, elapsed))

    def forget(self) -> None:
        """Start the measurement of speed anew, at the start of a stage."""
        self._recent.clear()

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second over the last steps; 0 before the first."""
        elapsed = sum(seconds for _, seconds in self._recent)
        return sum(tokens for tokens, _ in self._recent) / elapsed if elapsed else 0.0

    def eta_s(self, tokens_left: int) -> float:
        """Seconds that `tokens_left` will take at this speed; infinite before the first step."""
        speed = self.tokens_per_s
        return tokens_left / speed if speed else float("inf")
