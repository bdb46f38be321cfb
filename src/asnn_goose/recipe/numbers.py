"""Numbers as people write them in recipes: 200k, 1.5M."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

_NUMBER = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?)\s*([kKMGB]?)")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}

ALL = -1
"""Value of a token count that says `all`."""


def parse_count(value: Any) -> Any:
    """A count out of 200000, "200k", "1.5M" or 2e5; other types pass for pydantic to refuse.

    >>> parse_count("1.5M")
    1500000
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    found = _NUMBER.fullmatch(value.strip())
    if not found:
        raise ValueError("write a whole number such as 5000, 200k or 1.5M")
    number = Decimal(found[1].replace("_", "")) * _FACTORS[found[2]]
    if number != int(number):
        raise ValueError(f"is {number}, which is no whole number")
    return int(number)


def _parse_count_or_all(value: Any) -> Any:
    if value in ("all", ALL):
        return ALL
    count = parse_count(value)
    if count == 0:
        raise ValueError('write a whole number of at least 1, or "all"')
    return count


def _write_count_or_all(value: int) -> int | str:
    return "all" if value == ALL else value


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=1)]
"""A whole number of at least 1."""

CountOrAll = Annotated[
    int, BeforeValidator(_parse_count_or_all), PlainSerializer(_write_count_or_all), Field(ge=ALL)
]
"""A whole number of at least 1, or "all", which becomes ALL."""
