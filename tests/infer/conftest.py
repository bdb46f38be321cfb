"""Small students whose every part speaks, packed without loss: fp32, and fp16 rows of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.model import GooseConfig, GooseForCausalLM

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_size": 16,
    "intermediate_size": 128,
}
LOSSLESS = PackSettings(dense="f32", low_rank="f32", head="f16")


@pytest.fixture(scope="session")
def student() -> Callable[..., GooseForCausalLM]:
    """Make a small student and move every parameter away from its neutral start."""

    def make(**changes: Any) -> GooseForCausalLM:
        torch.manual_seed(0)
        model = GooseForCausalLM(GooseConfig(**(SHAPE | changes)))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            for rows in (model.embedding.weight, model.lm_head.weight):
                rows.copy_(rows.half())
        return model.eval()

    return make


@pytest.fixture(scope="session")
def packed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[GooseForCausalLM], PackedModel]:
    """Pack a student without loss, and open it."""

    def pack(model: GooseForCausalLM) -> PackedModel:
        folder = tmp_path_factory.mktemp("student") / "packed"
        export_packed(model, folder, settings=LOSSLESS)
        return read_packed(folder)

    return pack


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 97, 23)
