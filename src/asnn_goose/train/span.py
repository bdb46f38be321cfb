"""Part of a clock: schedules, temperatures and annealing read one, and it never runs twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Span:
    """From `start` to `stop`, both shares from 0 to 1.

    >>> Span(start=0.5, stop=1.0).at(0.5)
    0.75
    """

    start: float = 0.0
    stop: float = 1.0

    def at(self, share: float) -> float:
        """The clock once `share` of the span is done."""
        return min(self.stop, self.start + (self.stop - self.start) * share)


WHOLE = Span()
OVER = Span(start=1.0)
"""Nothing is left to run."""


def spans(lengths: list[int]) -> list[Span]:
    """One clock over parts that follow each other, each as long as it is."""
    total, ends = sum(lengths), [sum(lengths[: end + 1]) for end in range(len(lengths))]
    return [
        Span(start=(end - length) / total, stop=end / total)
        for end, length in zip(ends, lengths, strict=True)
    ]
