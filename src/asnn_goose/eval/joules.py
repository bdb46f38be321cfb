"""Measured energy: what the processor's own counters say (RAPL), where the system shows them.

Linux gives them in /sys/class/powercap: microjoules of a package since some point, which begin
again at `max_energy_range_uj`. They hold everything that the package does, other programs too.
David et al. 2010, "RAPL: memory power estimation and capping", ISLPED.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(slots=True)
class Joules:
    """Filled when the measured block ends; None where no counter can be read."""

    total: float | None = None


def packages(root: Path = POWERCAP) -> list[Path]:
    """Folders of packages whose counters can be read."""
    # Parts of a package are listed beside it, with one colon more, and are counted in it.
    listed = (f for f in sorted(root.glob("intel-rapl:*")) if f.name.count(":") == 1)
    return [folder for folder in listed if _microjoules(folder) is not None]


@contextmanager
def measured_joules(root: Path = POWERCAP) -> Iterator[Joules]:
    """Measure the block."""
    found = Joules()
    before = {folder: _microjoules(folder) for folder in packages(root)}
    yield found
    if before:
        found.total = sum(_spent(folder, begun) for folder, begun in before.items()) / 1e6


def _spent(folder: Path, begun: int | None) -> int:
    ended = _microjoules(folder)
    if begun is None or ended is None:
        return 0
    if ended >= begun:
        return ended - begun
    return ended - begun + int((folder / "max_energy_range_uj").read_text())


def _microjoules(folder: Path) -> int | None:
    try:
        return int((folder / "energy_uj").read_text())
    except (OSError, ValueError):
        return None
