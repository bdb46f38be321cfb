"""Novels of the R package janeaustenr."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from asnn_goose.data.document import DataError, Document
from asnn_goose.data.readers.r_lazy import read_lazy_data

AUSTEN_NOVELS = 6


def read_novels(database: Path) -> Iterator[Document]:
    """One document per novel of the R package janeaustenr: hard-wrapped lines are joined again."""
    novels = read_lazy_data(database)
    if len(novels) != AUSTEN_NOVELS:
        raise DataError(f"{database} holds {len(novels)} novels, wanted {AUSTEN_NOVELS}")
    for name, lines in sorted(novels.items()):
        paragraphs = re.split(r"\n{2,}", "\n".join(lines).strip())
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        yield Document(id=name, group=name, text=text)
