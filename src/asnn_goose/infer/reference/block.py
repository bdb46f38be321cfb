"""The oracle's block: a mixer and an MLP, each behind a norm and a residual, for one token."""

from __future__ import annotations

from asnn_goose.infer.reference.layers import Config, Norm, Tensors
from asnn_goose.infer.reference.matrix import Coding
from asnn_goose.infer.reference.mlps import ChannelMix, Gated, Plain
from asnn_goose.infer.reference.rwkv7 import RWKV7
from asnn_goose.infer.reference.spikes import F32, Neurons
from asnn_goose.infer.reference.state import ReferenceState

MIXERS = {"rwkv7": RWKV7}
MLPS: dict[str, type[Gated] | type[Plain] | type[ChannelMix]] = {
    "gated": Gated,
    "plain": Plain,
    "channel_mix": ChannelMix,
}


class Block:
    """x += mixer(norm(x)); x += mlp(norm(x)), norms as `norm_place` says.

    In a parallel block the MLP reads what the mixer reads.
    """

    def __init__(self, layer: int, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.layer, self.name = layer, f"blocks.{layer}"
        self.parallel = config["parallel"]
        self.mixer_norm, self.mixer_after, self.mlp_norm, self.mlp_after = (
            Norm(f"{self.name}.{half}_{place}", tensors, config) if wanted else _same
            for half in ("mixer", "mlp")
            for place, wanted in (
                ("norm", config["norm_place"] != "after"),
                ("after", config["norm_place"] != "before"),
            )
        )
        self.mixer = MIXERS[config["mixer"]](f"{self.name}.mixer", config, tensors, coding)
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
        mixed_D = x_D + self.mixer_after(mixed_D)
        read_D = self.mlp_norm(x_D if self.parallel else mixed_D)
        return mixed_D + self.mlp_after(self.mlp(read_D, state.of(self.layer, "mlp"))), v_first_C


def _same(x_D: F32) -> F32:
    return x_D
