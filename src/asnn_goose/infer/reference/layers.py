"""The oracle's small parts: norms, activations, token shift, rotary positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.reference.spikes import F32

Tensors = Mapping[str, NDArray[Any]]
Config = Mapping[str, Any]


class Norm:
    """RMS or layer norm over the residual width, as the configuration says."""

    def __init__(self, name: str, tensors: Tensors, config: Config) -> None:
        self.centred = config["norm"] == "layer"
        self.eps = np.float32(config["norm_eps"])
        self.weight_D: F32 = tensors[f"{name}.weight"]
        self.bias_D: F32 | None = tensors.get(f"{name}.bias")

    def __call__(self, x_D: F32) -> F32:
        """fp32 (D,) -> fp32 (D,)."""
        if self.centred:
            x_D = x_D - x_D.mean()
        # One formula for both norms: with its mean taken off, x's mean square is its variance.
        y_D = x_D / np.sqrt(np.mean(x_D * x_D) + self.eps) * self.weight_D
        return np.asarray(y_D if self.bias_D is None else y_D + self.bias_D)


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)), without overflow."""
    # Of a number at most 0, and so never infinite.
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small), dtype=np.float32)


def _silu(x: F32) -> F32:
    return x * sigmoid(x)


def _gelu(x: F32) -> F32:
    # Value by value: numpy has no erf, and the oracle takes no other library.
    erf = np.array([math.erf(float(value) / math.sqrt(2)) for value in x])
    return np.asarray(0.5 * x * (1 + erf), dtype=np.float32)


def _gelu_tanh(x: F32) -> F32:
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(np.float32(0.5) * x * (1 + np.tanh(inner)))


def relu(x: F32) -> F32:
    """max(x, 0)."""
    return np.maximum(x, np.float32(0))


ACTIVATIONS: dict[str, Callable[[F32], F32]] = {
    "silu": _silu,
    "swish": _silu,
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": relu,
}
"""Values of hidden_act: those of `shape.mlps.ACTIVATIONS`."""


def shifted(x_D: F32, last_D: F32 | None, mix_CD: F32 | None, *, consumers: int) -> list[F32]:
    """One x + (last - x) mu for each consumer, or x itself without a token shift."""
    if mix_CD is None or last_D is None:
        return [x_D] * consumers
    return [x_D + (last_D - x_D) * mu_D for mu_D in mix_CD]


def rotated(x_HN: F32, position: int, *, theta: float, channels: int = 0) -> F32:
    """Pairs (n, n + M/2) turned by position * theta^(-2n/M), in fp32.

    M are the first `channels` of a head, all for 0; those behind them stay as they are.
    """
    half = (channels or x_HN.shape[-1]) // 2
    exponent = np.arange(half, dtype=np.float32) / np.float32(half)
    angle = np.float32(position) * np.float32(theta) ** -exponent
    cos, sin = np.cos(angle), np.sin(angle)
    left, right = x_HN[:, :half], x_HN[:, half : 2 * half]
    turned = (left * cos - right * sin, right * cos + left * sin, x_HN[:, 2 * half :])
    return np.concatenate(turned, axis=-1)


def rms_normed(x: F32, weight: F32, eps: float) -> F32:
    """X over its root mean square along the last axis, times a gain."""
    square = np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps)
    return np.asarray(x / np.sqrt(square) * weight)
