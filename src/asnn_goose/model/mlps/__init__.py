"""The MLP half of a block: the teacher's gated one or RWKV-7's channel mix."""

from asnn_goose.model.mlps.channel_mix import ChannelMix
from asnn_goose.model.mlps.gated import GatedMLP

MLPS: dict[str, type[GatedMLP] | type[ChannelMix]] = {"gated": GatedMLP, "channel_mix": ChannelMix}
