from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from asnn_goose.model import GooseConfig, GooseForCausalLM, Teacher

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_size": 16,
    "intermediate_size": 96,
}


@pytest.fixture(scope="session")
def llama() -> Callable[..., Teacher]:
    """Make a random teacher with grouped key-value heads, of the small student's shape."""
    shape = {name: value for name, value in SHAPE.items() if name != "head_size"}

    def make(**changes: Any) -> Teacher:
        settings = shape | {"num_key_value_heads": 2, "head_dim": 16} | changes
        torch.manual_seed(0)
        return Teacher(LlamaForCausalLM(LlamaConfig(**settings)), None, name="tiny")

    return make


@torch.no_grad()
def awake(model: GooseForCausalLM) -> GooseForCausalLM:
    """Move every parameter, so that no part is hidden by a neutral start."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def fresh() -> Callable[..., GooseForCausalLM]:
    """Make a small student whose every part speaks."""

    def make(**changes: Any) -> GooseForCausalLM:
        torch.manual_seed(0)
        return awake(GooseForCausalLM(GooseConfig(**(SHAPE | changes))))

    return make


@pytest.fixture
def teacher(llama: Callable[..., Teacher]) -> Teacher:
    return llama()


@pytest.fixture
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 97, (2, 41), generator=torch.Generator().manual_seed(2))
