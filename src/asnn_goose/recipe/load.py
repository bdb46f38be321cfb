"""From a TOML file and `--set` overrides to a checked recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from asnn_goose.recipe.errors import RecipeError, hint
from asnn_goose.recipe.overrides import override
from asnn_goose.recipe.schema import Recipe, Table


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
