"""Token mixers, one folder or file per paper.

In come tokens behind their norm and what is carried: a state from the tokens before, a tensor from
the block before. Out go tokens for the residual stream, the new state, and signals for losses. A
new one is one folder or file and one row here; no mixer knows in which block or student it stands.
"""

from asnn_goose.model.mixers.mixer import Mixer
from asnn_goose.model.mixers.rwkv4 import RWKV4Mixer
from asnn_goose.model.mixers.rwkv6 import RWKV5Mixer, RWKV6Mixer
from asnn_goose.model.mixers.rwkv7.mixer import RWKV7Mixer
from asnn_goose.model.mixers.spiking_attention import SpikingAttention

MIXERS: dict[str, type[Mixer]] = {
    "rwkv7": RWKV7Mixer,
    "rwkv4": RWKV4Mixer,
    "rwkv5": RWKV5Mixer,
    "rwkv6": RWKV6Mixer,
    "spiking_attention": SpikingAttention,
}
"""rwkv7: "Goose", the generalised delta rule; rwkv4: a decaying average per channel; rwkv5
"Eagle": a matrix-valued state; rwkv6 "Finch": the same with decays that follow the data;
spiking_attention: SpikeBERT's, causal by fading counts."""
