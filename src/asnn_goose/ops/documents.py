"""Where documents begin inside packed windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def document_starts(documents_BT: Tensor) -> Tensor:
    """True (B,T) where a document begins inside the window.

    False at the first token of a row: what came before it is up to the state passed in.
    """
    changed = documents_BT[:, 1:] != documents_BT[:, :-1]
    return F.pad(changed, (1, 0), value=False)


def same_document(documents_BT: Tensor) -> Tensor:
    """True (B,T,T) where two tokens are of one document; a number that returns is a new one."""
    # Runs are counted, not numbers compared: a packed window may hold one document in two pieces,
    # with another between, and those must not meet.
    run_BT = document_starts(documents_BT).cumsum(dim=1)
    return run_BT[:, :, None] == run_BT[:, None, :]


ORDINARY, START, PADDING = 0, 1, 2
"""What a token is to a recurrence: the compiled kernels have the same numbers."""


def token_marks(mask_BT: Tensor | None, documents_BT: Tensor | None) -> Tensor | None:
    """ORDINARY, START of a document inside the window or PADDING, as bytes (B,T); None: no marks.

    mask_BT is False where a position is padding.
    """
    if mask_BT is None and documents_BT is None:
        return None
    starts_BT = None if documents_BT is None else document_starts(documents_BT)
    given = mask_BT if mask_BT is not None else starts_BT
    assert given is not None
    marks_BT = torch.zeros(given.shape, dtype=torch.uint8, device=given.device)
    if starts_BT is not None:
        marks_BT.masked_fill_(starts_BT, START)
    return marks_BT if mask_BT is None else marks_BT.masked_fill_(~mask_BT, PADDING)
