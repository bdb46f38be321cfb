"""Which texts `eval` scores: splits that no training saw, or files of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, DEFAULT_TRAIN, find_corpus
from asnn_goose.data.document import Split
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
) -> Text:
    """What `--on name` stands for.

    "in-domain" is the test split of the training texts, "validation" their validation split,
    "out-of-domain" texts of another kind. A corpus, and a file that was trained on, gives its
    test split; any other file is scored whole. Raises DataError for an unknown name.
    """
    trained = {_place(source) for source in trained_on}
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


def _place(source: str) -> str:
    """Two spellings of one file are one text."""
    return source if find_corpus(source) else str(Path(source).expanduser().resolve())


def _has_splits(source: str, trained: set[str]) -> bool:
    return find_corpus(source) is not None or _place(source) in trained


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
