"""Tokenizers of every kind that models come with, made by hand."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCN.,!?:<>|_\n"
MERGES = ["▁ a", "t h", "▁ th", "h e", "▁th e", "i n", "o r", "▁ g", "o o", "▁g oo"]


def _words(names: list[str], *, first: int = 0) -> dict[str, int]:
    return {name: first + number for number, name in enumerate(dict.fromkeys(names))}


def byte_fallback() -> Tokenizer:
    """As Llama 2 and Mistral have it: characters without an entry become bytes."""
    joined = [merge.replace(" ", "") for merge in MERGES]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = _words(["<unk>", "<s>", "</s>", *pieces, *LETTERS, *joined])
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in MERGES)]
    core = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return core


def sentencepiece() -> Tokenizer:
    """A unigram model with the space in front of a text and after every special token."""
    pieces = ["<unk>", "<s>", "</s>", *LETTERS, "▁the", "▁goose", "日", "本", "語"]
    core = Tokenizer(
        models.Unigram([(piece, -float(2 + len(piece) % 3)) for piece in pieces], unk_id=0)
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    return core


def byte_level() -> Tokenizer:
    """As GPT-2 and Llama 3 have it: every byte is a letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab=_words(["<unk>", "<s>", "</s>", *letters]), merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return core


KINDS = {"byte_fallback": byte_fallback, "sentencepiece": sentencepiece, "byte_level": byte_level}


def make_kind(kind: str, *, bos: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind; with `bos` it puts <s> in front of every text."""
    core = KINDS[kind]()
    special = [AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")]
    core.add_special_tokens(special)
    if bos:
        core.post_processor = TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
