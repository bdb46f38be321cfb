"""From a TOML file and `--set` overrides to a checked recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from asnn_goose.names import hint
from asnn_goose.recipe.errors import RecipeError
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.table import Table


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides such as `stage.0.tokens=200k`, check everything.

    Raises RecipeError that names every place that is wrong, the value found there and what would
    be right; OSError where the file cannot be read.
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not readable as TOML: {error}") from error
    for text in overrides:
        override(raw, text)
    return check_recipe(raw, source=str(path))


def check_recipe(raw: dict[str, Any], *, source: str) -> Recipe:
    """A recipe out of plain values; `source` begins the error message."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        lines = [_describe(entry) for entry in error.errors()]
        raise RecipeError("\n  ".join([f"{source}:", *lines])) from None


def _describe(error: Any) -> str:
    """One line: place, value, what would be right."""
    place = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        return f"{place}: unknown key; {hint(key, _keys_at(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{place}: missing"
    message = error["msg"].removeprefix("Value error, ")
    above, _, key = place.rpartition(".")
    if message.startswith(f"{key}."):  # the message goes on with the place within the value
        return f"{above}.{message}" if above else str(message)
    found = error["input"]
    return f"{place}: {message}" if isinstance(found, dict) else f"{place} = {found!r}: {message}"


def _keys_at(location: Iterable[Any]) -> list[str]:
    """Valid keys of the table at a place in the recipe."""
    table: type[Table] = Recipe
    for part in location:
        if isinstance(part, str):
            table = _table_of(table.model_fields[part].annotation)
    return list(table.model_fields)


def _table_of(annotation: Any) -> type[Table]:
    """The table inside an annotation such as tuple[StageTable, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next(_table_of(inner) for inner in get_args(annotation) if inner is not ...)


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
