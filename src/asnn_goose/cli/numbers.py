"""Numbers as people write and read them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_COUNT = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?)\s*([kKMGB]?)")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def count(text: str | int) -> int:
    """A whole number of at least 1, written as in recipes: 500, 32_000, 200k, 1.5M.

    Raises ValueError for anything else. Reads what `recipe.numbers.parse_count` reads, which
    cannot be had without torch.
    """
    found = _COUNT.fullmatch(str(text).strip())
    if not found:
        raise ValueError("write a whole number such as 5000, 200k or 1.5M")
    value = Decimal(found[1].replace("_", "")) * _FACTORS[found[2]]
    if value != int(value):
        raise ValueError(f"is {value}, which is no whole number")
    if value < 1:
        raise ValueError(f"is {value}, must be at least 1")
    return int(value)


def duration(seconds: float) -> str:
    """Seconds for a reader: 42 s, 3 min 20 s, 2 h 05 min; ? where they are not known yet."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count_of_bytes: float) -> str:
    """Bytes for a reader: 640 kB, 98 MB, 1.5 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count_of_bytes >= scale:
            value = count_of_bytes / scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count_of_bytes / 1e3:.0f} kB"
