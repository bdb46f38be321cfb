"""What is told about a text that comes in packages: one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asnn_goose.data.document import Document
from asnn_goose.data.readers.prose import parted, unrepeated
from asnn_goose.sources import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text that comes in packages.

    name             what recipes and commands call it
    kind             of text: encyclopaedic, narrative, essay, technical, dialogue, ...
    licence, source  of the text; where it is had
    group            what all documents that must share a split have in common
    packages         that hold it
    place            of the text inside every package
    read             gives the documents found at such a place
    megabytes        about how much text it gives
    broad            its share of the mixture `broad`, in percent; 0 where it is none of it
    piece            characters of what is dealt to the splits, where chapters are too few for that
    tidied           paragraphs that come twice are dropped, and long documents cut in parts
    only_evaluated   the whole text is "test": nothing of it may be trained on
    """

    name: str
    kind: str
    licence: str
    source: str
    group: str
    packages: tuple[Package, ...]
    read: Callable[[Path], Iterable[Document]]
    megabytes: float
    place: str = ""
    broad: float = 0.0
    piece: int | None = None
    tidied: bool = True
    only_evaluated: bool = False

    def version(self) -> str:
        """Versions of its packages, fetched on first use."""
        return "+".join(dict.fromkeys(package.found_version() for package in self.packages))

    def documents(self) -> Iterator[Document]:
        """All documents, read from the packages, which are fetched on first use."""
        read = (d for package in self.packages for d in self.read(package.fetch() / self.place))
        if not self.tidied:
            return read
        if self.piece is not None:
            return parted(unrepeated(read), characters=self.piece, groups=True)
        return parted(unrepeated(read))
