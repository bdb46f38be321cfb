"""WKV-7 one token after the other: the formula itself, and the oracle of the faster forms."""

from __future__ import annotations

import torch
from torch import Tensor


def recurrent(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,H,N) and the final state (B,H,N,N), all in the dtype of the inputs.

    S_t = S_{t-1} diag(w_t) + (S_{t-1} alpha_t) beta_t^T + v_t k_t^T and y_t = S_t r_t, after
    Peng et al. 2025 (arXiv 2503.14456), equations 17 and 18. State axes are [value, key].
    """
    w_BTHN = log_w_BTHN.exp()
    outputs = []
    for t in range(r_BTHN.shape[1]):
        # Read before the decay: the delta rule removes what the state of the token before answers.
        p_BHN1 = state_BHNN @ alpha_BTHN[:, t].unsqueeze(-1)
        state_BHNN = (
            state_BHNN * w_BTHN[:, t].unsqueeze(-2)
            + p_BHN1 * beta_BTHN[:, t].unsqueeze(-2)
            + v_BTHN[:, t].unsqueeze(-1) * k_BTHN[:, t].unsqueeze(-2)
        )
        outputs.append((state_BHNN @ r_BTHN[:, t].unsqueeze(-1)).squeeze(-1))
    return torch.stack(outputs, dim=1), state_BHNN
