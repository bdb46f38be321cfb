"""What block, cache and causal LM may know of a token mixer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.trace import Window


class MixerOutput(NamedTuple):
    """Result of one mixer.

    out_BTD  what it adds to the residual stream
    carry    what it gives to the mixer of the next block; only mixers know what it is
    state    what it needs at the next token; only the mixer itself knows what it is
    signals  the tensors that it names in `Mixer.signals`
    """

    out_BTD: Tensor
    carry: Tensor | None
    state: State
    signals: Mapping[str, Tensor]


class Mixer(nn.Module, ABC):
    """Mixes tokens of (B,T,D), causally and with a state of constant size.

    One is made for each block, as `Mixer(config, layer=layer)`.

    signals  names of what it computes on its way and gives to losses, such as "queries"
    sites    signals of it that may spike with no matrix behind them, as `precision` names them
    """

    signals: ClassVar[frozenset[str]] = frozenset()
    sites: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Mix tokens of x (B,T,D).

        carry      what the mixer of the block before gave; None in the first
        state      what `MixerOutput.state` of the tokens before held; None at a start
        window     how the tokens lie, with positions
        membranes  to be handed to every matrix and neuron
        """

    @classmethod
    @abstractmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """Columns of every matrix, by the names that `precision` uses; the order is that below."""

    @abstractmethod
    def matrices(self) -> dict[str, Projection]:
        """Its matrices by those names; the last one writes to the residual stream."""

    @abstractmethod
    def start_matrices(self) -> None:
        """Set the matrices of a student that learns from scratch."""

    @staticmethod
    def start_embedding(weight_VD: Tensor) -> None:
        """Set the embedding of such a student; as RWKV-5 to 7 do, unless a mixer says otherwise."""
        nn.init.uniform_(weight_VD, -1e-4, 1e-4)

    @abstractmethod
    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Set everything else of it; biases are 0 and norms 1 already."""

    @abstractmethod
    def inherit(self, attention: Attention) -> None:
        """Take over what a teacher's attention has, and let the rest start without effect.

        Every matrix is set here; the vectors have been started.
        """

    @abstractmethod
    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """Where channels may be balanced; `gains` are of the norm that the mixer reads."""

    def set_sites(self, of: Callable[[str], Precision]) -> None:
        """Give each of `sites` the precision that `of` has for its name."""
        if self.sites:
            raise NotImplementedError(f"{type(self).__name__} must set {', '.join(self.sites)}")
