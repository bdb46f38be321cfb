"""Corpora that come in a package on this machine, added to the built-in ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.campaign.inputs import NAMES, VERSION, WHEEL

from asnn_goose.data.corpora import CORPORA, Corpus
from asnn_goose.data.document import Document
from asnn_goose.sources.pypi import PypiWheel


def _read(place: Path) -> Iterator[Document]:
    for number, line in enumerate((place / "text.txt").read_text("utf-8").splitlines()):
        yield Document(id=f"{place.name}/{number}", group=str(number), text=line)


# Here and not in a function: processes that prepare texts import the program that started them, and
# must find them. Only programs of the campaign import this file: tests count the built-in corpora.
for name in NAMES:
    CORPORA[name] = Corpus(
        name=name,
        kind="numbers",
        licence="none",
        source="nowhere",
        group="line",
        packages=(PypiWheel(WHEEL, VERSION),),  # pip finds it in a folder (PIP_FIND_LINKS)
        place=WHEEL,
        read=_read,
        megabytes=0.1,
    )
