"""The oracle's MLPs, for one token."""

from __future__ import annotations

from asnn_goose.infer.reference.layers import ACTIVATIONS, Config, Tensors, relu, shifted
from asnn_goose.infer.reference.matrix import Coding, Matrix
from asnn_goose.infer.reference.spikes import F32
from asnn_goose.infer.reference.state import Arrays


def _matrices(
    name: str, parts: tuple[str, ...], tensors: Tensors, coding: Coding
) -> dict[str, Matrix]:
    return {part: Matrix(f"{name}.{part}", tensors, coding.get(f"{name}.{part}")) for part in parts}


class Gated:
    """down(act(gate x) * up x)."""

    def __init__(self, name: str, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.matrices = _matrices(name, ("gate", "up", "down"), tensors, coding)
        self.act = ACTIVATIONS[config["hidden_act"]]

    def __call__(self, x_D: F32, state: Arrays) -> F32:
        """fp32 (D,) -> fp32 (D,)."""
        gate, up, down = self.matrices.values()
        return down(self.act(gate(x_D)) * up(x_D))


class Plain:
    """down(act(up x))."""

    def __init__(self, name: str, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.matrices = _matrices(name, ("up", "down"), tensors, coding)
        self.act = ACTIVATIONS[config["hidden_act"]]

    def __call__(self, x_D: F32, state: Arrays) -> F32:
        """fp32 (D,) -> fp32 (D,)."""
        up, down = self.matrices.values()
        return down(self.act(up(x_D)))


class ChannelMix:
    """value(relu(key(shift x))^2)."""

    def __init__(self, name: str, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.matrices = _matrices(name, ("key", "value"), tensors, coding)
        self.mix_CD: F32 | None = tensors.get(f"{name}.shift.mix")

    def __call__(self, x_D: F32, state: Arrays) -> F32:
        """fp32 (D,) -> fp32 (D,); the state becomes x."""
        key, value = self.matrices.values()
        inner = relu(key(shifted(x_D, state.get("shift"), self.mix_CD, consumers=1)[0]))
        if self.mix_CD is not None:
            # In place, and after its last use: `state` is a view into the arrays of the whole.
            state["shift"][:] = x_D
        return value(inner * inner)
