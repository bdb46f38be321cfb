"""L2Wrap of RWKV's released code."""

from __future__ import annotations

import torch

from asnn_goose.losses import Objective, Term
from asnn_goose.losses.l2_wrap import L2Wrap
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace


def test_only_the_largest_logit_has_a_gradient_and_it_is_its_value() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(2, 5, 8, requires_grad=True)
    head = torch.eye(8)  # so that the logits are the hidden states
    labels_BT = torch.zeros(2, 5, dtype=torch.long)
    labels_BT[0, 3:] = IGNORED_LABEL
    batch = Batch(
        tokens_BT=labels_BT, labels_BT=labels_BT, documents_BT=torch.zeros_like(labels_BT)
    )
    objective = Objective([Term("l2_wrap", 1e-4, L2Wrap())])
    terms = objective(Trace(final_BTD=hidden, head_VD=head), Trace(), batch)
    terms["l2_wrap"].backward()
    largest, place = hidden.detach().max(-1)
    wanted = torch.zeros(2, 5, 8).scatter_(2, place.unsqueeze(-1), largest.unsqueeze(-1))
    counts = (labels_BT != IGNORED_LABEL).unsqueeze(-1)
    # The released code: 1e-4 times the largest logit over the number of tokens.
    torch.testing.assert_close(hidden.grad, 1e-4 * wanted * counts / 8)


def test_equal_logits_do_not_share_the_gradient() -> None:
    z_nV = torch.ones(1, 4, requires_grad=True)
    L2Wrap()(z_nV, None, None).sum().backward()  # type: ignore[arg-type]
    assert z_nV.grad is not None
    assert sorted(z_nV.grad.flatten().tolist()) == [0, 0, 0, 1]
