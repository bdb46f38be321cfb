"""The loss that Transformers expects of a causal language model that is given labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asnn_goose.trace import IGNORED_LABEL


def next_token_loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats of predicting labels[:, t+1] at position t."""
    return F.cross_entropy(
        # In fp32, for a softmax over the vocabulary in bf16 has lost its small ones.
        logits_BTV[:, :-1].flatten(0, 1).float(),
        labels_BT[:, 1:].flatten(),
        ignore_index=IGNORED_LABEL,
    )
