"""From a TOML file and overrides to a checked recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.table import check_table, read_toml


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides such as `stage.0.tokens=200k`, check everything.

    Raises RecipeError that names every place that is wrong, the value found there and what would
    be right; OSError where the file cannot be read.
    """
    raw = read_toml(path, error=RecipeError)
    # On plain values, before any check: an override is then refused with the words that a file
    # would get.
    for text in overrides:
        override(raw, text)
    return check_recipe(raw, source=str(path))


def check_recipe(raw: dict[str, Any], *, source: str) -> Recipe:
    """A recipe out of plain values; `source` begins the error message."""
    return check_table(Recipe, raw, source=source, error=RecipeError)


def override(raw: dict[str, Any], text: str) -> None:
    """Set the value at a dotted place, in place; numbers count the entries of a list from 0.

    Whether the key exists is checked afterwards, with the rest of the recipe. Raises RecipeError
    for a text without `=`, and for an entry that a list does not have.
    """
    place, equals, value = text.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"override {text}: write it as place=value, such as stage.0.tokens=200k")
    target: Any = raw
    for key in keys[:-1]:
        if isinstance(target, dict):
            # A table that the file leaves out may be written by its overrides.
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
        raise RecipeError(f"override {text}: there is no table that could hold {key!r}")
    if not key.isdecimal() or int(key) >= len(target):
        raise RecipeError(
            f"override {text}: {key!r} is no entry of a list of {len(target)}, counted from 0"
        )
    return int(key)


def parse_value(text: str) -> Any:
    """A TOML value (5, 1e-4, true, [1, 2], "words"), or else the text itself (200k, sotu).

    Raises RecipeError for a number too long, and brackets too deep.
    """
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"override {text[:60]}...: is no value: {error}") from error
