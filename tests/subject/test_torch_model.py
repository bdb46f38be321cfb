"""Drawing from a model in PyTorch needs no more than the model's own cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from asnn_goose.infer.draw import draw
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.model.goose.cache import CACHE_FIELD
from asnn_goose.subject.torch_model import PREFILL, CacheReader


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


def test_long_prompts_are_read_in_parts_and_no_step_too_many_is_drawn() -> None:
    model, drawer = Counter(), Drawer(Sampling(greedy=True))
    drawn = list(draw(CacheReader(model), [0] * (2 * PREFILL + 5), drawer=drawer, limit=3))
    assert drawn == [517, 518, 519]
    assert model.calls == [PREFILL, PREFILL, 5, 1, 1]
