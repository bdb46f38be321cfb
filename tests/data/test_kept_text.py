"""The cleaned text of a corpus is made once, whole, and its content is known."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asnn_goose.data.corpora import Corpus
from asnn_goose.data.corpora.kept_text import (
    kept_documents,
    known_text_meta,
    text_meta,
)
from asnn_goose.data.document import DataError, Document, split_of

TEXTS = [Document(id=f"{n}", group=f"{n // 2}", text=f"naïve text {n}") for n in range(200)]


class Moving:
    """A package whose version moves, as those of point releases do."""

    def __init__(self) -> None:
        self.version = "1.0-1"
        self.fetched = 0

    def fetch(self) -> Path:
        self.fetched += 1
        return Path("somewhere")

    def found_version(self) -> str:
        return self.version


def test_documents_are_read_once_and_kept(make_corpus: Callable[..., Corpus]) -> None:
    package = Moving()
    corpus = make_corpus("small", TEXTS, packages=(package,))
    assert known_text_meta(corpus) is None
    assert list(kept_documents(corpus)) == list(kept_documents(corpus)) == TEXTS
    assert package.fetched == 1
    assert known_text_meta(corpus) == text_meta(corpus)


def test_meta_tells_what_the_text_is(make_corpus: Callable[..., Corpus], cache: Path) -> None:
    corpus = make_corpus("small", TEXTS)
    meta = text_meta(corpus)
    [file] = cache.glob("texts/*/documents.jsonl")
    assert meta.content == hashlib.sha256(file.read_bytes()).hexdigest()
    assert meta.identity == f"1/{meta.content[:16]}"
    assert json.loads(file.read_text("utf-8").splitlines()[3]) == {
        "id": "3",
        "group": "1",
        "text": "naïve text 3",
    }
    for split in ("train", "validation", "test"):
        texts = [d.text for d in TEXTS if split_of(d.group) == split]
        assert meta.documents[split] == len(texts)
        assert meta.bytes[split] == sum(len(text.encode()) for text in texts)


def test_another_version_is_another_text(make_corpus: Callable[..., Corpus]) -> None:
    package = Moving()
    first = text_meta(make_corpus("small", TEXTS, packages=(package,)))
    package.version = "1.0-2"
    corpus = make_corpus("small", TEXTS[1:], packages=(package, package))
    second = text_meta(corpus)
    assert (first.version, second.version) == ("1.0-1", "1.0-2")
    assert first.content != second.content


def test_text_for_evaluation_is_all_test(make_corpus: Callable[..., Corpus]) -> None:
    meta = text_meta(make_corpus("held", TEXTS, only_evaluated=True))
    assert meta.documents == {"test": len(TEXTS)}


def test_interrupted_reading_leaves_nothing(make_corpus: Callable[..., Corpus]) -> None:
    def read(_place: Path) -> Iterator[Document]:
        yield TEXTS[0]
        raise KeyboardInterrupt

    corpus = make_corpus("small", TEXTS, read=read)
    with pytest.raises(KeyboardInterrupt):
        text_meta(corpus)
    assert known_text_meta(corpus) is None


def test_empty_package_is_named(make_corpus: Callable[..., Corpus]) -> None:
    with pytest.raises(DataError, match="corpus 'none': its packages hold no text"):
        text_meta(make_corpus("none", []))


def test_tidying_drops_repeated_paragraphs_and_cuts(make_corpus: Callable[..., Corpus]) -> None:
    long = "A paragraph that comes twice in this corpus, and is long enough to be seen. " * 4
    read = [
        Document(id="a", group="g", text=f"{long}\n\n{long}"),
        Document(id="b", group="g", text="\n\n".join(f"{n} {long}" for n in range(40))),
    ]
    whole = list(make_corpus("whole", read).documents())
    assert whole == read
    tidied = list(make_corpus("tidied", read, tidied=True, piece=2_000).documents())
    assert tidied[0].text == long
    assert len(tidied) > 3
    assert len({d.group for d in tidied[1:]}) == len(tidied) - 1
