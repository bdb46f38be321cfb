"""What every table of a recipe or grid is, how one is checked, and the types of its values."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asnn_goose.names import hint
from asnn_goose.numbers import SEEDS

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Table(BaseModel):
    """A table of a recipe: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(valid: Collection[str]) -> AfterValidator:
    """Validator of a name that must be a row of a table."""

    def check(name: str) -> str:
        if name not in valid:
            raise ValueError(hint(name, valid))
        return name

    return AfterValidator(check)


Checked = TypeVar("Checked", bound=Table)


def read_toml(path: Path, *, error: type[Exception]) -> dict[str, Any]:
    """Plain values of a file. Raises `error` for what is no TOML, OSError for what is no file."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as cause:  # also numbers too long, brackets too deep
        raise error(f"{path} is not readable as TOML: {cause}") from cause


def check_table(
    kind: type[Checked], raw: dict[str, Any], *, source: str, error: type[Exception]
) -> Checked:
    """A table out of plain values.

    Raises `error`, whose message begins with `source` and names every place that is wrong.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as found:
        lines = [_describe(kind, entry) for entry in found.errors()]
        # All faults at once, and without pydantic's own report, which speaks of types and not of
        # keys.
        raise error("\n  ".join([f"{source}:", *lines])) from None


def _describe(kind: type[Table], error: Any) -> str:
    """One line: place, value, what would be right."""
    place = ".".join(str(part) for part in error["loc"]) or kind.__name__.lower()
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        return f"{place}: unknown key; {hint(key, _keys_at(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{place}: missing"
    message = error["msg"].removeprefix("Value error, ")
    above, _, key = place.rpartition(".")
    if message.startswith(f"{key}."):  # the message goes on with the place within the value
        return f"{above}.{message}" if above else str(message)
    found = error["input"]
    return f"{place}: {message}" if isinstance(found, dict) else f"{place} = {found!r}: {message}"


def _keys_at(table: type[Table], location: Iterable[Any]) -> list[str]:
    """Valid keys of the table at a place."""
    for part in location:
        if isinstance(part, str):
            table = _table_of(table.model_fields[part].annotation)
    return [field.alias or name for name, field in table.model_fields.items()]


def _table_of(annotation: Any) -> type[Table]:
    """The table inside an annotation such as tuple[StageTable, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next(_table_of(inner) for inner in get_args(annotation) if inner is not ...)
