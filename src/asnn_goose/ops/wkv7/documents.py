"""WKV-7 over packed windows whose documents must not see each other."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.documents import document_starts
from asnn_goose.ops.wkv7 import Form, _chosen, wkv7

STEPPING = ("recurrent", "native")
"""Forms that apply every decay by itself, so that one of exactly 0 is safe in them."""

Sequences = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]

Segment = tuple[int, int, int]
"""Row, first token and end (exclusive) of one document in a window."""


def segments(documents_BT: Tensor) -> list[Segment]:
    """The runs of equal numbers in every row, row by row, from left to right."""
    B, T = documents_BT.shape
    starts_BT = document_starts(documents_BT).cpu()
    found = []
    for row in range(B):
        cuts = [0, *starts_BT[row].nonzero().flatten().tolist(), T]
        found += [(row, first, end) for first, end in pairwise(cuts)]
    return found


def wkv7_by_document(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor | None = None,
    *,
    documents_BT: Tensor | None,
    form: Form = "auto",
) -> tuple[Tensor, Tensor]:
    """`wkv7` with a state of zeros at the start of every document inside the window.

    Arguments, results and errors are those of `wkv7`; `documents_BT` (B,T) numbers the document
    of every token, None for one text. `state_BHNN` reaches only the first document of a row, and
    the final state is that of the last one. Outputs and gradients are those of every document run
    alone (arXiv 2503.14456, equation 17, with S_{t-1} = 0).

    Raises ValueError where documents_BT has another shape than the tokens.
    """
    sequences = (r_BTHN, log_w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)
    if documents_BT is None:
        return wkv7(*sequences, state_BHNN, form=form)
    if documents_BT.shape != r_BTHN.shape[:2]:
        raise ValueError(
            f"documents has shape {tuple(documents_BT.shape)}; r has {tuple(r_BTHN.shape)}: "
            "wanted (B, T) of r"
        )
    starts_BT = document_starts(documents_BT)
    if not bool(starts_BT.any()):
        return wkv7(*sequences, state_BHNN, form=form)
    if _chosen(form, r_BTHN) in STEPPING:
        return wkv7(*_forgetting(sequences, starts_BT), state_BHNN, form=form)
    return _by_segment(sequences, state_BHNN, documents_BT, form=form)


def _forgetting(sequences: Sequences, starts_BT: Tensor) -> Sequences:
    """Sequences with w = 0 and alpha = 0 at every start.

    There S_t = S_{t-1} diag(0) + (S_{t-1} 0) beta^T + v k^T = v k^T: what a state of zeros gives.
    """
    r, log_w, k, v, alpha, beta = sequences
    starts = starts_BT[:, :, None, None]
    return r, log_w.masked_fill(starts, -torch.inf), k, v, alpha.masked_fill(starts, 0), beta


def _by_segment(
    sequences: Sequences, state_BHNN: Tensor | None, documents_BT: Tensor, *, form: Form
) -> tuple[Tensor, Tensor]:
    """Every document as a sequence of its own; those of like length run together."""
    B, T, H, N = sequences[0].shape
    found = segments(documents_BT)
    state = sequences[0].new_zeros((B, H, N, N)) if state_BHNN is None else state_BHNN
    pieces: dict[Segment, Tensor] = {}
    finals: dict[int, Tensor] = {}
    for group in _like_lengths(found):
        r, log_w, k, v, alpha, beta = (_padded(x, group) for x in sequences)
        before = [
            state[row] if first == 0 else torch.zeros_like(state[row]) for row, first, _ in group
        ]
        y, final = wkv7(r, log_w, k, v, alpha, beta, torch.stack(before), form=form)
        for number, (row, first, end) in enumerate(group):
            pieces[row, first, end] = y[number, : end - first]
            if end == T:
                finals[row] = final[number]
    y_BTHN = torch.cat([pieces[segment] for segment in found]).view(B, T, H, N)
    return y_BTHN, torch.stack([finals[row] for row in range(B)])


def _like_lengths(found: list[Segment]) -> list[list[Segment]]:
    """Segments grouped by length to the next power of two, so that padding at most doubles them."""
    groups: dict[int, list[Segment]] = defaultdict(list)
    for row, first, end in found:
        groups[(end - first - 1).bit_length()].append((row, first, end))
    return list(groups.values())


def _padded(x_BTHN: Tensor, group: list[Segment]) -> Tensor:
    """The segments (S,T',H,N) with zeros after their ends.

    log w = k = v = beta = 0 leave the state as it is.
    """
    longest = max(end - first for _, first, end in group)
    return torch.stack(
        [
            F.pad(x_BTHN[row, first:end], (0, 0, 0, 0, 0, longest - (end - first)))
            for row, first, end in group
        ]
    )
