"""WKV-4 one token after the other: the formula itself, and the oracle of the kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.ops.documents import PADDING, START

EMPTY = -1e38
"""Exponent of a state that has seen nothing."""


def recurrent(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    *,
    marks_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,C) and the state after the last token, all in the dtype of the inputs.

    q = max(p, u + k): y = (e^{p-q} a + e^{u+k-q} v) / (e^{p-q} b + e^{u+k-q}); then with
    q = max(p - w, k): a <- e^{p-w-q} a + e^{k-q} v, b likewise with 1 for v, and p <- q.
    """
    a_BC, b_BC, p_BC = state_B3C.unbind(1)
    outputs = []
    for t in range(k_BTC.shape[1]):
        before, k_BC, v_BC = (a_BC, b_BC, p_BC), k_BTC[:, t], v_BTC[:, t]
        if marks_BT is not None:
            a_BC, b_BC, p_BC = _fresh(before, marks_BT[:, t, None] == START)
        q_BC = torch.maximum(p_BC, u_C + k_BC)
        past_BC, own_BC = torch.exp(p_BC - q_BC), torch.exp(u_C + k_BC - q_BC)
        y_BC = (past_BC * a_BC + own_BC * v_BC) / (past_BC * b_BC + own_BC)
        q_BC = torch.maximum(p_BC - w_C, k_BC)
        past_BC, own_BC = torch.exp(p_BC - w_C - q_BC), torch.exp(k_BC - q_BC)
        a_BC, b_BC, p_BC = past_BC * a_BC + own_BC * v_BC, past_BC * b_BC + own_BC, q_BC
        if marks_BT is not None:
            idle_B1 = marks_BT[:, t, None] == PADDING
            y_BC = y_BC.masked_fill(idle_B1, 0)
            after = (a_BC, b_BC, p_BC)
            a_BC, b_BC, p_BC = (
                old.where(idle_B1, new) for old, new in zip(before, after, strict=True)
            )
        outputs.append(y_BC)
    return torch.stack(outputs, dim=1), torch.stack((a_BC, b_BC, p_BC), dim=1)


def _fresh(state: tuple[Tensor, Tensor, Tensor], start_B1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The state, emptied where a text starts."""
    a_BC, b_BC, p_BC = state
    return (
        a_BC.masked_fill(start_B1, 0),
        b_BC.masked_fill(start_B1, 0),
        p_BC.masked_fill(start_B1, EMPTY),
    )
