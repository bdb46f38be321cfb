"""Texts that a teacher writes: sequence-level distillation is cross-entropy on them.

Kim and Rush, Sequence-Level Knowledge Distillation (2016), arXiv 1606.07947, where the most likely
output for every source stands for the teacher's distribution over sequences. A language model has
no source, so texts are drawn from that distribution, after a few tokens of a training text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import final

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from asnn_goose.data.corpora import DEFAULT_TRAIN, find_corpus
from asnn_goose.data.document import DataError
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.records import Record
from asnn_goose.data.shards import Shard, document_ids
from asnn_goose.losses.kinds import check_temperature
from asnn_goose.teachers.author import Author, batch_seed
from asnn_goose.teachers.text_recipe import texts_of
from asnn_goose.teachers.tuned_teacher import check_positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What the texts of a teacher depend on.

    model          the teacher: a built-in name, a folder or a Hub id
    tokens         to reach, prompts and a separator after every text included
    window         longest text, in tokens
    batch          texts drawn at a time, which share a seed
    temperature    1 is the teacher's own distribution
    top_p          draw from the fewest tokens that hold this much probability
    seed           of prompts and drawing
    prompt_tokens  that begin every text, from any place in the training texts
    texts          corpora whose training splits give the prompts, or files

    Raises ValueError for settings that give no text, DataError for a text that there cannot be.
    """

    model: str
    tokens: int
    window: int = 256
    batch: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    prompt_tokens: int = 8
    texts: tuple[str, ...] = DEFAULT_TRAIN

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if self.window <= self.prompt_tokens:
            raise ValueError(
                f"window = {self.window}: must be above prompt_tokens = {self.prompt_tokens}, for"
                " the prompt is a part of it"
            )
        for name in self.texts:
            find_corpus(name)


@final
class Writer(Author):
    """Draws texts after a few tokens of a training text; their size is in tokens.

    Raises what `Author` does.
    """

    def __init__(self, writing: Writing, *, tell: Callable[[str], None]) -> None:
        super().__init__(writing.model, batch=writing.batch, total=writing.tokens, tell=tell)
        self.writing = writing
        check_positions(self.teacher, writing.window)
        self.shards = texts_of(writing.texts, self.tokenizer, tell=tell)
        self._model = self.draw_with(
            temperature=writing.temperature,
            top_p=writing.top_p,
            tokens=writing.window - writing.prompt_tokens,
        ).to(PartialState().device)

    def batches(self, *, start: int) -> Iterator[list[Record]]:
        """Endless batches of texts, from number `start` on."""
        writing = self.writing
        prompts = prompts_of(self.shards, length=writing.prompt_tokens, seed=writing.seed)
        # Prompts are counted off, not stored: a resumed file gets those that it would have got.
        prompts = islice(prompts, start * writing.batch, None)
        for number in count(start):
            prompts_BP = torch.stack(list(islice(prompts, writing.batch))).to(self._model.device)
            torch.manual_seed(batch_seed(writing.seed, number))
            ids_BT = self._model.generate(prompts_BP, attention_mask=torch.ones_like(prompts_BP))
            yield [{"text": self.text(ids_T)} for ids_T in ids_BT]

    def size(self, records: Sequence[Record]) -> int:
        """Tokens of texts as training reads them, each with a separator at its end."""
        kept = [record["text"] for record in records if record["text"].strip()]
        return sum(len(ids) + 1 for ids in document_ids(self.tokenizer, kept))


def prompts_of(shards: Sequence[Shard], *, length: int, seed: int) -> Iterator[Tensor]:
    """Endless prompts (P,), none across the end of a document; a seed fixes their order.

    Raises DataError where no document is sure to hold one.
    """
    needed = 2 * length  # cuts come every `length` tokens, and a separator at the end
    longest = max(int(np.diff([*s.starts, len(s.tokens_N)]).max()) for s in shards)
    if longest < needed:
        raise DataError(
            f"prompt_tokens = {length}: needs a document of {needed} tokens, the longest has "
            f"{longest}; give fewer, or other texts"
        )
    separators = {shard.meta.separator for shard in shards}
    loader = WindowLoader(shards, window=length, batch=1, seed=seed)
    return (p for p in _windows(loader) if separators.isdisjoint(p.tolist()))


def _windows(loader: WindowLoader) -> Iterator[Tensor]:
    while True:
        yield loader.next().tokens_BT[0]
