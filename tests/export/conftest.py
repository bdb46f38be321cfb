from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from asnn_goose.model import GooseConfig, GooseForCausalLM

TABLE: dict[str, dict[str, Any]] = {
    "*": {"planes": 2, "steps": 3, "threshold": 4.0, "rotate": True},
    "value": {"planes": 1, "steps": 0, "rotate": False},
    "0.output": {"planes": 0},
    "1.key": {"group": 64, "code": "rate", "steps": 1, "threshold": 0.7},
    "1.receptance": {"planes": 0, "steps": 0, "rotate": False},
}


@pytest.fixture
def student() -> Callable[..., GooseForCausalLM]:
    """Make a small student whose every number differs, ternary and spiking by default."""

    def make(**changes: Any) -> GooseForCausalLM:
        torch.manual_seed(0)
        settings: dict[str, Any] = {
            "vocab_size": 97,
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "head_size": 64,
            "intermediate_size": 192,
            "precision": TABLE,
        }
        model = GooseForCausalLM(GooseConfig(**(settings | changes)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
        return model.eval()

    return make
