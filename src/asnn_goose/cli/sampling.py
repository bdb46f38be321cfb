"""Drawing one token after another from a causal language model in PyTorch, with a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asnn_goose.cli.subject import Subject
from asnn_goose.data.shards import separator_id
from asnn_goose.infer.draw import draw
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import Vocabulary
from asnn_goose.model.goose.cache import CACHE_FIELD

PREFILL = 256
"""Prompt tokens per forward pass, so that a long prompt needs no more memory than a short one."""


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A loaded subject as a `writing.Source`."""

    subject: Subject

    @property
    def vocabulary(self) -> Vocabulary:
        """The subject's tokenizer, free of Transformers."""
        tokenizer = self.subject.tokenizer
        separator = separator_id(tokenizer)
        ends = frozenset({separator, tokenizer.eos_token_id} - {None})
        return Vocabulary(core=tokenizer.backend_tokenizer, separator=separator, ends=ends)

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`."""
        drawer = Drawer(sampling, seed=seed)
        return stream(self.subject.model, torch.tensor(ids), tokens=tokens, drawer=drawer)


def stream(model: Any, prompt_T: Tensor, *, tokens: int, drawer: Drawer) -> Iterator[int]:
    """Yield up to `tokens` token ids that continue the prompt (int64, at least one token).

    `model` is called as Transformers models are, with a cache. Beside the model's own
    cache nothing grows with the number of tokens.
    """
    return draw(Reader(model), prompt_T.tolist(), drawer=drawer, limit=tokens)


class Reader:
    """Reads tokens into a model's cache; logits (V,) of what comes next."""

    def __init__(self, model: Any) -> None:
        self._model, self._cache = model, None

    def __call__(self, ids: list[int]) -> NDArray[np.float32]:
        for part_t in torch.split(torch.tensor(ids), PREFILL):
            logits_V, self._cache = _step(self._model, part_t, self._cache)
        return logits_V.numpy()


@torch.no_grad()
def _step(model: Any, ids_t: Tensor, cache: Any) -> tuple[Tensor, Any]:
    options = {CACHE_FIELD: cache, "use_cache": True, "logits_to_keep": 1}
    output = model(input_ids=ids_t[None], **options)
    return output.logits[0, -1].float(), getattr(output, CACHE_FIELD)
