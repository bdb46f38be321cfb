"""Texts that a teacher writes: sequence-level distillation is cross-entropy on them.

Kim and Rush, Sequence-Level Knowledge Distillation (2016), arXiv 1606.07947, where the most likely
output for every source stands for the teacher's distribution over sequences. A language model has
no source, so texts are drawn from that distribution, after a few tokens of a training text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from asnn_goose.data.corpora import DEFAULT_TRAIN, find_corpus
from asnn_goose.data.document import DataError
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.shards import Shard, document_ids, separator_id
from asnn_goose.model import Teacher, TeacherError, load_teacher
from asnn_goose.teachers.text_file import TextFile
from asnn_goose.teachers.text_recipe import texts_of
from asnn_goose.teachers.tuned_teacher import check_positions

NO_CHARACTER = "\ufffd"
"""What a decoder gives for bytes that are no character, such as half of one at a cut."""


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
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature = {self.temperature}: must be above 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if self.window <= self.prompt_tokens:
            raise ValueError(
                f"window = {self.window}: must be above prompt_tokens = {self.prompt_tokens}, for"
                " the prompt is a part of it"
            )
        for name in self.texts:
            find_corpus(name)


class Writer:
    """Draws texts from a teacher, a batch at a time; a batch depends on its number alone.

    Raises TeacherError, or what data and sources raise.
    """

    def __init__(self, writing: Writing, *, tell: Callable[[str], None]) -> None:
        self.writing = writing
        tell(f"loading the teacher {writing.model}")
        teacher = load_teacher(writing.model)
        if teacher.tokenizer is None:
            raise TeacherError(f"teacher {writing.model!r} has no tokenizer: add its files")
        check_positions(teacher, writing.window)
        self.tokenizer: PreTrainedTokenizerBase = teacher.tokenizer
        self.shards = texts_of(writing.texts, teacher.tokenizer, tell=tell)
        self.ends = ends_of(teacher, separator_id(teacher.tokenizer))
        self._model: Any = teacher.model.to(PartialState().device)
        # The model's own one would add settings of its publisher to ours.
        self._model.generation_config = self._generation(teacher)

    def batches(self, *, start: int) -> Iterator[list[str]]:
        """Endless batches of texts, from number `start` on."""
        writing = self.writing
        prompts = prompts_of(self.shards, length=writing.prompt_tokens, seed=writing.seed)
        # Prompts are counted off, not stored: a resumed file gets those that it would have got.
        prompts = islice(prompts, start * writing.batch, None)
        number = start
        while True:
            prompts_BP = torch.stack(list(islice(prompts, writing.batch)))
            yield self._drawn(prompts_BP, seed=batch_seed(writing.seed, number))
            number += 1

    def count(self, texts: Sequence[str]) -> int:
        """Tokens of texts as training reads them, each with a separator at its end."""
        kept = [text for text in texts if text.strip()]
        if not kept:
            return 0
        return sum(len(ids) + 1 for ids in document_ids(self.tokenizer, kept))

    def _drawn(self, prompts_BP: Tensor, *, seed: int) -> list[str]:
        # By batch: any batch can be drawn again without those before it.
        torch.manual_seed(seed)
        prompts_BP = prompts_BP.to(self._model.device)
        ids_BT = self._model.generate(prompts_BP, attention_mask=torch.ones_like(prompts_BP))
        return [self._text(ids_T.tolist()) for ids_T in ids_BT]

    def _text(self, ids: list[int]) -> str:
        """Text up to the token that ends it."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        text = self.tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        # A cut may fall within a character, whose half is nothing to learn.
        return str(text).strip(NO_CHARACTER)

    def _generation(self, teacher: Teacher) -> GenerationConfig:
        writing, rows = self.writing, teacher.model.get_output_embeddings().weight.shape[0]
        return GenerationConfig(
            do_sample=True,
            temperature=writing.temperature,
            top_p=writing.top_p,
            # Switched off in so many words: Transformers would cut at fifty.
            top_k=0,
            max_new_tokens=writing.window - writing.prompt_tokens,
            eos_token_id=sorted(self.ends),
            pad_token_id=separator_id(self.tokenizer),
            # Padded rows of the head have logits too, and no word.
            suppress_tokens=list(range(teacher.words, rows)) or None,
        )


def write_texts(writer: Writer, file: TextFile, *, advance: Callable[[int], None]) -> int:
    """Fill the file up to the tokens that were asked for; returns how many it has.

    `advance` is told the tokens that are written, at first and after every batch. The last batch
    is kept whole. Raises TextFileError where the file cannot be written.
    """
    batch = writer.writing.batch
    with file.growing(batch=batch) as kept:
        tokens = writer.count([record["text"] for record in kept])
        advance(tokens)
        drawn = writer.batches(start=len(kept) // batch)
        while tokens < writer.writing.tokens:
            texts = next(drawn)
            file.append([{"text": text} for text in texts])
            tokens += writer.count(texts)
            advance(tokens)
    return tokens


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


def ends_of(teacher: Teacher, separator: int) -> frozenset[int]:
    """Tokens after which a text of the teacher is over: the separator, and its own ends."""
    own = getattr(teacher.model.generation_config, "eos_token_id", None)
    more = own if isinstance(own, list) else [own]
    eos = None if teacher.tokenizer is None else teacher.tokenizer.eos_token_id
    return frozenset(end for end in (separator, eos, *more) if end is not None)


def batch_seed(seed: int, number: int) -> int:
    """A seed for each batch, so that any of them can be drawn alone."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
