"""The oracle's block: a mixer and an MLP, each behind a norm and a residual, for one token."""

from __future__ import annotations

from asnn_goose.infer.reference.layers import Config, Norm, Tensors
from asnn_goose.infer.reference.matrix import Coding
from asnn_goose.infer.reference.mlps import ChannelMix, Gated
from asnn_goose.infer.reference.rwkv7 import RWKV7
from asnn_goose.infer.reference.spikes import F32, Neurons
from asnn_goose.infer.reference.state import ReferenceState

MIXERS = {"rwkv7": RWKV7}
MLPS: dict[str, type[Gated] | type[ChannelMix]] = {"gated": Gated, "channel_mix": ChannelMix}


class Block:
    """x += mixer(norm(x)); x += mlp(norm(x))."""

    def __init__(self, layer: int, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.layer, self.name = layer, f"blocks.{layer}"
        self.mixer_norm = Norm(f"{self.name}.mixer_norm", tensors, config)
        self.mixer = MIXERS[config["mixer"]](f"{self.name}.mixer", config, tensors, coding)
        self.mlp_norm = Norm(f"{self.name}.mlp_norm", tensors, config)
        self.mlp = MLPS[config["mlp"]](f"{self.name}.mlp", config, tensors, coding)

    def neurons(self) -> dict[str, Neurons]:
        """Neurons by the full name of the matrix that they feed, or of their site."""
        rooms = {"mixer": self.mixer.matrices, "mlp": self.mlp.matrices}
        found = {
            f"{self.name}.{room}.{part}": matrix.neurons
            for room, parts in rooms.items()
            for part, matrix in parts.items()
        }
        sites = {f"{self.name}.mixer.{part}": site for part, site in self.mixer.sites.items()}
        return found | sites

    def __call__(
        self, x_D: F32, v_first_C: F32 | None, state: ReferenceState
    ) -> tuple[F32, F32 | None]:
        """The residual stream (D,) one block on; this layer's part of the state moves on too."""
        mixed_D, v_first_C = self.mixer(
            self.mixer_norm(x_D), v_first_C, state.of(self.layer, "mixer"), state.position
        )
        x_D = x_D + mixed_D
        return x_D + self.mlp(self.mlp_norm(x_D), state.of(self.layer, "mlp")), v_first_C
