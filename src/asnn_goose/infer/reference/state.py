"""What a sequence carries through the oracle from token to token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from asnn_goose.infer.reference.spikes import F32
from asnn_goose.shape.half import Settings
from asnn_goose.shape.student import state

Arrays = Mapping[str, F32]

MOST_POSITION = 1 << 53
"""Tokens that a state may have seen, as in the engine."""


class ReferenceState:
    """The arrays that the student's description asks for, those of all blocks as one.

    arrays    by half and name, such as "mixer.memory"; the first axis is the block
    position  tokens read so far
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        layers = settings["num_hidden_layers"]
        self.arrays: dict[str, F32] = {
            part.name: np.zeros((layers, *part.shape), np.float32) for part in state(settings)
        }
        self.position = 0

    def of(self, layer: int, half: str) -> Arrays:
        """The arrays of one half of a block, by their own names, to be read and changed."""
        start = f"{half}."
        return {
            name.removeprefix(start): array[layer]
            for name, array in self.arrays.items()
            if name.startswith(start)
        }

    @property
    def nbytes(self) -> int:
        """Length of `to_bytes`."""
        return 8 + sum(array.nbytes for array in self.arrays.values())

    def copy(self) -> ReferenceState:
        """An independent state with the same contents."""
        twin = ReferenceState(self._settings)
        twin.load_bytes(self.to_bytes())
        return twin

    def assign(self, other: ReferenceState) -> None:
        """Take over the contents of a state of the same model."""
        self.position = other.position
        for name, array in self.arrays.items():
            array[:] = other.arrays[name]

    def round_memory(self) -> None:
        """The matrices to the nearest bf16, halves away from zero."""
        bits = self.arrays["mixer.memory"].view(np.uint32)
        bits += 0x8000
        bits &= 0xFFFF0000

    def to_bytes(self) -> bytes:
        """Position (int64, little endian), then the arrays in fp32."""
        arrays = b"".join(array.tobytes() for array in self.arrays.values())
        return self.position.to_bytes(8, "little") + arrays

    def load_bytes(self, data: bytes) -> None:
        """Take over what `to_bytes` gave. Raises ValueError for another length or no position."""
        if len(data) != self.nbytes:
            raise ValueError(f"a state of {len(data)} bytes: this model's has {self.nbytes}")
        position = int.from_bytes(data[:8], "little", signed=True)
        if not 0 <= position <= MOST_POSITION:
            raise ValueError(f"a state at position {position}: must be 0 to 2^53")
        self.position = position
        values, start = np.frombuffer(data, np.float32, offset=8), 0
        for array in self.arrays.values():
            array[:] = values[start : start + array.size].reshape(array.shape)
            start += array.size
