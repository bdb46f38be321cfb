"""Drawing one token after another from a causal language model with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PREFILL = 256
"""Prompt tokens per forward pass, so that a long prompt needs no more memory than a short one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    temperature  divides the logits; below 1 sharper
    top_k        keep only this many most likely tokens; 0 keeps all
    top_p        keep the fewest most likely tokens that hold this much probability together
    greedy       take the most likely token, whatever the rest says
    Raises ValueError for values that mean nothing.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(
                f"--temperature {self.temperature:g}: must be above 0; --greedy takes the most"
                " likely token"
            )
        if self.top_k < 0:
            raise ValueError(f"--top-k {self.top_k}: must be 1 or more, or 0 for all tokens")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"--top-p {self.top_p:g}: must be above 0 and at most 1")


def stream(
    model: Any,
    prompt_T: Tensor,
    *,
    tokens: int,
    sampling: Sampling,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Yield up to `tokens` token ids that continue the prompt (int64, at least one token).

    `model` is called as Transformers models are, with `past_key_values`. Beside the model's own
    cache nothing grows with the number of tokens.
    """
    cache = None
    *parts, next_t = torch.split(prompt_T, PREFILL)
    for part_t in parts:
        _, cache = _step(model, part_t, cache)
    for _ in range(tokens):
        logits_V, cache = _step(model, next_t, cache)
        next_t = choose(logits_V, sampling, generator=generator)[None]
        yield int(next_t)


@torch.no_grad()
def _step(model: Any, ids_t: Tensor, cache: Any) -> tuple[Tensor, Any]:
    output = model(input_ids=ids_t[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[0, -1].float(), output.past_key_values


def choose(
    logits_V: Tensor, sampling: Sampling, *, generator: torch.Generator | None = None
) -> Tensor:
    """One token id (0-dimensional) drawn from logits (V,)."""
    if sampling.greedy:
        return logits_V.argmax()
    p_V, ids_V = (logits_V / sampling.temperature).softmax(-1).sort(descending=True)
    if sampling.top_k:
        p_V, ids_V = p_V[: sampling.top_k], ids_V[: sampling.top_k]
        p_V = p_V / p_V.sum()
    # A token stays if those before it hold less than top_p: the first always does.
    kept_V = p_V.cumsum(-1) - p_V < sampling.top_p
    return ids_V[torch.multinomial(p_V * kept_V, 1, generator=generator)[0]]
