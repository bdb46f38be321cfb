"""Streams of two tokenizers over one text: every byte is kept, and boundaries are shared ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from asnn_goose.model import TeacherError
from asnn_goose.model.vocabularies.aligned import SILENT, Aligned, Aligner
from asnn_goose.model.vocabularies.byte_vocabulary import ByteVocabulary

Kinds = Callable[..., PreTrainedTokenizerFast]

TEXTS = [
    "A goose, and the goose in the north.",
    "naïve cœur — 日本語 🪿 goose",
    "  two spaces\n\nand lines\ttoo ",
    "Ünïcödé e\u0301 (decomposed)",
]


@pytest.fixture(scope="module")
def merged() -> PreTrainedTokenizerFast:
    """Byte-level with words of several bytes, and another end of text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("g", "o"), ("o", "s"), ("go", "os"), ("goos", "e"), ("Ġ", "t"), ("h", "e")]
    words = [*letters, *("".join(pair) for pair in merges), "<end>"]
    core = Tokenizer(models.BPE(vocab={w: n for n, w in enumerate(words)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken("<end>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")


@pytest.fixture(scope="module")
def vocabularies(of_kind: Kinds, merged: PreTrainedTokenizerFast) -> dict[str, ByteVocabulary]:
    kinds = {k: of_kind(k, bos=False) for k in ("byte_level", "byte_fallback", "sentencepiece")}
    return {k: ByteVocabulary(t, name=k) for k, t in (kinds | {"merged": merged}).items()}


EXACT = ("byte_level", "byte_fallback", "merged")


def check(aligned: Aligned, ours: ByteVocabulary, ids: list[int], theirs: ByteVocabulary) -> None:
    """Places have read the same bytes; spans are the same bytes in both, without a gap inside."""
    ends = [len(ours.bytes_of(ids[: n + 1])) for n in range(len(ids))]
    their_ends = [len(theirs.bytes_of(aligned.ids[: n + 1])) for n in range(len(aligned.ids))]
    text, their_text = ours.bytes_of(ids), theirs.bytes_of(aligned.ids)
    extra, our_extra = len(their_text), len(text)
    extra, our_extra = extra - min(extra, our_extra), our_extra - min(extra, our_extra)
    for place, other in enumerate(aligned.places):
        if other != SILENT:
            assert ends[place] - our_extra == their_ends[other] - extra
    for span in range(aligned.count):
        mine = [n + 1 for n, s in enumerate(aligned.spans) if s == span]
        other = [n + 1 for n, s in enumerate(aligned.their_spans) if s == span]
        assert mine
        assert other
        assert mine == list(range(mine[0], mine[-1] + 1))
        assert ours.bytes_of([ids[n] for n in mine]) == theirs.bytes_of(
            [aligned.ids[n] for n in other]
        )


@pytest.mark.parametrize(("left", "right"), list(product(EXACT, EXACT)))
@pytest.mark.parametrize("text", TEXTS)
def test_bytes_are_conserved(
    left: str, right: str, text: str, vocabularies: dict[str, ByteVocabulary]
) -> None:
    ours, theirs = vocabularies[left], vocabularies[right]
    ids = ours.read(text).ids
    aligned = Aligner(ours, theirs).align(ids)
    assert theirs.bytes_of(aligned.ids).strip(b" ") == text.encode().strip(b" ")
    check(aligned, ours, ids, theirs)
    assert aligned.count > 3
    assert SILENT not in aligned.spans[aligned.spans.index(0) : -1]  # no byte is left out


@pytest.mark.parametrize("kind", [*EXACT, "sentencepiece"])
def test_the_same_tokenizer_is_aligned_token_by_token(
    kind: str, vocabularies: dict[str, ByteVocabulary]
) -> None:
    words = vocabularies[kind]
    ids = words.read("the goose in the north").ids
    aligned = Aligner(words, words).align(ids)
    assert aligned.ids == ids
    assert aligned.places == list(range(len(ids)))
    assert aligned.spans[:-1] == aligned.their_spans[:-1] == list(range(len(ids) - 1))


def test_spans_end_where_both_have_a_token(vocabularies: dict[str, ByteVocabulary]) -> None:
    letters, words = vocabularies["byte_level"], vocabularies["merged"]
    ids = letters.read("a goose.").ids
    aligned = Aligner(letters, words).align(ids)
    assert [words.piece(n) for n in aligned.ids] == [b"a", b" ", b"goose", b"."]
    assert aligned.places == [0, 1, SILENT, SILENT, SILENT, SILENT, 2, 3]
    assert aligned.spans == [0, 1, 1, 1, 1, 1, 2, SILENT]
    assert aligned.their_spans == [0, 1, 2, SILENT]


def test_ends_of_texts_are_one_thing_in_both(vocabularies: dict[str, ByteVocabulary]) -> None:
    letters, words = vocabularies["byte_level"], vocabularies["merged"]
    end, other = letters.tokenizer.eos_token_id, words.tokenizer.eos_token_id
    ids = [*letters.read("a goose").ids, end, *letters.read("the").ids]
    aligned = Aligner(letters, words).align(ids)
    assert aligned.ids.count(other) == 1
    place = aligned.ids.index(other)
    assert aligned.places[7] == place
    assert aligned.spans[6] == aligned.their_spans[place - 1] != SILENT
    unknown = [*letters.read("a").ids, letters.tokenizer.convert_tokens_to_ids("<unk>")]
    alone = Aligner(letters, words).align([*unknown, *letters.read("b").ids])
    assert alone.places == [0, SILENT, 2]
    assert alone.spans == [SILENT] * 3


def test_documents_are_kept_apart(vocabularies: dict[str, ByteVocabulary]) -> None:
    letters, words = vocabularies["byte_level"], vocabularies["merged"]
    ids = letters.read("go goose").ids
    aligned = Aligner(letters, words).align(ids, [0, 0, 0, 0, 0, 1, 1, 1])
    assert [words.piece(n) for n in aligned.ids] == [b"go", b" ", b"go", b"os", b"e"]
    assert aligned.documents == [0, 0, 0, 1, 1]


def test_a_cut_character_is_left_out_at_both_ends(vocabularies: dict[str, ByteVocabulary]) -> None:
    letters, words = vocabularies["byte_level"], vocabularies["merged"]
    ids = letters.read("日 goose 日").ids[1:-1]
    aligned = Aligner(letters, words).align(ids)
    assert words.bytes_of(aligned.ids) == b" goose "
    assert aligned.places[:3] == [SILENT, SILENT, 0]
    assert aligned.places[-2:] == [SILENT, SILENT]
    assert aligned.places[-3] == len(aligned.ids) - 1


def test_what_a_tokenizer_changes_is_not_compared(merged: PreTrainedTokenizerFast) -> None:
    core = Tokenizer.from_str(merged.backend_tokenizer.to_str())
    core.normalizer = normalizers.NFC()
    composed = ByteVocabulary(
        PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>"), name="composed"
    )
    letters = ByteVocabulary(merged, name="merged")
    end = merged.eos_token_id
    ids = [*letters.read("e\u0301 goose").ids, end, *letters.read("the goose").ids]
    aligned = Aligner(letters, composed).align(ids)
    first = ids.index(end)
    assert set(aligned.places[:first]) == {SILENT}
    assert aligned.places[first] != SILENT
    assert all(place != SILENT for place in aligned.places[first + 1 :])


def test_what_follows_a_change_in_its_document_is_not_compared(
    vocabularies: dict[str, ByteVocabulary], merged: PreTrainedTokenizerFast
) -> None:
    core = Tokenizer.from_str(merged.backend_tokenizer.to_str())
    core.normalizer = normalizers.NFC()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    letters, composed = vocabularies["byte_level"], ByteVocabulary(tokenizer, name="composed")
    unknown = letters.tokenizer.convert_tokens_to_ids("<unk>")  # begins no document
    ids = [*letters.read("e\u0301").ids, unknown, *letters.read("goose").ids]
    assert set(Aligner(letters, composed).align(ids).places) == {SILENT}
    assert set(Aligner(letters, composed).align(ids[-6:]).places) != {SILENT}


def test_a_tokenizer_that_changes_plain_text_is_refused(merged: PreTrainedTokenizerFast) -> None:
    core = Tokenizer.from_str(merged.backend_tokenizer.to_str())
    core.normalizer = normalizers.Lowercase()
    small = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    with pytest.raises(TeacherError, match=r"teacher 'small': its tokenizer makes b'a goose.*keep"):
        ByteVocabulary(small, name="small")


def test_lengths_agree_with_the_ends(vocabularies: dict[str, ByteVocabulary]) -> None:
    for words in vocabularies.values():
        read = words.read("the goose")
        assert read.ends is not None
        assert read.ends[-1] == 9
        assert all(a <= b for a, b in pairwise(read.ends))
