"""What a pass of the student keeps of its blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from asnn_goose.model.goose.block import CAPTURE, BlockOutput

STREAM = frozenset({"hidden", "mixer_out"})
"""What another model's trace must hold to drive the blocks."""


class Kept:
    """Tensors of every block by name: of CAPTURE, and `signals` of the mixers."""

    def __init__(self, needs: frozenset[str], *, signals: frozenset[str], embedded: Tensor) -> None:
        self._places: dict[str, list[Tensor]] = {name: [] for name in needs & CAPTURE.keys()}
        self._signals: dict[str, list[Tensor]] = {name: [] for name in needs & signals}
        if "hidden" in self._places:
            self._places["hidden"].append(embedded)

    def add(self, output: BlockOutput) -> None:
        """Keep what is wanted of one more block."""
        for name, tensors in self._places.items():
            tensors.append(CAPTURE[name](output))
        for name, tensors in self._signals.items():
            tensors.append(output.mixer.signals[name])

    def fields(self) -> dict[str, Any]:
        """Fields of a Trace."""
        found: dict[str, Any] = {name: tuple(tensors) for name, tensors in self._places.items()}
        return found | {"signals": {name: tuple(x) for name, x in self._signals.items()}}
