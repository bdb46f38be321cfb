"""The MLP half of a block: the teacher's own, gated or plain, or a channel mix of RWKV.

In come tokens behind their norm, out go tokens for the residual stream. A new one is one file and
one row here; none knows which mixer stands before it.
"""

from asnn_goose.model.mlps.channel_mix import ChannelMix, GatedChannelMix
from asnn_goose.model.mlps.gated import GatedMLP
from asnn_goose.model.mlps.mlp import MLP
from asnn_goose.model.mlps.plain import PlainMLP
from asnn_goose.model.mlps.spiking import SpikingMLP

MLPS: dict[str, type[MLP]] = {
    "gated": GatedMLP,
    "plain": PlainMLP,
    "channel_mix": ChannelMix,
    "spiking": SpikingMLP,
    "gated_channel_mix": GatedChannelMix,
}
