"""Which positions of a window are real, and where in their text they stand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from asnn_goose.model.parts.documents import document_positions
from asnn_goose.trace import Window


def window_mask(attention_mask: Tensor | None, length: int) -> Tensor | None:
    """Mask (B, length) of the newest positions as bool, or None where nothing is padding.

    Raises ValueError where padding stands right of a token: it would enter the state.
    """
    if attention_mask is None:
        return None
    # `generate` hands the mask of the whole text on; the state has seen the older part already.
    mask_BT = attention_mask[:, -length:].bool()
    # None where nothing is padded, so that the common case takes no masking multiplications at all.
    if bool(mask_BT.all()):
        return None
    if bool((mask_BT[:, :-1] & ~mask_BT[:, 1:]).any()):
        raise ValueError(
            "attention_mask has padding right of a token, which a recurrence would remember: "
            "pad on the left (tokenizer.padding_side = 'left')"
        )
    return mask_BT


def positions(seen_B: Tensor | None, mask_BT: Tensor | None, x_BTD: Tensor) -> Tensor:
    """Position (B,T) of every token, counted from the first real one of its sequence."""
    batch, length = x_BTD.shape[:2]
    if mask_BT is None:
        step_BT = torch.arange(length, device=x_BTD.device).expand(batch, length)
    else:
        # Counted from the first real token: a text must not mean something else for being padded
        # beside a longer one.
        step_BT = (mask_BT.long().cumsum(1) - 1).clamp_min(0)
    return step_BT if seen_B is None else step_BT + seen_B.unsqueeze(1)


def placed(window: Window | None, x_BTD: Tensor) -> Window:
    """A window whose tokens have positions: those it gives, or counted anew in each document."""
    window = window or Window()
    # Positions that are given count: the cache has seen the text before this window.
    if window.position_BT is not None:
        return window
    documents_BT, mask_BT = window.documents_BT, window.mask_BT
    position_BT = (
        positions(None, mask_BT, x_BTD)
        if documents_BT is None
        else document_positions(documents_BT)
    )
    return replace(window, position_BT=position_BT)
