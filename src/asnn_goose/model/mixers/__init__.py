"""Token mixers, one folder per paper.

In come tokens behind their norm and what is carried: a state from the tokens before, a tensor from
the block before. Out go tokens for the residual stream, the new state, and signals for losses. A
new one is one folder or file and one row here; no mixer knows in which block or student it stands.
"""

from asnn_goose.model.mixers.mixer import Mixer
from asnn_goose.model.mixers.rwkv7.mixer import RWKV7Mixer

MIXERS: dict[str, type[Mixer]] = {"rwkv7": RWKV7Mixer}
"""rwkv7: RWKV-7 "Goose", the generalised delta rule."""
