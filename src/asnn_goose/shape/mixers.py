"""The mixers that are described without torch; a mixer is a file and a row here."""

from asnn_goose.shape.half import Half
from asnn_goose.shape.rwkv7 import RWKV7

MIXERS: dict[str, Half] = {"rwkv7": RWKV7}
