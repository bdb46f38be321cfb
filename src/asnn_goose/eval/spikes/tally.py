"""Counts of what every neuron of a student makes of some tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from asnn_goose.eval.spike_stats import site_of
from asnn_goose.model.neurons import Neuron
from asnn_goose.ops.spike_codes import digits

SAMPLED = 32
"""Channels of a place, evenly spread, of which every token's code is kept."""

See = Callable[[str, Tensor], None]
"""(name of a spiking place, its codes q (B,T,K)): told at every forward."""

_NEURON = re.compile(r"(.*?)(?:\.neuron|_neuron)$")


class PlaceTally:
    """One spiking place: a matrix's input, or a site.

    counts_KQ   how often channel k had code q (column q + levels)
    sampled     channels whose codes `codes_nM` holds, token after token (int8)
    """

    def __init__(self, name: str, neuron: Neuron) -> None:
        self.name, (self.layer, self.short) = name, site_of(name)
        self.steps, self.code, self.levels = neuron.steps, neuron.code, neuron.levels
        columns = neuron.columns
        self.counts_KQ = torch.zeros(columns, 2 * self.levels + 1, dtype=torch.int64)
        self.sampled = torch.arange(min(SAMPLED, columns)) * columns // min(SAMPLED, columns)
        self._codes: list[Tensor] = []
        self._moments_3K = torch.zeros(3, columns, dtype=torch.float64)
        self._pairs = 0

    def add(self, q_BTK: Tensor) -> None:
        """Count a batch of windows."""
        q_BTK = q_BTK.detach().to("cpu", torch.int64)
        columns, width = self.counts_KQ.shape
        where_nK = q_BTK.flatten(0, -2) + self.levels + width * torch.arange(columns)
        self.counts_KQ += torch.bincount(where_nK.flatten(), minlength=columns * width).view(
            columns, width
        )
        self._codes.append(q_BTK[..., self.sampled].flatten(0, -2).to(torch.int8))
        before, after = q_BTK[..., :-1, :].double(), q_BTK[..., 1:, :].double()
        each = (before * after, (before**2 + after**2) / 2, (before + after) / 2)
        self._moments_3K += torch.stack([part.flatten(0, -2).sum(0) for part in each])
        self._pairs += before[..., 0].numel()

    @property
    def codes_nM(self) -> Tensor:
        """Codes (int8) of the sampled channels, tokens in the order in which they came."""
        return torch.cat(self._codes)

    @property
    def tokens(self) -> int:
        """Tokens counted."""
        return int(self.counts_KQ[0].sum()) if len(self.counts_KQ) else 0

    def spikes_KS(self) -> Tensor:
        """Spikes of every channel in every step."""
        values_Q = torch.arange(-self.levels, self.levels + 1, dtype=torch.float32)
        fires_QS = digits(values_Q, steps=self.steps, code=self.code).ne(0)
        return self.counts_KQ @ fires_QS.long()

    def correlation(self) -> float:
        """Mean over channels of the correlation of a token's code with the next one's.

        Within windows only. Channels that never change have none.
        """
        if not self._pairs:
            return 0.0
        product_K, square_K, mean_K = self._moments_3K / self._pairs
        variance_K = square_K - mean_K**2
        changes_K = variance_K > 1e-9
        if not changes_K.any():
            return 0.0
        return float(((product_K - mean_K**2) / variance_K)[changes_K].mean())


def spiking_places(student: nn.Module) -> dict[str, Neuron]:
    """Every neuron of a student by the name under which the engine counts its spikes."""
    found = {}
    for name, module in student.named_modules():
        if isinstance(module, Neuron):
            match = _NEURON.match(name)
            assert match is not None
            found["lm_head" if match[1] == "head" else match[1]] = module
    return found


@contextmanager
def seeing(student: nn.Module, see: See) -> Iterator[None]:
    """Within the block `see` is told the codes of every neuron at every forward."""
    with ExitStack() as stack:
        for name, neuron in spiking_places(student).items():
            stack.enter_context(_watched(name, neuron, see))
        yield


@contextmanager
def _watched(name: str, neuron: Neuron, see: See) -> Iterator[None]:
    if neuron.stateful:
        with stand_in(neuron, lambda spikes_BTK: see(name, spikes_BTK.float().sign())):
            yield
        return
    handle = neuron.register_forward_pre_hook(
        lambda _, inputs: see(name, neuron.encode(inputs[0]).q_BK)
    )
    # Kernels that code in a neuron's place, or once for several, would not call it.
    cast(Any, neuron).coding = lambda *, rotate: None
    try:
        yield
    finally:
        handle.remove()
        del cast(Any, neuron).coding


@contextmanager
def stand_in(neuron: Neuron, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Within the block `see` is told the spikes of a stateful neuron.

    It is not called as a module, so that no hook would run: its method is stood in for.
    """
    own = neuron.forward_with_state

    def told(*args: Any) -> tuple[Tensor, Tensor]:
        spikes, state = own(*args)
        see(spikes)
        return spikes, state

    # As an attribute of the one module, which wins over the class's method until it is deleted.
    cast(Any, neuron).forward_with_state = told
    try:
        yield
    finally:
        del cast(Any, neuron).forward_with_state


def tallies_of(student: nn.Module) -> dict[str, PlaceTally]:
    """An empty tally for every spiking place."""
    return {name: PlaceTally(name, neuron) for name, neuron in spiking_places(student).items()}
