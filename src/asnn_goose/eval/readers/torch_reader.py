"""A student or a teacher in PyTorch, read for measuring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asnn_goose.eval.perplexity import TraceFn
from asnn_goose.eval.readers.reader import F32, Likelihood, Pair, Read, ReadEach, judged
from asnn_goose.infer.text import Vocabulary
from asnn_goose.model.goose.cache import CACHE_FIELD
from asnn_goose.model.goose.causal_lm import GooseForCausalLM

NEEDS = frozenset({"vocab"})

CHUNK = 256
"""Tokens whose logits are there at once."""


class TorchReader:
    """A causal LM of Transformers, ours included.

    trace  its `trace`: what of the head counts, and how it is multiplied, is known there
    """

    def __init__(self, model: Any, trace: TraceFn, vocabulary: Vocabulary, *, name: str) -> None:
        self.name, self.vocabulary = name, vocabulary
        self._model, self._trace = model, trace
        self._recurrent = isinstance(model, GooseForCausalLM)
        self.reach = reach_of(model)

    def score(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """A continuation is read after as much of its context as the model reaches back."""
        texts = [[*context, *after][-1 - (self.reach or 1 << 62) :] for context, after in pairs]
        tokens_BT = padded([text[:-1] for text in texts])
        rows = [
            row * tokens_BT.shape[1] + place
            for row, (text, (_, after)) in enumerate(zip(texts, pairs, strict=True))
            for place in range(len(text) - 1 - len(after), len(text) - 1)
        ]
        labels = [token for _, after in pairs for token in after]
        of = self._rows(tokens_BT, torch.tensor(rows), labels)
        ends = np.cumsum([0, *(len(after) for _, after in pairs)])
        return [
            Likelihood(-float(of.nats_t[low:high].sum()), bool(of.likeliest_t[low:high].all()))
            for low, high in pairwise(ends)
        ]

    @torch.no_grad()
    def _rows(self, tokens_BT: Tensor, rows_n: Tensor, labels: Sequence[int]) -> Read:
        """Some rows of the flattened (B*T): the head is multiplied for no others."""
        left = self._trace(tokens_BT, NEEDS)
        assert left.final_BTD is not None
        picked = replace(left, final_BTD=left.final_BTD.flatten(0, 1)[rows_n][None])
        found = [
            judged(picked.vocab(slice(start, start + CHUNK)).numpy(), labels[start : start + CHUNK])
            for start in range(0, len(labels), CHUNK)
        ]
        nats, likeliest = zip(*found, strict=True)
        return Read(np.concatenate(nats), np.concatenate(likeliest))

    def read(self, ids: Sequence[int]) -> Iterator[Read]:
        """As the protocol says."""
        if self._recurrent and self.reach is None:
            yield from self._stream(ids)
            return
        reach = self.reach or len(ids)
        for start in range(0, len(ids) - 1, reach):
            part = ids[start : start + reach + 1]
            rows_n = torch.arange(len(part) - 1)
            yield self._rows(torch.tensor([part[:-1]]), rows_n, part[1:])

    @torch.no_grad()
    def _stream(self, ids: Sequence[int]) -> Iterator[Read]:
        cache = None
        for start in range(0, len(ids) - 1, CHUNK):
            part = ids[start : start + CHUNK + 1]
            options = {CACHE_FIELD: cache, "use_cache": True}
            output = self._model(input_ids=torch.tensor([part[:-1]]), **options)
            cache = getattr(output, CACHE_FIELD)
            yield judged(output.logits[0].float().numpy(), part[1:])

    def batch(self) -> ReadEach:
        """Sequences of several lengths are padded on the left."""
        return _Batch(self._model, numbered=not self._recurrent)


class _Batch:
    """A cache that goes on; `numbered` models are told the place of every token."""

    def __init__(self, model: Any, *, numbered: bool) -> None:
        self._model, self._numbered = model, numbered
        self._cache: Any = None
        self._mask_BT = torch.zeros(0)

    @torch.no_grad()
    def __call__(self, tokens: list[list[int]]) -> F32:
        tokens_BT = padded(tokens, left=True)
        new_BT = padded([[1] * len(row) for row in tokens], left=True)
        old_BT = self._mask_BT if len(self._mask_BT) else new_BT[:, :0]
        self._mask_BT = torch.cat((old_BT, new_BT), dim=1)
        options: dict[str, Any] = {CACHE_FIELD: self._cache}
        if self._numbered:
            places_BT = (self._mask_BT.cumsum(1) - 1).clamp(min=0)
            options["position_ids"] = places_BT[:, -tokens_BT.shape[1] :]
        output = self._model(
            input_ids=tokens_BT,
            attention_mask=self._mask_BT,
            use_cache=True,
            logits_to_keep=1,
            **options,
        )
        self._cache = getattr(output, CACHE_FIELD)
        logits_BV: F32 = output.logits[:, -1].float().numpy()
        return logits_BV


def reach_of(model: Any) -> int | None:
    """Tokens that a model can look back on: its learned positions, or a transformer's window."""
    if learned := getattr(model.config, "n_positions", 0):
        return int(learned)
    if isinstance(model, GooseForCausalLM):
        return None
    return int(model.config.max_position_embeddings)


def padded(rows: Sequence[Sequence[int]], *, left: bool = False) -> Tensor:
    """Rows of several lengths as one (B,T), filled up with 0."""
    longest = max(map(len, rows))
    made = torch.zeros(len(rows), longest, dtype=torch.int64)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        made[number, place] = torch.tensor(row)
    return made
