"""Where documents begin inside packed windows."""

from __future__ import annotations

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
