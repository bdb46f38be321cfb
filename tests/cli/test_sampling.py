"""Drawing from a model in PyTorch needs no more than the model's own cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from asnn_goose.cli.sampling import PREFILL, stream
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.model.goose.cache import CACHE_FIELD


class Counter:
    """The next token is the number of tokens read so far, modulo 1000; records every call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, *, input_ids: Tensor, **options: Any) -> Any:
        read = options.pop(CACHE_FIELD)
        assert options == {"use_cache": True, "logits_to_keep": 1}
        assert not torch.is_grad_enabled()
        self.calls.append(input_ids.shape[1])
        seen = (read or 0) + input_ids.shape[1]
        logits = torch.zeros(1, 1, 1000).index_fill(2, torch.tensor(seen % 1000), 9.0)
        return SimpleNamespace(logits=logits, **{CACHE_FIELD: seen})


def test_stream_reads_long_prompts_in_parts_and_draws_no_step_too_many() -> None:
    model = Counter()
    prompt_T = torch.zeros(2 * PREFILL + 5, dtype=torch.int64)
    drawn = list(stream(model, prompt_T, tokens=3, drawer=Drawer(Sampling(greedy=True))))
    assert drawn == [517, 518, 519]
    assert model.calls == [PREFILL, PREFILL, 5, 1, 1]


def test_stream_is_lazy() -> None:
    model = Counter()
    next(stream(model, torch.zeros(4, dtype=torch.int64), tokens=9, drawer=Drawer(Sampling())))
    assert model.calls == [4]


def test_prompt_and_drawn_tokens_are_remembered_for_the_penalty() -> None:
    drawer = Drawer(Sampling(greedy=True, repetition_penalty=1.5))
    drawn = list(stream(Counter(), torch.tensor([7, 8]), tokens=3, drawer=drawer))
    assert drawer.seen == {7, 8, *drawn[:-1]}
