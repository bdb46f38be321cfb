"""Texts by name: splits of the real corpora are disjoint and of the size they are said to be."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from asnn_goose.data import corpora
from asnn_goose.data.corpora import (
    CORPORA,
    DEFAULT_OUT_OF_DOMAIN,
    DEFAULT_TRAIN,
    Corpus,
    documents,
    find_corpus,
    mixture,
)
from asnn_goose.data.document import DataError, Document, split_of
from asnn_goose.data.readers.records import WIKITEXT_TITLES

# Megabytes of the whole text, and the least share that validation and test each have of it.
SIZES = {"sotu": 12.19, "wiki_vital": 5.03, "factbook": 2.12}
LEAST_SHARE = 0.03


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, make_corpus: Callable[..., Corpus]) -> list[Document]:
    """A corpus `small` of 400 documents in 200 groups, and one that is only for evaluation."""
    texts = [Document(id=f"{n}", group=f"{n // 2}", text=f"text {n}") for n in range(400)]
    rows = (make_corpus("small", texts), make_corpus("held_out", texts, only_evaluated=True))
    monkeypatch.setattr(corpora, "CORPORA", {corpus.name: corpus for corpus in rows})
    return texts


def test_splits_are_disjoint_by_group_and_whole(small: list[Document]) -> None:
    parts = [list(documents("small", part)) for part in ("train", "validation", "test")]
    groups = [{d.group for d in part} for part in parts]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 200
    assert sum(map(len, parts)) == 400
    assert list(documents("small")) == parts[0]
    assert list(documents("small", "all")) == small


def test_corpus_for_evaluation_is_never_trained_on(small: list[Document]) -> None:
    assert list(documents("held_out", "test")) == list(documents("held_out", "all")) == small
    for split in ("train", "validation"):
        with pytest.raises(DataError, match=f"'held_out' is only for evaluation.*'{split}'"):
            documents("held_out", split)  # type: ignore[arg-type]


def test_file_works_where_a_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.jsonl").write_text('{"text": "hello"}\n')
    [document] = documents(tmp_path / "own.jsonl", "all")
    assert document.text == "hello"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(list(documents("~/own.jsonl", "all"))) == 1
    with pytest.raises(DataError, match=r"missing\.txt: no such file"):
        documents("missing.txt")


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no corpus 'wikivital'; did you mean 'wiki_vital'\?"):
        documents("wikivital")
    with pytest.raises(
        DataError, match=r"no corpus 'xyz'\. Known are .*sotu, .*the mixture broad.*\.jsonl"
    ):
        documents("xyz")


def test_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="split 'dev' is not one of"):
        documents("sotu", "dev")  # type: ignore[arg-type]


def test_table_is_keyed_by_name_and_says_the_licence() -> None:
    assert all(name == corpus.name and corpus.licence for name, corpus in CORPORA.items())
    assert "BY-SA" in CORPORA["wiki_vital"].licence
    assert not any(CORPORA[name].only_evaluated for name in DEFAULT_TRAIN)
    assert all(CORPORA[name].only_evaluated for name in DEFAULT_OUT_OF_DOMAIN)
    assert find_corpus("sotu") is CORPORA["sotu"]


def test_every_corpus_says_what_it_is() -> None:
    for corpus in CORPORA.values():
        assert corpus.kind
        assert corpus.source
        assert corpus.group
        assert corpus.packages
        assert corpus.megabytes > 0
        assert not (corpus.broad and corpus.only_evaluated)


def test_shares_of_broad_are_percents_of_every_kind() -> None:
    assert sum(corpus.broad for corpus in CORPORA.values()) == pytest.approx(100)
    assert sum(corpus.broad > 0 for corpus in CORPORA.values()) >= 20
    kinds = {corpus.kind for corpus in CORPORA.values() if corpus.broad}
    assert {"encyclopaedic", "narrative", "essay", "technical", "dialogue"} <= kinds


def test_broad_is_spelt_out_with_its_shares() -> None:
    names, weights = mixture(["broad"])
    assert set(names) == {corpus.name for corpus in CORPORA.values() if corpus.broad}
    assert sum(weights) == pytest.approx(1)
    by_name = dict(zip(names, weights, strict=True))
    assert by_name["wiki_vital"] == pytest.approx(0.17)
    assert "austen" not in by_name


def test_weights_deal_out_broad_beside_other_texts() -> None:
    names, weights = mixture(["broad", "own.txt", "sotu"], [3.0, 1.0, 0.5])
    by_name = dict(zip(names, weights, strict=True))
    assert by_name["own.txt"] == 1.0
    assert by_name["wiki_vital"] == pytest.approx(3 * 0.17)
    assert by_name["sotu"] == pytest.approx(3 * 0.06 + 0.5)
    assert len(names) == len(set(names)) == 1 + sum(c.broad > 0 for c in CORPORA.values())


def test_broad_alone_may_get_weights_of_its_own() -> None:
    count = len(mixture(["broad"])[0])
    assert mixture(["broad"], [1.0] * count)[1] == (1.0,) * count
    with pytest.raises(DataError, match=rf"weights = \[1.0, 2.0\].*its {count} corpora"):
        mixture(["broad"], [1.0, 2.0])
    with pytest.raises(DataError, match="beside 'broad' give one to each of the 2 texts"):
        mixture(["broad", "sotu"])


def test_other_texts_are_left_as_they_are() -> None:
    assert mixture(["sotu", "own.txt"], [1.0, 2.0]) == (("sotu", "own.txt"), (1.0, 2.0))
    assert mixture(["sotu"]) == (("sotu",), ())


def test_broad_is_no_single_text() -> None:
    with pytest.raises(DataError, match="'broad' is a mixture of corpora, and one text is wanted"):
        find_corpus("broad")


@pytest.mark.network
@pytest.mark.parametrize("name", DEFAULT_TRAIN)
def test_real_splits_are_disjoint_and_of_their_size(name: str) -> None:
    parts = [list(documents(name, part)) for part in ("train", "validation", "test")]
    sizes = [sum(len(d.text.encode()) for d in part) for part in parts]
    assert sum(sizes) / 1e6 == pytest.approx(SIZES[name], abs=0.01)
    assert min(sizes) / sum(sizes) > LEAST_SHARE
    for kind in ("id", "group", "text"):
        values = [{getattr(d, kind) for d in part} for part in parts]
        assert sum(map(len, values)) == len(set.union(*values)), f"a {kind} is in two splits"
    assert all(split_of(d.group) == "validation" for d in parts[1])
    assert not any("<" in d.text and "</" in d.text for part in parts for d in part)


@pytest.mark.network
def test_real_wiki_leaves_out_what_wikitext_tests() -> None:
    groups = {d.group for d in documents("wiki_vital", "all")}
    assert len(groups) == 10_029
    assert "Paris" in groups
    assert not groups & WIKITEXT_TITLES


@pytest.mark.network
def test_real_novels_are_the_text_that_was_measured() -> None:
    novels = list(documents("austen", "test"))
    text = "\n".join(novel.text for novel in novels)
    assert "It is a truth universally acknowledged, that a single man in possession" in text
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "ab18926b764a0ec6"
