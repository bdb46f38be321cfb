"""Corpora are made ready in several processes, each once, and a failure costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.data import corpora, prepare
from asnn_goose.data.corpora import Corpus
from asnn_goose.data.document import Document
from asnn_goose.data.prepare import is_ready, splits_of
from asnn_goose.data.shards import tokenised_meta
from asnn_goose.sources import SourceError


@pytest.fixture
def table(make_corpus: Callable[..., Corpus], monkeypatch: pytest.MonkeyPatch) -> dict[str, Corpus]:
    """Three corpora, and threads in place of processes: a spawned one would not know of them."""

    @contextmanager
    def pool(count: int) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(count) as threads:
            yield threads

    monkeypatch.setattr(prepare, "_pool", pool)
    for number, name in enumerate(("one", "two", "three"), start=1):
        read = [Document(id=f"{n}", group=f"{n}", text=f"{name} {n}") for n in range(100)]
        corpus = make_corpus(name, read, megabytes=float(number), only_evaluated=name == "two")
        monkeypatch.setitem(corpora.CORPORA, name, corpus)
    return corpora.CORPORA


def test_every_split_is_ready_and_files_are_left(
    table: dict[str, Corpus], tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("a text of my own")
    said: list[str] = []
    prepare.prepare(["one", "two", str(own)], tokenizer, processes=2, tell=said.append)
    assert is_ready(table["one"], tokenizer)
    assert is_ready(table["two"], tokenizer)
    assert not is_ready(table["three"], tokenizer)
    assert splits_of(table["two"]) == ("test",)
    assert tokenised_meta(table["two"], "test", tokenizer) is not None
    assert len(said) == 2
    assert "3 of about 3 MB" in said[-1]
    assert "0 s left" in said[-1]


def test_what_is_ready_is_not_done_again(
    table: dict[str, Corpus], tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare.prepare(["one"], tokenizer, tell=print)
    said: list[str] = []
    prepare.prepare(["one", "three"], tokenizer, tell=said.append)
    assert [line.partition(":")[0] for line in said] == ["three"]
    prepare.prepare(["one", "three"], tokenizer, tell=said.append)
    assert len(said) == 1


def test_interruption_keeps_what_is_done(
    table: dict[str, Corpus],
    make_corpus: Callable[..., Corpus],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
) -> None:
    def read(_place: Path) -> Iterator[Document]:
        yield Document(id="a", group="a", text="begun")
        raise KeyboardInterrupt

    monkeypatch.setitem(
        corpora.CORPORA, "broken", make_corpus("broken", [], read=read, megabytes=0.1)
    )
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(["one", "broken"], tokenizer, processes=1, tell=print)
    assert is_ready(table["one"], tokenizer)
    assert not is_ready(corpora.CORPORA["broken"], tokenizer)
    assert not list(cache.rglob(".new-*"))


def test_failed_corpora_are_named_at_the_end(
    table: dict[str, Corpus],
    make_corpus: Callable[..., Corpus],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_place: Path) -> Iterator[Document]:
        raise SourceError("apt-get is not on this machine")

    monkeypatch.setitem(corpora.CORPORA, "lost", make_corpus("lost", [], read=read, megabytes=9.0))
    with pytest.raises(SourceError, match="lost: apt-get is not on this machine"):
        prepare.prepare(["lost", "one", "three"], tokenizer, processes=1, tell=print)
    assert is_ready(table["one"], tokenizer)
    assert is_ready(table["three"], tokenizer)
