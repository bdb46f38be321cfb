from __future__ import annotations

import torch
import torch.nn.functional as F

from asnn_goose.ops.attention import causal_log_attention, causal_pairs

KEEP = torch.tensor([[True] * 7, [True, True, False, True, True, True, False]])


def test_it_is_the_attention_of_torch() -> None:
    q, k, v = torch.randn(3, 2, 7, 3, 4).unbind()
    found = causal_log_attention(q, k, torch.ones(2, 7, dtype=torch.bool)).exp()
    wanted = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)
    assert torch.allclose(found @ v.transpose(1, 2), wanted, atol=1e-6)
    assert not found.triu(1).any()


def test_tokens_that_are_not_kept_are_as_if_absent() -> None:
    q, k = torch.randn(2, 2, 7, 3, 4).unbind()
    found = causal_log_attention(q, k, KEEP)[1]
    left = KEEP[1].nonzero().squeeze(1)
    alone = causal_log_attention(
        q[1:, left], k[1:, left], torch.ones(1, len(left), dtype=torch.bool)
    )[0]
    assert torch.allclose(found[:, left][:, :, left].exp(), alone.exp(), atol=1e-6)
    assert found.isfinite().all()


def test_pairs_are_causal_and_look_at_kept_tokens_only() -> None:
    pairs = causal_pairs(KEEP)[1, 0]
    assert not pairs[:, 2].any()
    assert pairs[5].tolist() == [True, True, False, True, True, True, False]
    assert not pairs.triu(1).any()


def test_pairs_are_of_one_document() -> None:
    # A number that returns is another document.
    documents = torch.tensor([[3, 3, 4, 4, 4, 3, 3]])
    pairs = causal_pairs(torch.ones(1, 7, dtype=torch.bool), documents)[0, 0]
    wanted = torch.block_diag(*(torch.ones(n, n).tril() for n in (2, 3, 2))).bool()
    assert torch.equal(pairs, wanted)


def test_attention_with_documents_is_that_of_each_alone() -> None:
    q, k = torch.randn(2, 1, 7, 3, 4).unbind()
    keep, documents = torch.ones(1, 7, dtype=torch.bool), torch.tensor([[3, 3, 4, 4, 4, 3, 3]])
    found = causal_log_attention(q, k, keep, documents).exp()
    for one in (slice(0, 2), slice(2, 5), slice(5, 7)):
        alone = causal_log_attention(q[:, one], k[:, one], keep[:, one]).exp()
        assert torch.allclose(found[:, :, one, one], alone, atol=1e-6)
        assert torch.allclose(found[:, :, one].sum(-1), alone.sum(-1), atol=1e-6)
