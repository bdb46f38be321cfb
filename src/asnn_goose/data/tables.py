"""Parquet files, and which column of a table is the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError

_STRINGS = frozenset({"string", "large_string", "string_view"})
# Few at a time: a row may be a book.
_BATCH_ROWS = 256


def read_rows(file: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of every row of a parquet file; a row without text gives "".

    Raises DataError where pyarrow is missing, the file cannot be read, or the column cannot be
    told.
    """
    with _parquet(file) as table:
        schema = table.schema_arrow
        strings = [field.name for field in schema if str(field.type) in _STRINGS]
        column = text_column(strings, schema.names, None, place=str(file))
        batches = table.iter_batches(batch_size=_BATCH_ROWS, columns=[column])
        texts = (text for batch in batches for text in batch.column(0).to_pylist())
        for number, text in enumerate(texts, 1):
            yield f"{file.name}:{number}", text or ""


def read_records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of every row of a parquet file, with all its columns.

    Raises DataError where pyarrow is missing or the file cannot be read.
    """
    with _parquet(file) as table:
        batches = table.iter_batches(batch_size=_BATCH_ROWS)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, 1):
            yield f"{file}, row {number}", row


@contextmanager
def _parquet(file: Path) -> Iterator[Any]:
    parquet = needed("pyarrow.parquet", wanted=str(file))
    try:
        with parquet.ParquetFile(file) as table:
            yield table
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as parquet: {error}") from error


def text_column(
    strings: Sequence[str], columns: Sequence[str], key: str | None, *, place: str
) -> str:
    """The column that holds the text: `key`, else "text", else the only one of strings.

    Raises DataError where there is none, or more than one to choose from.
    """
    found = ", ".join(map(repr, columns)) or "none"
    if key is not None and key not in columns:
        raise DataError(f"{place}: no column {key!r}, found {found}")
    if key is not None and key not in strings:
        raise DataError(f"{place}: column {key!r} is not text")
    if key is not None or "text" in strings:
        return key or "text"
    if len(strings) != 1:
        raise DataError(
            f"{place}: {len(strings)} columns of strings, name the one to read; found {found}"
        )
    return strings[0]


def needed(module: str, *, wanted: str) -> Any:
    """A module of an optional package. Raises DataError with the command that installs it."""
    package = module.split(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise DataError(f"{wanted} needs {package}: pip install {package}") from error
