"""Leaky integrate-and-fire neurons along tokens: a loop, and the compiled kernel (csrc/lif).

m_t = V_{t-1} + (h_t - V_{t-1}) / tau, s_t = 1[m_t > theta], V_t = m_t (1 - s_t): SpikeGPT, arXiv
2302.13939. Importing this module registers the operators `asnn_goose::lif` and
`asnn_goose::lif_backward`; running them needs the extension module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from asnn_goose.ops.documents import PADDING, START
from asnn_goose.ops.kernel_calls import addresses, like, obstacle_to_kernel, takes_kernel
from asnn_goose.ops.surrogate import Surrogate, alpha_of, binary_spikes, ternary_spikes

Form = Literal["auto", "loop", "native"]
Run = tuple[Tensor, Tensor, Tensor]
"""Spikes (B,T,K), membranes before their reset (B,T,K), membranes after the last token (B,K)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What all neurons of a layer share.

    tau        time constant in tokens
    threshold  theta
    signed     s = 1[m > theta] - 1[m < -theta], reset by m (1 - |s|)
    detach     no gradient goes through the s of the reset
    """

    tau: float
    threshold: float
    signed: bool
    detach: bool = False


def lif(
    h_BTK: Tensor,
    state_BK: Tensor,
    cell: Cell,
    surrogate: Surrogate,
    *,
    decay: Tensor | None = None,
    marks_BT: Tensor | None = None,
    form: Form = "auto",
) -> Run:
    """Run currents h (B,T,K) through the neurons; all in the dtype of h.

    state_BK   membranes after the token before
    decay      d, one number that is learned: 1/tau = sigmoid(d) in the place of the cell's
    surrogate  ds/dm as a function of m - theta
    marks_BT   `ops.documents.token_marks`: padding neither charges nor fires, a start is at rest
    form       "auto" takes the kernel where it can be used: CPU, fp32

    Gradients reach h, state and decay, through the reset too. Raises ValueError for a form that
    cannot take these inputs.
    """
    obstacle = obstacle_to_kernel(h_BTK.device, h_BTK.dtype)
    if not takes_kernel(form, obstacle, plain="loop"):
        return _loop(h_BTK, state_BK, cell, surrogate, decay, marks_BT)
    args = (h_BTK, state_BK, cell, surrogate, decay, marks_BT)
    return cast(Run, _Lif.apply(*args))  # type: ignore[no-untyped-call]


def tau_of(decay: Tensor) -> Tensor:
    """Tau = 1 / sigmoid(d), above 1."""
    return decay.sigmoid().reciprocal()


def _loop(
    h_BTK: Tensor,
    state_BK: Tensor,
    cell: Cell,
    surrogate: Surrogate,
    decay: Tensor | None,
    marks_BT: Tensor | None,
) -> Run:
    """The formula itself, one token after the other: the oracle of the kernel."""
    tau: Tensor | float = cell.tau if decay is None else tau_of(decay)
    fire = ternary_spikes if cell.signed else binary_spikes
    v_BK, spikes, membranes = state_BK, list[Tensor](), list[Tensor]()
    for t, h_BK in enumerate(h_BTK.unbind(1)):
        mark_B1 = None if marks_BT is None else marks_BT[:, t, None]
        if mark_B1 is not None:
            v_BK = v_BK.masked_fill(mark_B1 == START, 0)
        before_BK = v_BK
        v_BK = v_BK + (h_BK - v_BK) / tau
        membranes.append(v_BK.detach())
        spikes.append(fire(v_BK, cell.threshold, surrogate))
        size_BK = spikes[-1] * v_BK.detach().sign() if cell.signed else spikes[-1]
        v_BK = v_BK * (1 - (size_BK.detach() if cell.detach else size_BK))
        if mark_B1 is not None:
            v_BK = before_BK.where(mark_B1 == PADDING, v_BK)
            spikes[-1] = spikes[-1].masked_fill(mark_B1 == PADDING, 0)
    return torch.stack(spikes, 1), torch.stack(membranes, 1), v_BK


class _Lif(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h_BTK: Tensor,
        state_BK: Tensor,
        cell: Cell,
        surrogate: Surrogate,
        decay: Tensor | None,
        marks_BT: Tensor | None,
    ) -> Run:
        if decay is not None:
            cell = replace(cell, tau=float(tau_of(decay)))
        marks = torch.empty(0, dtype=torch.uint8) if marks_BT is None else marks_BT
        settings = (cell.tau, cell.threshold, cell.signed)
        spikes, membranes, last = _forward(h_BTK, state_BK, marks, *settings)
        # Currents are kept for the decay's gradient alone.
        ctx.save_for_backward(membranes, marks, None if decay is None else h_BTK)
        ctx.cell, ctx.surrogate = cell, surrogate
        ctx.mark_non_differentiable(membranes)
        return spikes, membranes, last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        membranes, marks, h_BTK = ctx.saved_tensors
        dspikes, _, dlast = gradients
        cell: Cell = ctx.cell
        alpha = alpha_of(ctx.surrogate) or 0.0
        slope = membranes.new_empty(0)  # an ATan is computed on the way
        if not alpha:
            slope = ctx.surrogate(membranes - cell.threshold)
            if cell.signed:
                slope = slope + ctx.surrogate(membranes + cell.threshold)
        settings = (cell.tau, cell.threshold, cell.signed, cell.detach, alpha)
        dh, dstate = _backward(membranes, slope, dspikes, dlast, marks, *settings)
        # dm/dd = (h - V) sigmoid(d) (1 - sigmoid(d)), of which dh holds the one factor and h - m
        # is the rest.
        ddecay = None if h_BTK is None else (dh * (h_BTK - membranes)).sum()
        return dh, dstate, None, None, ddecay, None


_CELL = "float tau, float threshold, bool signed"


@torch.library.custom_op(
    "asnn_goose::lif",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor h, Tensor state, Tensor marks, {_CELL}) -> (Tensor, Tensor, Tensor)",
)
def _forward(
    h: Tensor, state: Tensor, marks: Tensor, tau: float, threshold: float, signed: bool
) -> tuple[Tensor, ...]:
    """A Run; no marks where they are empty, and so lie at address 0."""
    from asnn_goose import _native

    given = [x.contiguous() for x in (h, state, marks)]
    spikes, membranes, last = like(h, h, state)
    B, T, K = h.shape
    _native.lif_forward(
        sizes=(B, T, K),
        neuron=(tau, threshold),
        is_signed=signed,
        inputs=addresses(*given[:2]),
        marks=addresses(given[2])[0],
        outputs=addresses(spikes, membranes, last),
        threads=torch.get_num_threads(),
    )
    return spikes, membranes, last


@torch.library.custom_op(
    "asnn_goose::lif_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor membranes, Tensor slope, Tensor dspikes, Tensor dlast, Tensor marks, "
    f"{_CELL}, bool detach, float alpha) -> (Tensor, Tensor)",
)
def _backward(
    membranes: Tensor, slope: Tensor, dspikes: Tensor, dlast: Tensor, marks: Tensor, *neuron: Any
) -> tuple[Tensor, ...]:
    """Gradients of h and of the first membranes."""
    from asnn_goose import _native

    tau, threshold, signed, detach, alpha = neuron
    found = [x.contiguous() for x in (membranes, slope, dspikes, dlast, marks)]
    gradients = like(membranes, dlast)
    B, T, K = membranes.shape
    _native.lif_backward(
        sizes=(B, T, K),
        neuron=(tau, threshold, alpha),
        is_signed=signed,
        is_detached=detach,
        marks=addresses(found[4])[0],
        gradients_in=addresses(*found[:4]),
        gradients_out=addresses(*gradients),
        threads=torch.get_num_threads(),
    )
    return gradients


_forward.register_fake(lambda h, state, *settings: like(h, h, state))
_backward.register_fake(lambda membranes, slope, dspikes, dlast, *settings: like(membranes, dlast))
