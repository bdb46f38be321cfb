"""What every table of a recipe or grid is, how one is checked, and the types of its values."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from asnn_goose.losses.kinds import check_temperature
from asnn_goose.names import hint
from asnn_goose.numbers import SEEDS, size

LARGEST = 10_000_000
"""Bytes of a file that is read as TOML: a model named by mistake has more."""

Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, AfterValidator(check_temperature)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Table(BaseModel):
    """A table of a recipe: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, raw: Any) -> Any:
        """TOML has `true` and `inf`, which pydantic would take for 1 and for a rate."""
        for name, value in raw.items() if isinstance(raw, Mapping) else ():
            check_number(name, value, cls.type_of(name))
        return raw

    @classmethod
    def type_of(cls, name: str) -> Any:
        """Type of a key's value; None where it is not known."""
        field = cls.model_fields.get(name)
        return None if field is None else field.annotation


def check_number(name: str, value: Any, type_: Any) -> None:
    """Raise ValueError for a truth where a number is wanted, and for an infinite number.

    Only `clip` may be infinite: for none.
    """
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, bool) and _has_number(type_):
            raise ValueError(f"{name} = {str(one).lower()}: must be a number")
        if isinstance(one, float) and not one.is_integer() and _is_whole(type_):
            raise ValueError(f"{name} = {one}: must be a whole number")
        if isinstance(one, float) and not math.isfinite(one) and name != "clip":
            raise ValueError(f"{name} = {one}: must be a finite number")


def _has_number(type_: Any) -> bool:
    """Whether a type holds numbers and no truths."""
    parts = set(_parts(type_))
    return bool(parts & {int, float}) and bool not in parts


def _is_whole(type_: Any) -> bool:
    parts = set(_parts(type_))
    return int in parts and not parts & {float, str}


def _parts(type_: Any) -> Iterator[Any]:
    yield type_
    for inner in get_args(type_):
        yield from _parts(inner)


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
    if (bytes_ := Path(path).stat().st_size) > LARGEST:
        raise error(f"{path} is not readable as TOML: it has {size(bytes_)}, no text by hand")
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
        errors = found.errors()
        # A list whose entries are wrong is told to be too short as well, which it is not.
        below = {error["loc"][:end] for error in errors for end in range(len(error["loc"]))}
        own = [e for e in errors if e["type"] != "too_short" or e["loc"] not in below]
        lines = [_describe(kind, entry) for entry in own]
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
    if error["type"] == "too_short":
        return f"{place} = {error['input']!r}: give {error['ctx']['min_length']} or more"
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
