"""Records of the user's own: lines of .jsonl, rows of .parquet, rows of a data set on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError
from asnn_goose.data.hub import hub_rows, hub_text, is_hub
from asnn_goose.data.own_text import json_lines
from asnn_goose.data.tables import read_records as read_parquet

Record = Mapping[str, Any]

SUFFIXES = (".jsonl", ".parquet")


def read_records(name_or_path: str | Path) -> Iterator[tuple[str, Record]]:
    """(place, record) of every record, in order; a place is a file's line or row.

    Of a data set (hf:...) `tokens` is how many rows are read, for records have no tokens before
    they are put in order. Raises DataError, naming the place, for what cannot be read, SourceError
    where the Hub cannot.
    """
    if is_hub(name_or_path):
        text = hub_text(name_or_path)
        rows = islice(hub_rows(text), text.tokens)
        yield from ((f"{text.repository}, row {n}", row) for n, row in enumerate(rows))
        return
    file = Path(name_or_path).expanduser()
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file}: wanted a file that ends in {' or '.join(SUFFIXES)}")
    if file.suffix == ".parquet":
        yield from read_parquet(file)
    else:
        yield from ((place, record) for _, place, record in json_lines(file))
