"""Token mixers, one file per paper. A new mixer is one file and one row here."""

from asnn_goose.model.mixers.rwkv7.mixer import RWKV7Mixer

MIXERS: dict[str, type[RWKV7Mixer]] = {"rwkv7": RWKV7Mixer}
