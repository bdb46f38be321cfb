"""Divergences between distributions given as log-probabilities, in plain formulas."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROWS = 8
"""Tokens that are worked on together where no graph is kept: some of 49 152 words fit a cache."""


def kl_divergence(log_a_nV: Tensor, log_b_nV: Tensor) -> Tensor:
    """KL(a || b) (n,) in nats."""
    # From logarithms on both sides: p log(p / q) of probabilities would divide by a q that is 0 in
    # fp32.
    return (log_a_nV.exp() * (log_a_nV - log_b_nV)).sum(-1)


def log_mixture(log_a_nV: Tensor, log_b_nV: Tensor, share: float) -> Tensor:
    """log(share a + (1 - share) b) (n,V), for a share from 0 to 1."""
    if share in (0, 1):
        return log_a_nV if share else log_b_nV
    # In logarithms, for p of most words is 0 in fp32 while its logarithm is not.
    return torch.logaddexp(log_a_nV + math.log(share), log_b_nV + math.log1p(-share))


@torch.no_grad()
def hellinger_distance(log_a_nV: Tensor, log_b_nV: Tensor) -> Tensor:
    """sqrt(1/2 sum (sqrt a - sqrt b)^2) (n,), from 0 to 1; not differentiated."""
    pairs = zip(log_a_nV.split(ROWS), log_b_nV.split(ROWS), strict=True)
    gaps = [_root(log_a_rV).sub_(_root(log_b_rV)) for log_a_rV, log_b_rV in pairs]
    return torch.cat([torch.linalg.vector_norm(gap_rV, dim=-1) for gap_rV in gaps]) / math.sqrt(2)


def _root(log_p_rV: Tensor) -> Tensor:
    """The square root of p. As a power of 2: on a CPU `exp` takes twice as long."""
    return torch.exp2(log_p_rV * (0.5 / math.log(2)))
