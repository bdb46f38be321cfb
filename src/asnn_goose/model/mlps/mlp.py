"""What a block may know of its MLP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.described import Described
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.state import State
from asnn_goose.model.rows import Linear
from asnn_goose.trace import Window


class MLPOutput(NamedTuple):
    """What an MLP adds to the residual stream, and what it needs at the next token."""

    out_BTD: Tensor
    state: State


class MLP(Described, ABC):
    """Maps tokens (B,T,D) one by one; made for each block, as `MLP(config, layer=layer)`."""

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__()
        self.make_matrices(config, layer=layer)

    @abstractmethod
    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """(B,T,D) -> (B,T,D); the arguments are those of a mixer."""

    def start_matrices(self) -> None:
        """Orthogonal matrices but for a last one of zeros: a new block is the identity."""
        *inner, last = self.matrices().values()
        for matrix in inner:
            nn.init.orthogonal_(matrix.weight)
        # The stream passes a fresh block unchanged, so depth does not matter to the first steps.
        nn.init.zeros_(last.weight)

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Set everything else of it; biases are 0 already."""
        return

    def inherit(self, parts: Mapping[str, Linear]) -> None:
        """Take over the matrices of a teacher's MLP of the same kind, by our names."""
        for name, matrix in self.matrices().items():
            matrix.inherit(*parts[name])

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """Where channels may be balanced; `gains` are of the norm that the MLP reads."""
        # The last matrix reads inner channels, which no norm scales.
        *inner, _ = self.matrices().values()
        yield BalancePlace(gains, inner, [])
