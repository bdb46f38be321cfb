"""Numbers as people write and read them: 200k, 3 min 20 s, 98 MB."""

from __future__ import annotations

import math
import re
from decimal import Decimal

ALL = -1
"""Value of a token count that says `all`."""

SEEDS = 1 << 31
"""Seeds are below it: generators take 32 bits, and processes of one run add their number."""

MOST_THREADS = 1024
"""More than any machine of ours has; many more break the libraries below."""

_COUNT = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?)\s*([kKMGB]?)")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def parse_count(text: str) -> int:
    """A whole number of at least 0 out of 5000, 32_000, 200k or 1.5M.

    Raises ValueError for anything else.

    >>> parse_count("1.5M")
    1500000
    """
    found = _COUNT.fullmatch(text.strip())
    if not found:
        raise ValueError("write a whole number such as 5000, 200k or 1.5M")
    # Not a float: 0.29M would become 289999.99999999994, which is no whole number.
    number = Decimal(found[1].replace("_", "")) * _FACTORS[found[2]]
    if number != int(number):
        raise ValueError(f"is {number}, which is no whole number")
    return int(number)


def count(text: str | int) -> int:
    """A count of at least 1. Raises ValueError for anything else."""
    value = parse_count(str(text))
    if value < 1:
        raise ValueError(f"is {value}, must be at least 1")
    return value


def duration(seconds: float) -> str:
    """Seconds for a reader: 42 s, 3 min 20 s, 2 h 05 min; ? where they are not known yet."""
    if not math.isfinite(seconds):
        return "?"
    # Rounded before it is cut into minutes, or 59.7 s would be written as 60 s.
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
