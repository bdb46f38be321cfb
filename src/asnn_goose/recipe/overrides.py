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
    target: Any = raw
    for key in keys[:-1]:
        if isinstance(target, dict):
            target = target.setdefault(key, {})
        else:
            target = target[_number(target, key, text)]
    if isinstance(target, dict):
        target[keys[-1]] = parse_value(value)
    else:
        target[_number(target, keys[-1], text)] = parse_value(value)


def _number(target: Any, key: str, text: str) -> int:
    """Which entry of a list a key means."""
    if not isinstance(target, list):
        raise RecipeError(f"--set {text}: there is no table that could hold {key!r}")
    if not key.isdecimal() or int(key) >= len(target):
        raise RecipeError(
            f"--set {text}: {key!r} is no entry of a list of {len(target)}, counted from 0"
        )
    return int(key)


def parse_value(text: str) -> Any:
    """A TOML value (5, 1e-4, true, [1, 2], "words"), or else the text itself (200k, sotu)."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
