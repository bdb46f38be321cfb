"""How often the neurons of a packed student fire, by layer and by matrix."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

Counts = Mapping[str, tuple[int, int]]
"""Name of a spiking matrix -> (spikes that came, spikes that could have come)."""

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDensity:
    """Density of the spikes into one matrix; `layer` is None outside the blocks (the head)."""

    layer: int | None
    name: str
    came: int
    possible: int

    @property
    def density(self) -> float:
        """Share of inputs times steps that were spikes."""
        return self.came / self.possible if self.possible else 0.0


def sites(counts: Counts) -> list[SiteDensity]:
    """Every spiking matrix, in the order of `counts`.

    >>> sites({"blocks.3.mlp.down": (30, 100)})[0].density
    0.3
    """
    found = []
    for name, (came, possible) in counts.items():
        match = _BLOCK.fullmatch(name)
        layer, short = (int(match[1]), match[2]) if match else (None, name)
        found.append(SiteDensity(layer=layer, name=short, came=came, possible=possible))
    return found


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
    for site in sites(counts):
        table[site.name][-1 if site.layer is None else site.layer] = site.density
    return dict(table)
