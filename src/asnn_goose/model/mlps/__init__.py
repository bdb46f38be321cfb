"""The MLP half of a block: the teacher's own, gated or plain, or RWKV-7's channel mix."""

from asnn_goose.model.mlps.channel_mix import ChannelMix
from asnn_goose.model.mlps.gated import GatedMLP
from asnn_goose.model.mlps.plain import PlainMLP

MLPS: dict[str, type[GatedMLP] | type[PlainMLP] | type[ChannelMix]] = {
    "gated": GatedMLP,
    "plain": PlainMLP,
    "channel_mix": ChannelMix,
}
