"""The mixers that are described without torch; a mixer is a file and a row here."""

from asnn_goose.shape.half import Half
from asnn_goose.shape.rwkv4 import RWKV4
from asnn_goose.shape.rwkv6 import RWKV5, RWKV6
from asnn_goose.shape.rwkv7 import RWKV7
from asnn_goose.shape.spiking_attention import SPIKING_ATTENTION

MIXERS: dict[str, Half] = {
    "rwkv7": RWKV7,
    "rwkv4": RWKV4,
    "rwkv5": RWKV5,
    "rwkv6": RWKV6,
    "spiking_attention": SPIKING_ATTENTION,
}
