"""Names that stand for a row of a table: the row, or an error with the nearest name.

In comes what a user wrote; out goes the row, or a ValueError. No table lives here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

Row = TypeVar("Row")


def hint(found: object, valid: Collection[str]) -> str:
    """`did you mean 'tokens'?`, or all that is valid where nothing comes near."""
    near = difflib.get_close_matches(str(found), valid, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(valid)}"


def lookup(table: Mapping[str, Row], name: object, *, setting: str) -> Row:
    """The row `name` of a table.

    Raises ValueError that gives the setting, what was found there and the nearest name.
    """
    check_name(table, name, setting=setting)
    return table[str(name)]


def check_name(valid: Collection[str], name: object, *, setting: str) -> None:
    """Raise ValueError, as `lookup` does, unless `name` is one of the valid ones."""
    if not isinstance(name, str) or name not in valid:
        raise ValueError(f"{setting} = {name!r}: {hint(name, valid)}")
