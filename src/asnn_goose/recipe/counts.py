"""Types of a recipe's counts: what `asnn_goose.numbers` reads, as fields of a table."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from asnn_goose.numbers import ALL, parse_count


def read_count(value: Any) -> Any:
    """A count out of 200000, "200k", "1.5M" or 2e5; other types pass for pydantic to refuse."""
    # TOML reads 2e5 as a float, which everybody means as a count.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return parse_count(value) if isinstance(value, str) else value


def _count_or_all(value: Any) -> Any:
    if value in ("all", ALL):
        return ALL
    count = read_count(value)
    if count == 0:
        raise ValueError('write a whole number of at least 1, or "all"')
    return count


def _written(value: int) -> int | str:
    return "all" if value == ALL else value


Count = Annotated[int, BeforeValidator(read_count), Field(ge=1)]
"""A whole number of at least 1."""

CountOrAll = Annotated[
    int, BeforeValidator(_count_or_all), PlainSerializer(_written), Field(ge=ALL)
]
"""A whole number of at least 1, or "all", which becomes ALL."""
