"""One block of a student: token mixer and MLP, each behind a norm and a residual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.mixers import MIXERS
from asnn_goose.model.mixers.mixer import Mixer, MixerOutput
from asnn_goose.model.mlps import MLPS
from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.norm import norms_around
from asnn_goose.model.parts.precision_table import BLOCK_SITES, PrecisionTable
from asnn_goose.model.parts.state import BlockState, State
from asnn_goose.model.ternary import TernaryMethod
from asnn_goose.trace import Window


class BlockOutput(NamedTuple):
    """Residual stream after the block, what mixer and MLP saw and gave, and the new state."""

    x_BTD: Tensor
    mixer_in_BTD: Tensor
    mixer: MixerOutput
    mlp_out_BTD: Tensor
    state: BlockState


CAPTURE: dict[str, Callable[[BlockOutput], Tensor]] = {
    "hidden": lambda output: output.x_BTD,
    "mixer_in": lambda output: output.mixer_in_BTD,
    "mixer_out": lambda output: output.mixer.out_BTD,
    "mlp_out": lambda output: output.mlp_out_BTD,
}
"""What of a block a Trace keeps, by the names of trace.PLACES."""


class GooseBlock(nn.Module):
    """x += mixer(norm(x)); x += mlp(norm(x)); what is added may be spikes, and x drops out.

    Norms may also, or only, stand after mixer and MLP (`norm_place`). In a `parallel` block the MLP
    reads the residual stream that the mixer reads.
    """

    mixer: Mixer
    mlp: MLP

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__()
        place, self.parallel = config.norm_place, config.parallel
        norms = partial(norms_around, config.norm, config.hidden_size, eps=config.norm_eps)
        self.mixer_norm, self.mixer_after = norms(place=place)
        self.mixer = MIXERS[config.mixer](config, layer=layer)
        self.mlp_norm, self.mlp_after = norms(place=place)
        self.mlp = MLPS[config.mlp](config, layer=layer)
        self.dropout, self.width = config.dropout, config.hidden_size
        table, width = PrecisionTable(config.precision), config.hidden_size
        self.site_precision = {name: table.of(name, layer=layer, site=True) for name in BLOCK_SITES}
        self.mixer_out_neuron = self.site_precision["mixer_out"].spikes(width)
        self.mlp_out_neuron = self.site_precision["mlp_out"].spikes(width)

    def forward(
        self, x_BTD: Tensor, carry: Tensor | None, state: BlockState | None, window: Window
    ) -> BlockOutput:
        """One block over (B,T,D); the arguments are those of a mixer."""
        membranes = Membranes(window, None if state is None else state.neurons)
        mixer_in_BTD = self.mixer_norm(x_BTD)
        mixed = self._mix(
            mixer_in_BTD, carry, None if state is None else state.mixer, window, membranes
        )
        mixed_BTD = x_BTD + self.mixer_after(mixed.out_BTD)
        mlp_in_BTD = self.mlp_norm(x_BTD if self.parallel else mixed_BTD)
        # Padding is not zero behind a norm, and a channel mix would shift it into the first real
        # token.
        if window.mask_BT is not None:
            mlp_in_BTD = mlp_in_BTD * window.mask_BT.unsqueeze(-1)
        mlp = self._feed(mlp_in_BTD, None if state is None else state.mlp, window, membranes)
        new = BlockState(mixed.state, mlp.state, membranes.after)
        x_BTD = F.dropout(mixed_BTD + self.mlp_after(mlp.out_BTD), self.dropout, self.training)
        return BlockOutput(x_BTD, mixer_in_BTD, mixed, mlp.out_BTD, new)

    def _mix(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """The mixer, and its output's neurons."""
        mixed: MixerOutput = self.mixer(x_BTD, carry, state, window, membranes)
        out_BTD = membranes.spikes("mixer_out", self.mixer_out_neuron, mixed.out_BTD)
        return mixed._replace(out_BTD=out_BTD)

    def _feed(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """The MLP, and its output's neurons."""
        mlp: MLPOutput = self.mlp(x_BTD, state, window, membranes)
        out_BTD = membranes.spikes("mlp_out", self.mlp_out_neuron, mlp.out_BTD)
        return mlp._replace(out_BTD=out_BTD)

    def mixed(self, mixer_in_BTD: Tensor, carry: Tensor | None, window: Window) -> MixerOutput:
        """The mixer alone, behind its norm already, from an empty state."""
        return self._mix(mixer_in_BTD, carry, None, window, Membranes(window))

    def local(
        self, x_BTD: Tensor, mixer_out_BTD: Tensor, carry: Tensor | None, window: Window
    ) -> tuple[MixerOutput, Tensor]:
        """Mixer and MLP, each behind its own norm, on a residual stream from outside.

        x and mixer_out are what another model has before this block and what its mixer gives, so
        neither half of the block sees the errors of the other. Returns both outputs.
        """
        mixed = self.mixed(self.mixer_norm(x_BTD), carry, window)
        if not self.parallel:
            x_BTD = x_BTD + self.mixer_after(mixer_out_BTD)
        mlp_in_BTD = self.mlp_norm(x_BTD)
        return mixed, self._feed(mlp_in_BTD, None, window, Membranes(window)).out_BTD

    def balance_places(self) -> Iterator[BalancePlace]:
        """Where channels may be balanced."""
        for half, norm in ((self.mixer, self.mixer_norm), (self.mlp, self.mlp_norm)):
            gains = list[Tensor](norm.parameters())
            # What no norm stands before has no gains into which a channel's size could fold.
            yield from (place for place in half.balance_places(gains) if place.gains)

    def set_precision(self, precision: PrecisionTable, *, layer: int) -> None:
        """Give every matrix and site the precision that the table has for its name."""
        for part in (self.mixer, self.mlp):
            for name, matrix in part.matrices().items():
                matrix.change(precision.of(name, layer=layer))
        of = partial(precision.of, layer=layer, site=True)
        self.mixer.set_sites(of)
        for name, old in self.site_precision.items():
            if (new := of(name)) != old:
                setattr(self, f"{name}_neuron", new.spikes(self.width))
            self.site_precision[name] = new
        # A neuron that is new follows the mode of the whole, and is where the whole is.
        self.train(self.training).to(next(self.parameters()).device)


def tell_share(part: nn.Module, share: float) -> None:
    """Tell every ternary method and neuron of a part how much of its training is done."""
    for module in part.modules():
        if isinstance(module, TernaryMethod | Neuron):
            module.anneal(share)
