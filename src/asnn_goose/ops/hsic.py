"""Centred kernel alignment: how alike two sets of features are, whatever their basis.

Kornblith et al. 2019 (arXiv 1905.00414), with the unbiased HSIC of Song et al. 2012: the biased
form reads 0.73 for independent features where tokens are as few as channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 4
"""Rows that the unbiased form needs at least."""

TINY = 1e-12


def unbiased_hsic(K_nn: Tensor, L_nn: Tensor) -> Tensor:
    """Hilbert-Schmidt independence criterion of two symmetric Gram matrices, without bias.

    [tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2)] / (n(n-3)), diagonals set to 0. A scalar,
    0 on average for independent features; it may be negative. Raises ValueError where n < 4.
    """
    n = K_nn.shape[0]
    if n < SMALLEST:
        raise ValueError(f"n = {n} rows: the unbiased HSIC needs at least {SMALLEST}")
    K, L = (x - torch.diag_embed(x.diagonal()) for x in (K_nn, L_nn))
    K_n, L_n = K.sum(0), L.sum(0)
    # Row sums stand for the products with 1, so that K L is never multiplied out: n^2 instead of
    # n^3.
    both = K_n.sum() * L_n.sum() / ((n - 1) * (n - 2))
    return ((K * L).sum() + both - 2 * (K_n @ L_n) / (n - 2)) / (n * (n - 3))


def unbiased_cka(x_nD: Tensor, y_nE: Tensor) -> Tensor:
    """HSIC(K,L) / sqrt(HSIC(K,K) HSIC(L,L)) of the linear kernels of x (n,D) and y (n,E).

    1 for equal features, about 0 for independent ones; the same after a rotation, a scaling or a
    shift of either side. Memory is n^2. In the dtype of its inputs, autocast or not.
    """
    with torch.autocast(x_nD.device.type, enabled=False):
        K, L = _gram(x_nD), _gram(y_nE)
        # The unbiased form may come out below zero for a handful of rows, where a root would be
        # NaN.
        own = unbiased_hsic(K, K) * unbiased_hsic(L, L)
        alike: Tensor = unbiased_hsic(K, L) / own.clamp_min(TINY**2).sqrt()
    return alike


def uncentred_cka(x_nD: Tensor, y_nE: Tensor) -> Tensor:
    """||y'x||^2 / (||x'x|| ||y'y||), without centring: near 1 for any features that share a mean.

    Kept to compare with systems that use it. In the dtype of its inputs, autocast or not.
    """
    with torch.autocast(x_nD.device.type, enabled=False):
        K, L = x_nD @ x_nD.T, y_nE @ y_nE.T
        alike: Tensor = (K * L).sum() / (K.norm() * L.norm()).clamp_min(TINY)
    return alike


def _gram(x_nD: Tensor) -> Tensor:
    """Gram matrix of the rows, centred and of norm n."""
    # Shift and scale cancel in CKA; without them no digits are lost.
    x_nD = x_nD - x_nD.mean(0)
    # As n x n and not D x D: the unbiased form needs the Gram matrix's diagonal taken out.
    K_nn = x_nD @ x_nD.T
    scale = x_nD.shape[0] / K_nn.norm().clamp_min(TINY)
    scaled: Tensor = K_nn * scale
    return scaled
