"""Sums of what a start measures, over all processes that measure it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""From a tensor to the sum of those of all processes."""


def own(tensor: Tensor) -> Tensor:
    """The sum over one process."""
    return tensor
