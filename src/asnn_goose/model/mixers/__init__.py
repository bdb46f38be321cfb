"""Token mixers, one file per paper. A new mixer is one file and one row here."""

from torch import nn

from asnn_goose.model.mixers.rwkv7 import RWKV7Mixer

MIXERS: dict[str, type[nn.Module]] = {"rwkv7": RWKV7Mixer}
