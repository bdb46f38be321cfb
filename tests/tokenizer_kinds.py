"""Tokenizers of every kind that models come with, made by hand."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCN0123456789.,!?:;'<>|_\n"
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


def unigram_bytes() -> Tokenizer:
    """A unigram model whose unknown characters become bytes, with the decoder of Llama 2."""
    core = byte_fallback()
    letters = [(piece, -3.0) for piece in sorted(core.get_vocab(), key=core.token_to_id)]
    core.model = models.Unigram([*letters, ("▁the", -2.0), ("oo", -2.5)], 0, byte_fallback=True)
    return core


def word_piece() -> Tokenizer:
    """As BERT has it: words in lower case, their later pieces marked, no white space."""
    letters = [letter for letter in LETTERS if letter.isalpha()]
    pieces = [*LETTERS, *(f"##{letter}" for letter in letters), "goose", "##oo"]
    core = Tokenizer(models.WordPiece(_words(["<unk>", "<s>", "</s>", *pieces]), unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(cleanup=True)
    return core


def word_level() -> Tokenizer:
    """Whole words, and nothing of others."""
    words = ["the", "goose", "a", "is", "here", ".", ",", ":", "User", "A"]
    core = Tokenizer(models.WordLevel(_words(["<unk>", "<s>", "</s>", *words]), unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return core


KINDS = {
    make.__name__: make
    for make in (byte_fallback, sentencepiece, byte_level, unigram_bytes, word_piece, word_level)
}


def make_kind(kind: str, *, bos: bool = True, eos: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind; it puts <s> in front of every text, and </s> behind it with `eos`."""
    core = KINDS[kind]()
    special = [AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")]
    core.add_special_tokens(special)
    around = f"{'<s> ' * bos}$A{' </s>' * eos}"
    if bos or eos:
        core.post_processor = TemplateProcessing(
            single=around, pair=f"{around} $B", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
