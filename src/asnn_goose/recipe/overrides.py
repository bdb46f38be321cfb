"""`--set stage.0.tokens=200k`: change one value of a recipe before it is checked."""

from __future__ import annotations

import tomllib
from typing import Any

from asnn_goose.recipe.errors import RecipeError


def override(raw: dict[str, Any], text: str) -> None:
    """Set the value at a dotted place, in place; numbers count the entries of a list from 0.

    Whether the key exists is checked afterwards, with the rest of the recipe. Raises RecipeError
    for a text without `=`, and for an entry that a list does not have.
    """
    place, equals, value = text.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {text}: write it as place=value, such as stage.0.tokens=200k")
    table: Any = raw
    for index, key in enumerate(keys[:-1]):
        inside = ".".join(keys[:index])
        table = _entry(table, key, inside) if isinstance(table, list) else _table(table, key, text)
    if isinstance(table, list):
        _entry(table, keys[-1], ".".join(keys[:-1]))
        table[int(keys[-1])] = parse_value(value)
    else:
        table[keys[-1]] = parse_value(value)


def _table(table: Any, key: str, text: str) -> Any:
    if not isinstance(table, dict):
        raise RecipeError(f"--set {text}: there is no table before {key!r}")
    return table.setdefault(key, {})


def _entry(entries: list[Any], key: str, place: str) -> Any:
    if not key.isdecimal() or int(key) >= len(entries):
        raise RecipeError(
            f"--set {place}.{key}: {place} has {len(entries)} entries, numbered from 0"
        )
    return entries[int(key)]


def parse_value(text: str) -> Any:
    """A TOML value (5, 1e-4, true, [1, 2], "words"), or else the text itself (200k, sotu)."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
