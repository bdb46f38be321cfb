"""How often the neurons of a packed student fire, by layer and by matrix."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

Counts = Mapping[str, tuple[int, int]]
"""Name of a spiking matrix -> (spikes that came, spikes that could have come)."""

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def site_of(name: str) -> tuple[int | None, str]:
    """Layer of a matrix, None outside the blocks (the head), and its name there.

    >>> site_of("blocks.3.mlp.down")
    (3, 'mlp.down')
    """
    match = _BLOCK.fullmatch(name)
    return (int(match[1]), match[2]) if match else (None, name)


def densities(counts: Counts) -> dict[str, float]:
    """Density by full name of the matrix."""
    return {name: came / possible if possible else 0.0 for name, (came, possible) in counts.items()}


def overall(counts: Counts) -> float:
    """Density over all matrices together; 0 where nothing spikes."""
    possible = sum(possible for _, possible in counts.values())
    return sum(came for came, _ in counts.values()) / possible if possible else 0.0


def by_site(counts: Counts) -> dict[str, dict[int, float]]:
    """Matrix name -> layer -> density; the head stands in layer -1."""
    table: dict[str, dict[int, float]] = defaultdict(dict)
    for name, density in densities(counts).items():
        layer, short = site_of(name)
        table[short][-1 if layer is None else layer] = density
    return dict(table)
