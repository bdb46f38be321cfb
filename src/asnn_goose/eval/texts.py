"""Which texts `eval` scores: splits that no training saw, or files of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, DEFAULT_TRAIN, find_corpus, mixture
from asnn_goose.data.document import DataError, Split
from asnn_goose.data.own_text import content_hash
from asnn_goose.data.shards import shard
from asnn_goose.data.windows import eval_windows
from asnn_goose.eval.detokenise import detokenised_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from asnn_goose.eval.comparison import Protocol
    from asnn_goose.eval.perplexity import LabelledWindow

IN_DOMAIN, VALIDATION, OUT_OF_DOMAIN = "in-domain", "validation", "out-of-domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A name for the table, and what it is made of.

    parts   (corpus or file, split)
    shares  of the parts in a mixture, which are scored one by one; without them the parts are one
            text, one after the other
    words   words of the original for each word of it; 1 where it is the original
    """

    name: str
    parts: tuple[tuple[str, Split], ...]
    shares: tuple[float, ...] = ()
    words: float = 1.0

    def describe(self) -> str:
        """One line: what exactly is scored."""
        said = [
            f"all of {source}" if split == "all" else f"{split} split of {source}"
            for source, split in self.parts
        ]
        if self.shares:
            said = [f"{share:.3g} {part}" for part, share in zip(said, self.shares, strict=True)]
        return f"{self.name}: " + ", ".join(said)

    def names(self) -> tuple[str, ...]:
        """Names of what is scored by itself: the parts of a mixture, or the whole."""
        if not self.shares:
            return (self.name,)
        return tuple(f"{self.name}/{source}" for source, _ in self.parts)


def text_named(
    name: str,
    *,
    trained_on: Sequence[str] = DEFAULT_TRAIN,
    weights: Sequence[float] = (),
    out_of_domain: Sequence[str] = DEFAULT_OUT_OF_DOMAIN,
    hashes: Iterable[str] = (),
) -> Text:
    """What `--on name` stands for.

    "in-domain" is the test split of the training texts, "validation" their validation split, both
    weighted as they were in training; "out-of-domain" texts of another kind; "broad" the test
    splits of that mixture. A corpus, and a file that was trained on, gives its test split; any
    other file is scored whole. A file is known by its content, wherever it lies: `hashes` holds
    SHA-256 of more files that were trained on. Raises DataError for an unknown name.
    """
    trained = {*hashes, *filter(None, map(_content, trained_on))}
    groups: dict[str, tuple[Sequence[str], Sequence[float], Split]] = {
        IN_DOMAIN: (trained_on, weights, "test"),
        VALIDATION: (trained_on, weights, "validation"),
        OUT_OF_DOMAIN: (out_of_domain, (), "test"),
    }
    sources, weights, split = groups.get(name, (*mixture([name]), "test"))
    return Text(
        name=name,
        shares=tuple(weight / sum(weights) for weight in weights),
        parts=tuple(
            (source, split if _has_splits(source, trained) else "all") for source in sources
        ),
    )


def detokenised_text(name: str) -> Text:
    """A file of WikiText, put together again as people write.

    Raises DataError for a name that is no text file.
    """
    file = Path(name).expanduser()
    if not (file.is_file() and file.suffix == ".txt"):
        raise DataError(f"{name}: only a .txt file of WikiText can be detokenised")
    found = detokenised_file(file)
    return Text(name=f"{name}, detokenised", parts=((str(found.file), "all"),), words=found.words)


def tokens_of(text: Text, tokenizer: PreTrainedTokenizerBase) -> NDArray[Any]:
    """Its parts, one after the other; the shares of a mixture have no say."""
    shards = [shard(source, split, tokenizer).tokens_N for source, split in text.parts]
    return np.concatenate(shards)


def _content(source: str) -> str | None:
    """SHA-256 of a file; None for a corpus, and for a file that is not there."""
    file = Path(source).expanduser()
    return content_hash(file) if find_corpus(source) is None and file.is_file() else None


def _has_splits(source: str, trained: set[str]) -> bool:
    # A file that nobody trained on has no split that must be kept from it.
    return find_corpus(source) is not None or _content(source) in trained


def windows_of(
    text: Text, tokenizer: PreTrainedTokenizerBase, *, protocol: Protocol
) -> dict[str, list[LabelledWindow]]:
    """Windows of everything in a text that is scored by itself, tokenised on first use.

    Of a mixture every part gets its share of the limit, and one window at least.
    """
    if not text.shares:
        shards, limits = [tokens_of(text, tokenizer)], [protocol.limit]
    else:
        shards = [shard(source, split, tokenizer).tokens_N for source, split in text.parts]
        limits = [_limit(protocol, share) for share in text.shares]
    return {
        name: list(eval_windows(ids_N, window=protocol.window, limit_tokens=limit))
        for name, ids_N, limit in zip(text.names(), shards, limits, strict=True)
    }


def _limit(protocol: Protocol, share: float) -> int | None:
    if protocol.limit is None:
        return None
    # A window at least: of a share of one percent hardly anything would be scored.
    return max(min(protocol.window, protocol.limit), round(share * protocol.limit))
