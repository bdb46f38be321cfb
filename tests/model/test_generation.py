"""The ways of `generate` that a recurrence can go, and those that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from asnn_goose.model import GooseForCausalLM


@pytest.mark.parametrize("neuron", ["mean", "lif"])
def test_beams_with_states_are_beams_that_read_all_again(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor, neuron: str
) -> None:
    model = fresh(precision={"*": {"planes": 1, "steps": 1, "neuron": neuron}})
    settings: dict[str, Any] = {"max_new_tokens": 7, "num_beams": 4, "num_return_sequences": 3}
    settings |= {"pad_token_id": 0, "do_sample": False, "eos_token_id": 5}
    settings["attention_mask"] = torch.ones_like(tokens_BT)
    kept = model.generate(tokens_BT, **settings)
    assert torch.equal(kept, model.generate(tokens_BT, use_cache=False, **settings))
    assert len({tuple(row) for row in kept[:3].tolist()}) == 3


def test_what_takes_tokens_back_is_refused_by_name(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    model = fresh()
    one = tokens_BT[:1]
    with pytest.raises(ValueError, match=r"penalty_alpha = 0\.6: contrastive search"):
        model.generate(one, penalty_alpha=0.6, top_k=4, trust_remote_code=True)
    with pytest.raises(ValueError, match="contrastive search"):
        model.generate(one, GenerationConfig(penalty_alpha=0.6, top_k=4))
    with pytest.raises(ValueError, match="assisted generation is not supported with stateful"):
        model.generate(one, assistant_model=model, max_new_tokens=3, pad_token_id=0)
