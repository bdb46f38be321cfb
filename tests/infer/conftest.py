"""Small students whose every part speaks, packed without loss: fp32, and fp16 rows of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.ops.spike_codes import encode_at, levels

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
            looked_up = [model.embedding.weight, model.lm_head.weight]
            if model.positions is not None:
                looked_up.append(model.positions.weight)
            for rows in looked_up:
                rows.copy_(rows.half())
        return model.eval()

    return make


class FixedAmplitude(torch.nn.Module):
    """A neuron with the same amplitude for every token; fires above half of it in one step."""

    training_only: ClassVar[str] = ""
    stateful: ClassVar[bool] = False

    def __init__(self, *, steps: int, code: str, amplitude: float) -> None:
        super().__init__()
        self.steps, self.code, self.amplitude = steps, code, amplitude

    def coding(self, *, rotate: bool) -> None:
        """None: no compiled kernel knows it."""

    def packed(self) -> dict[str, float]:
        fires = {"fires": self.amplitude / 2} if self.steps == 1 else {}
        return {"amplitude": self.amplitude} | fires

    def forward(self, h_BK: torch.Tensor) -> torch.Tensor:
        top = levels(self.code, self.steps)
        return encode_at(h_BK, torch.tensor(self.amplitude), top=top).values()


@pytest.fixture(scope="session")
def with_amplitudes() -> Callable[[GooseForCausalLM], GooseForCausalLM]:
    """Give every spiking place of a student a fixed amplitude, each another one."""

    def change(model: GooseForCausalLM) -> GooseForCausalLM:
        sizes = iter(0.05 + 0.013 * number for number in range(100))
        for module in list(model.modules()):
            for name in ("neuron", "k_neuron", "v_neuron"):
                if (old := getattr(module, name, None)) is not None:
                    new = FixedAmplitude(steps=old.steps, code=old.code, amplitude=next(sizes))
                    setattr(module, name, new)
        return model

    return change


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


@pytest.fixture
def model(
    student: Callable[..., GooseForCausalLM], packed: Callable[..., PackedModel]
) -> Callable[..., PackedModel]:
    return lambda **changes: packed(student(num_hidden_layers=2, **changes))
