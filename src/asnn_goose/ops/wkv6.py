"""WKV-6 (and WKV-5, whose decay stands still) by way of WKV-7.

y_t = S_{t-1} r_t + (sum_n r_n u_n k_n) v_t and S_t = S_{t-1} diag(w_t) + v_t k_t^T, with axes
[value, key] (Eagle and Finch, arXiv 2404.05892, equations 19 and 20). With alpha = beta = 0 WKV-7
is the same recurrence, but read after its update: fed with everything but r one token late it
gives S_{t-1} r_t.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from asnn_goose.names import check_name
from asnn_goose.ops.documents import document_starts
from asnn_goose.ops.wkv7 import _obstacle_to_native
from asnn_goose.ops.wkv7.documents import wkv7_by_document

Form = Literal["auto", "recurrent", "chunked", "native"]

CHUNK = 16
"""Tokens of a chunk whose decays are compared pair by pair."""


def wkv6(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    u_HN: Tensor,
    state_BHNN: Tensor | None = None,
    *,
    documents_BT: Tensor | None = None,
    form: Form = "auto",
) -> tuple[Tensor, Tensor]:
    """Outputs y (B,T,H,N) in v's dtype, and the state after the last token (B,H,N,N).

    Any decay may be given, log_w from 0 down. `documents_BT` (B,T) empties the state where
    another document begins. Differentiable in everything; fp32, or fp64 where r is fp64.

    form  recurrent and native by WKV-7's of these names; chunked: matrix products over CHUNK
          tokens, decays of pairs as differences of sums, so that none can overflow (WKV-7's own
          chunked form takes no decay below 0.54); auto: native where it can be, else chunked

    Raises ValueError for shapes that do not fit, or a form that cannot take these inputs.
    """
    check_name(("auto", "recurrent", "chunked", "native"), form, setting="form")
    wide = torch.promote_types(r_BTHN.dtype, torch.float32)
    r, log_w, k, v = (x.to(wide) for x in (r_BTHN, log_w_BTHN, k_BTHN, v_BTHN))
    if form == "auto":
        form = "chunked" if _obstacle_to_native(r_BTHN) else "native"
    late_w, late_k, late_v = (_late(x, documents_BT) for x in (log_w, k, v))
    with torch.autocast(r.device.type, enabled=False):
        if form == "chunked":
            y, before = _chunked(r, late_w, late_k, late_v, state_BHNN, documents_BT)
        else:
            y, before = _one_late(r, late_w, late_k, late_v, state_BHNN, documents_BT, form=form)
        bonus = (r * u_HN.to(wide) * k).sum(-1, keepdim=True) * v
        last = before * log_w[:, -1].exp().unsqueeze(-2) + _outer(v[:, -1], k[:, -1])
    return (y + bonus).to(v_BTHN.dtype), last


def _late(x_BTHN: Tensor, documents_BT: Tensor | None) -> Tensor:
    """Row t holds x_{t-1}, and zeros where nothing of the same text came before."""
    late = torch.cat((torch.zeros_like(x_BTHN[:, :1]), x_BTHN[:, :-1]), dim=1)
    if documents_BT is None:
        return late
    return late.masked_fill(document_starts(documents_BT)[:, :, None, None], 0)


def _outer(v_BHN: Tensor, k_BHN: Tensor) -> Tensor:
    return v_BHN.unsqueeze(-1) * k_BHN.unsqueeze(-2)


def _one_late(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor | None,
    documents_BT: Tensor | None,
    *,
    form: Literal["recurrent", "native"],
) -> tuple[Tensor, Tensor]:
    """Outputs without the bonus, and the state before the last token is written."""
    operands = (r, log_w, k, v, torch.zeros_like(r), torch.zeros_like(r), state)
    return wkv7_by_document(*operands, documents_BT=documents_BT, form=form)


def _chunked(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor | None,
    documents_BT: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As `_one_late`, on any device."""
    B, T, H, N = r.shape
    S_BHNN = r.new_zeros(B, H, N, N) if state is None else state.to(r.dtype)
    text_BT = torch.zeros(B, T, dtype=torch.long, device=r.device)
    if documents_BT is not None:
        text_BT = document_starts(documents_BT).cumsum(1)
    before_B1, outputs = torch.zeros_like(text_BT[:, :1]), []
    for part in range(0, T, CHUNK):
        tokens = slice(part, part + CHUNK)
        r_c, w_c, k_c, v_c = (x[:, tokens].transpose(1, 2) for x in (r, log_w, k, v))
        text = text_BT[:, tokens]
        y, S_BHNN = _chunk(r_c, w_c, k_c, v_c, S_BHNN, text, before_B1)
        outputs.append(y.transpose(1, 2))
        before_B1 = text[:, -1:]
    return torch.cat(outputs, dim=1), S_BHNN


def _chunk(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    S_BHNN: Tensor,
    text_BT: Tensor,
    before_B1: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,H,T,N) of a chunk, and the state after it; `before` is the text of the state."""
    sums_BHTN = log_w.cumsum(2)
    since_BHTTN = sums_BHTN.unsqueeze(3) - sums_BHTN.unsqueeze(2)
    seen_BTT = (text_BT.unsqueeze(2) == text_BT.unsqueeze(1)).tril()
    fade_BHTTN = since_BHTTN.masked_fill(~seen_BTT[:, None, ..., None], -torch.inf).exp()
    score_BHTT = torch.einsum("bhtn,bhtsn,bhsn->bhts", r, fade_BHTTN, k)
    going_on_BHTN = sums_BHTN.masked_fill((text_BT != before_B1)[:, None, :, None], -torch.inf)
    y_BHTN = score_BHTT @ v + (r * going_on_BHTN.exp()) @ S_BHNN.mT
    S_BHNN = S_BHNN * going_on_BHTN[:, :, -1].exp().unsqueeze(-2)
    return y_BHTN, S_BHNN + v.mT @ (k * fade_BHTTN[:, :, -1])
