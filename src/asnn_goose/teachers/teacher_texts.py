"""Texts that a teacher writes: sequence-level distillation is cross-entropy on them.

Kim and Rush, Sequence-Level Knowledge Distillation (2016), arXiv 1606.07947, where the most likely
output for every source stands for the teacher's distribution over sequences. A language model has
no source, so texts are drawn from that distribution, after a prompt out of the training texts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import final

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, DEFAULT_TRAIN, find_corpus
from asnn_goose.data.mixture import evenly
from asnn_goose.data.records import Record
from asnn_goose.data.shards import document_ids
from asnn_goose.data.training_texts import held_texts
from asnn_goose.numbers import duration
from asnn_goose.teachers.author import Author, batch_seed
from asnn_goose.teachers.kept_logits import KeptLogits
from asnn_goose.teachers.prompt_kinds import PROMPTS, Kind, Prompts
from asnn_goose.teachers.text_filters import Filter, summary
from asnn_goose.teachers.text_recipe import texts_of
from asnn_goose.teachers.tuned_teacher import check_positions
from asnn_goose.train.sampling import padded


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What the texts of a teacher depend on.

    model          the teacher: a built-in name, a folder or a Hub id
    tokens         to reach, prompts and a separator after every text included
    window         longest text, in tokens
    batch          texts drawn at a time, which share a seed and a kind
    kinds          what they begin with, and how they are drawn
    seed           of prompts and drawing
    prompt_tokens  of a passage or an opening that begins a text
    most_repeated  a text is dropped where more of its runs of four tokens than this share stood in
                   it before
    texts          corpora whose training splits give the prompts, or files
    logits         window of the stage for which the teacher's words are cached meanwhile; 0: none
    top            of how many words

    Raises ValueError for settings that give no text, DataError for a text that there cannot be.
    """

    model: str
    tokens: int
    window: int = 256
    batch: int = 32
    kinds: tuple[Kind, ...] = (Kind(),)
    seed: int = 0
    prompt_tokens: int = 8
    most_repeated: float = 0.3
    texts: tuple[str, ...] = DEFAULT_TRAIN
    logits: int = 0
    top: int = 64

    def __post_init__(self) -> None:
        names = [kind.name for kind in self.kinds]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"kinds = {', '.join(names) or 'none'}: name each once")
        if not 0 < self.most_repeated <= 1:
            raise ValueError(f"most_repeated = {self.most_repeated}: must be above 0, at most 1")
        if self.window <= self.prompt_tokens:
            raise ValueError(
                f"window = {self.window}: must be above prompt_tokens = {self.prompt_tokens}, for"
                " the prompt is a part of it"
            )
        for name in self.texts:
            find_corpus(name)


@final
class Writer(Author):
    """Draws texts after prompts out of training texts; their size is in tokens.

    Raises what `Author` does.
    """

    def __init__(self, writing: Writing, *, tell: Callable[[str], None]) -> None:
        super().__init__(writing.model, batch=writing.batch, total=writing.tokens, tell=tell)
        self.writing = writing
        check_positions(self.teacher, max(writing.window, writing.logits))
        shards = texts_of(writing.texts, self.tokenizer, tell=tell)
        self._prompts = Prompts(
            shards,
            self.tokenizer,
            length=writing.prompt_tokens,
            longest=max(writing.prompt_tokens, writing.window // 2),
        )
        held = held_texts(DEFAULT_OUT_OF_DOMAIN, required=False, tell=tell)
        self._filter = Filter(most_repeated=writing.most_repeated, held=held)
        self.teacher.model.to(PartialState().device)
        self._logits: KeptLogits | None = None
        if writing.logits:
            words, top = self.tokenizer, writing.top
            self._logits = KeptLogits(
                self.teacher, words, window=writing.logits, top=top, tell=tell
            )

    def batches(self, *, start: int) -> Iterator[list[Record]]:
        """Endless batches of texts, from number `start` on."""
        for number in count(start):
            yield self.drawn(number, self.kind_of(number))

    def kind_of(self, number: int) -> Kind:
        """The kind of a batch: at any time every kind is a batch or two from its share."""
        kinds = self.writing.kinds
        total = sum(kind.share for kind in kinds)
        return kinds[evenly([kind.share / total for kind in kinds], number)]

    def prompts(self, number: int, kind: Kind) -> list[Tensor]:
        """The prompts (P,) of a batch, by its number alone."""
        random = np.random.default_rng([self.writing.seed, number])
        return [PROMPTS[kind.name](self._prompts, random) for _ in range(self.batch)]

    @torch.no_grad()
    def drawn(self, number: int, kind: Kind) -> list[Record]:
        """The texts of a batch; in place of those that are dropped, why."""
        ids_BP, mask_BP = padded(self.prompts(number, kind))
        tokens = self.writing.window - ids_BP.shape[1]
        model = self.draw_with(temperature=kind.temperature, top_p=kind.top_p, tokens=tokens)
        torch.manual_seed(batch_seed(self.writing.seed, number))
        device = model.device
        ids_BT = model.generate(ids_BP.to(device), attention_mask=mask_BP.to(device))
        return [
            self._record(ids_T[int((mask_P == 0).sum()) :], kind)
            for ids_T, mask_P in zip(ids_BT, mask_BP, strict=True)
        ]

    def _record(self, ids_T: Tensor, kind: Kind) -> Record:
        text = self.text(ids_T)
        # As training reads it: what was drawn may be cut otherwise, and longer where it ended.
        (ids,) = document_ids(self.tokenizer, [text])
        return self._filter.record(text, ids, kind=kind.name)

    def follow(self, records: Sequence[Record]) -> None:
        """Let the teacher read what training will read of them, where its words are kept."""
        if self._logits is not None:
            self._logits.add([record["text"] for record in records])

    def size(self, records: Sequence[Record]) -> int:
        """Tokens of texts as training reads them, each with a separator at its end."""
        kept = [record["text"] for record in records if record["text"].strip()]
        return sum(len(ids) + 1 for ids in document_ids(self.tokenizer, kept))

    def said_of(self, file: Path) -> Iterator[str]:
        """What was dropped of a whole file, and what reads the logits that were kept."""
        with file.open(encoding="utf-8") as lines:
            yield summary(map(json.loads, lines))
        if self.writing.logits:
            yield (
                f"cached for windows of {self.writing.logits}: in a recipe, data.windows = 'fixed' "
                f"and teacher.cache.top = {self.writing.top}"
            )

    def rehearse(self) -> Iterator[str]:
        """Draw one batch of every kind, and say what the whole would take."""
        drawn, seconds, records = 0, 0.0, list[Record]()
        for number, kind in enumerate(self.writing.kinds):
            begun = time.monotonic()
            batch = self.drawn(number, kind)
            seconds += time.monotonic() - begun
            drawn += self.size(batch)
            records += batch
            prompt = str(self.tokenizer.decode(self.prompts(number, kind)[0].tolist()))
            yield f"{kind.name}: after {prompt!r} such as {batch[0]['text'][len(prompt) :][:160]!r}"
        yield summary(records)
        rate = drawn / max(seconds, 1e-9)
        left = duration(self.total / rate) if rate else "no end"
        yield f"{rate:,.0f} tokens/s kept: {self.total:,} tokens in {left}"
