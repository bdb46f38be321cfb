"""One block of a student: token mixer and MLP, each behind a norm and a residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from asnn_goose.model.mixers import MIXERS
from asnn_goose.model.mixers.rwkv7.mixer import MixerOutput
from asnn_goose.model.mlps import MLPS
from asnn_goose.model.mlps.channel_mix import ChannelMix
from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import BlockState


def make_norm(config: GooseConfig) -> nn.RMSNorm | nn.LayerNorm:
    """The norm that the configuration names, over the residual width."""
    kind = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(config.hidden_size, eps=config.norm_eps)


class BlockOutput(NamedTuple):
    """Residual stream after the block, what mixer and MLP saw and gave, and the new state."""

    x_BTD: Tensor
    mixer_in_BTD: Tensor
    mixer: MixerOutput
    mlp_out_BTD: Tensor
    state: BlockState


class GooseBlock(nn.Module):
    """x += mixer(norm(x)); x += mlp(norm(x))."""

    def __init__(self, config: GooseConfig, *, layer: int) -> None:
        super().__init__()
        self.mixer_norm = make_norm(config)
        self.mixer = MIXERS[config.mixer](config, layer=layer)
        self.mlp_norm = make_norm(config)
        self.mlp = MLPS[config.mlp](config, layer=layer)

    def forward(
        self,
        x_BTD: Tensor,
        v_first_BTD: Tensor | None = None,
        state: BlockState | None = None,
        mask_BT: Tensor | None = None,
        position_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> BlockOutput:
        """One block over (B,T,D); the arguments are those of the mixer."""
        mixer_in_BTD = self.mixer_norm(x_BTD)
        mixed = self.mixer(
            mixer_in_BTD,
            v_first_BTD,
            None if state is None else state.mixer,
            mask_BT,
            position_BT,
            documents_BT,
        )
        x_BTD = x_BTD + mixed.out_BTD
        mlp_in_BTD = self.mlp_norm(x_BTD)
        if mask_BT is not None:
            mlp_in_BTD = mlp_in_BTD * mask_BT.unsqueeze(-1)
        out_BTD, channel_BD = self.mlp(
            mlp_in_BTD, None if state is None else state.channel_shift_BD, documents_BT
        )
        return BlockOutput(
            x_BTD + out_BTD, mixer_in_BTD, mixed, out_BTD, BlockState(mixed.state, channel_BD)
        )

    def local(
        self,
        x_BTD: Tensor,
        mixer_out_BTD: Tensor,
        v_first_BTD: Tensor | None,
        position_BT: Tensor | None,
        documents_BT: Tensor | None = None,
    ) -> tuple[MixerOutput, Tensor]:
        """Mixer and MLP, each behind its own norm, on a residual stream from outside.

        x and mixer_out are what another model has before this block and what its mixer adds, so
        neither half of the block sees the errors of the other. Returns both outputs.
        """
        mixed: MixerOutput = self.mixer(
            self.mixer_norm(x_BTD), v_first_BTD, None, None, position_BT, documents_BT
        )
        out_BTD, _ = self.mlp(self.mlp_norm(x_BTD + mixer_out_BTD), None, documents_BT)
        return mixed, out_BTD

    def set_precision(self, of: Callable[[str], Precision]) -> None:
        """Give every matrix and site the precision that `of` has for its name."""
        mlp = "mlp_" if isinstance(self.mlp, ChannelMix) else ""
        for owner, prefix in ((self.mixer, ""), (self.mlp, mlp)):
            for name, module in owner.named_children():
                if isinstance(module, Projection):
                    module.change(of(prefix + name))
        self.mixer.set_sites(of)
