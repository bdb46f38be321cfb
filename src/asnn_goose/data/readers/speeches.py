"""Speeches, one to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of


def read_speeches(folder: Path) -> Iterator[Document]:
    """One document per address in `folder`/YEAR-President-N.txt, grouped by year.

    A year may hold a spoken and a written version of the same address.
    """
    for file in files_of(folder, "*.txt"):
        yield Document(id=file.stem, group=file.stem[:4], text=file.read_text("utf-8").strip())
