"""Which texts `eval` scores: splits that no training saw, or files of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, DEFAULT_TRAIN, find_corpus
from asnn_goose.data.document import Split
from asnn_goose.data.own_text import content_hash
from asnn_goose.data.shards import shard
from asnn_goose.data.windows import eval_windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from asnn_goose.eval.comparison import Protocol
    from asnn_goose.eval.perplexity import Window

IN_DOMAIN, VALIDATION, OUT_OF_DOMAIN = "in-domain", "validation", "out-of-domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A name for the table, and the parts it is made of: (corpus or file, split)."""

    name: str
    parts: tuple[tuple[str, Split], ...]

    def describe(self) -> str:
        """One line: what exactly is scored."""
        return f"{self.name}: " + ", ".join(
            f"all of {source}" if split == "all" else f"{split} split of {source}"
            for source, split in self.parts
        )


def text_named(
    name: str,
    *,
    trained_on: Iterable[str] = DEFAULT_TRAIN,
    out_of_domain: Iterable[str] = DEFAULT_OUT_OF_DOMAIN,
    hashes: Iterable[str] = (),
) -> Text:
    """What `--on name` stands for.

    "in-domain" is the test split of the training texts, "validation" their validation split,
    "out-of-domain" texts of another kind. A corpus, and a file that was trained on, gives its
    test split; any other file is scored whole. A file is known by its content, wherever it lies:
    `hashes` holds SHA-256 of more files that were trained on. Raises DataError for an unknown name.
    """
    trained = {*hashes, *filter(None, map(_content, trained_on))}
    groups: dict[str, tuple[Iterable[str], Split]] = {
        IN_DOMAIN: (trained_on, "test"),
        VALIDATION: (trained_on, "validation"),
        OUT_OF_DOMAIN: (out_of_domain, "test"),
    }
    sources, split = groups.get(name, ((name,), "test"))
    return Text(
        name=name,
        parts=tuple(
            (source, split if _has_splits(source, trained) else "all") for source in sources
        ),
    )


def _content(source: str) -> str | None:
    """SHA-256 of a file; None for a corpus, and for a file that is not there."""
    file = Path(source).expanduser()
    return content_hash(file) if find_corpus(source) is None and file.is_file() else None


def _has_splits(source: str, trained: set[str]) -> bool:
    return find_corpus(source) is not None or _content(source) in trained


def windows_of(
    text: Text,
    tokenizer: PreTrainedTokenizerBase,
    *,
    protocol: Protocol,
    tell: Callable[[str], None] | None = None,
) -> list[Window]:
    """Windows over all parts of a text, tokenised on first use, one part after the other."""
    shards = []
    for source, split in text.parts:
        if tell:
            tell(f"reading {source}")
        shards.append(shard(source, split, tokenizer).tokens_N)
    ids_N = np.concatenate(shards)
    return list(eval_windows(ids_N, window=protocol.window, limit_tokens=protocol.limit))
