"""How much of full precision is left at a point of a stage."""

from __future__ import annotations

import math


def remainder(share: float, *, until: float, warmup: float = 0.0) -> float:
    """Part of full precision that is left once `share` of a stage is done.

    It rises from 0 to 1 in a straight line up to `warmup`, then falls along a cosine, and is 0 from
    `until` on (Arenas' lambda_t, arXiv 2601.07892).

    >>> [round(remainder(share, until=0.5), 2) for share in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    # First, so that `until = 0` means none from the start instead of a division by nothing.
    if share >= until:
        return 0.0
    if share < warmup:
        return share / warmup
    # A cosine leaves both ends with slope 0: weights see no kink where full precision begins to go,
    # nor where the last of it is taken away.
    fallen = (share - warmup) / (until - warmup)
    return 0.5 * (1 + math.cos(math.pi * fallen))


def checked_share(share: float) -> float:
    """The share itself. Raises ValueError unless it is 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share}: must be 0 to 1")
    return share
