"""The cleaned text of a corpus, kept in the cache: packages are read once, whoever tokenises."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.document import DataError, Document, split_of
from asnn_goose.sources import cache_dir, new_folder

READERS = 1
"""Goes into the key of every kept text: raise it when a reader or the tidying changes."""

_TEXT, _META = "documents.jsonl", "meta.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMeta:
    """What a kept text is.

    name, version  of the corpus and of its packages
    content        SHA-256 of documents.jsonl
    documents, bytes   of each split, UTF-8
    """

    name: str
    version: str
    content: str
    documents: dict[str, int]
    bytes: dict[str, int]

    @property
    def identity(self) -> str:
        """Version of the packages and of what was read out of them."""
        return f"{self.version}/{self.content[:16]}"


def kept_documents(corpus: Corpus) -> Iterator[Document]:
    """All documents of a corpus, in their order, from the kept text; it is made on first use.

    Raises DataError where the corpus gives no document, SourceError where a package cannot be had.
    """
    text_meta(corpus)
    with (_folder(corpus) / _TEXT).open(encoding="utf-8") as lines:
        for line in lines:
            yield Document(**json.loads(line))


def text_meta(corpus: Corpus) -> TextMeta:
    """What the text of a corpus is, made on first use; raises as `kept_documents` does."""
    folder = _folder(corpus)
    if not folder.is_dir():
        with new_folder(folder) as fresh:
            _write(fresh, corpus)
    return _read(folder)


def known_text_meta(corpus: Corpus) -> TextMeta | None:
    """What the text of a corpus is, or None where it is not in the cache: nothing is fetched."""
    found = sorted((cache_dir() / "texts").glob(f"{corpus.name}-{READERS}-*/{_META}"))
    return _read(found[-1].parent) if found else None


def _folder(corpus: Corpus) -> Path:
    version = re.sub(r"[^\w.+~-]", "_", corpus.version())
    return cache_dir() / "texts" / f"{corpus.name}-{READERS}-{version[:80]}"


def _write(folder: Path, corpus: Corpus) -> None:
    digest = hashlib.sha256()
    documents: dict[str, int] = {}
    sizes: dict[str, int] = {}
    with (folder / _TEXT).open("wb") as stream:
        for document in corpus.documents():
            line = json.dumps(asdict(document), ensure_ascii=False).encode() + b"\n"
            stream.write(line)
            digest.update(line)
            split = "test" if corpus.only_evaluated else split_of(document.group)
            documents[split] = documents.get(split, 0) + 1
            sizes[split] = sizes.get(split, 0) + len(document.text.encode())
    if not documents:
        raise DataError(f"corpus {corpus.name!r}: its packages hold no text; delete them")
    meta = TextMeta(
        name=corpus.name,
        version=corpus.version(),
        content=digest.hexdigest(),
        documents=documents,
        bytes=sizes,
    )
    (folder / _META).write_text(json.dumps(asdict(meta), indent=1), "utf-8")


def _read(folder: Path) -> TextMeta:
    return TextMeta(**json.loads((folder / _META).read_text("utf-8")))


def megabytes(corpus: Corpus) -> str:
    """Size of the text that is in the cache, or about how much there will be, in words."""
    known = known_text_meta(corpus)
    return f"~{corpus.megabytes:.2f}" if known is None else f"{sum(known.bytes.values()) / 1e6:.2f}"
