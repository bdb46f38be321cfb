"""Drawing one token after another from a causal language model in PyTorch, with a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asnn_goose.cli.subject import Subject
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import Vocabulary, vocabulary_of
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
        tokenizer, model = self.subject.tokenizer, self.subject.model
        tables = (model.config, model.generation_config)
        return vocabulary_of(
            tokenizer.backend_tokenizer,
            named={"eos_token": tokenizer.eos_token, "bos_token": tokenizer.bos_token},
            settings=[table.to_dict() for table in tables if table is not None],
            where=self.subject.name,
        )

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
    cache = None
    drawer.see(prompt_T.tolist())
    *parts, next_t = torch.split(prompt_T, PREFILL)
    for part_t in parts:
        _, cache = _step(model, part_t, cache)
    for _ in range(tokens):
        logits_V, cache = _step(model, next_t, cache)
        token = drawer.draw(logits_V.numpy())
        yield token
        drawer.see([token])
        next_t = torch.tensor([token])


@torch.no_grad()
def _step(model: Any, ids_t: Tensor, cache: Any) -> tuple[Tensor, Any]:
    options = {CACHE_FIELD: cache, "use_cache": True, "logits_to_keep": 1}
    output = model(input_ids=ids_t[None], **options)
    return output.logits[0, -1].float(), getattr(output, CACHE_FIELD)
