"""The oracle's RWKV-7 mixer (Peng et al. 2025, arXiv 2503.14456), for one token."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from asnn_goose.infer.reference.layers import (
    Config,
    Tensors,
    rms_normed,
    rotated,
    shifted,
    sigmoid,
)
from asnn_goose.infer.reference.matrix import Coding, Matrix
from asnn_goose.infer.reference.spikes import F32, Neurons
from asnn_goose.infer.reference.state import Arrays
from asnn_goose.shape.rwkv7 import LEAST_KEY, LEAST_SPIKING_KEY, rotary_base

DECAY_RATE = np.float32(math.exp(-0.5))
NORMED = ("query", "key")


class LowRank:
    """bias + act(x A) B."""

    def __init__(
        self, name: str, tensors: Tensors, act: Callable[[F32], F32] | None = None
    ) -> None:
        self.down, self.up = Matrix(f"{name}.down", tensors), Matrix(f"{name}.up", tensors)
        self.bias_C: F32 | None = tensors.get(f"{name}.bias")
        self.act = act

    def __call__(self, x_D: F32) -> F32:
        """fp32 (D,) -> fp32 (C,)."""
        inner_R = self.down(x_D)
        out_C = self.up(inner_R if self.act is None else self.act(inner_R))
        return out_C if self.bias_C is None else out_C + self.bias_C


class RWKV7:
    """One RWKV-7 mixer; letters as in the paper."""

    def __init__(self, name: str, config: Config, tensors: Tensors, coding: Coding) -> None:
        self.heads, self.head_size = config["num_attention_heads"], config["head_size"]
        self.theta = rotary_base(config, int(name.split(".")[1]))
        self.channels, self.eps = config["rope_channels"], config["norm_eps"]
        self.gains = {letter: tensors.get(f"{name}.{letter}_norm.weight") for letter in NORMED}
        self.one_plus = config["gate"] == "one_plus"
        self.matrices = {
            part: Matrix(f"{name}.{part}", tensors, coding.get(f"{name}.{part}"))
            for part in ("receptance", "key", "value", "output")
        }
        self.sites = {
            letter: Neurons(f"{name}.{letter}", tensors, coding.get(f"{name}.{letter}"))
            for letter in ("k", "v")
        }
        self.decay = LowRank(f"{name}.decay", tensors, np.tanh)
        self.rate = LowRank(f"{name}.rate", tensors)
        first, gated = f"{name}.value_mix", config["gate"] != "none"
        self.value_mix = LowRank(first, tensors) if _has(tensors, first) else None
        self.gate = LowRank(f"{name}.gate", tensors, sigmoid) if gated else None
        self.mix_CD: F32 | None = tensors.get(f"{name}.shift.mix")
        self.value_mix_1C: F32 | None = tensors.get(f"{name}.value_shift.mix")
        self.removal_C: F32 | None = tensors.get(f"{name}.removal")
        self.replacement_C: F32 | None = tensors.get(f"{name}.replacement")
        self.bonus_HN: F32 | None = tensors.get(f"{name}.bonus")
        self.norm: tuple[F32, F32] | None = None
        if config["group_norm"]:
            self.norm = tensors[f"{name}.norm.weight"], tensors[f"{name}.norm.bias"]

    def __call__(
        self, x_D: F32, v_first_C: F32 | None, state: Arrays, position: int
    ) -> tuple[F32, F32]:
        """Output (D,) and the first block's values (C,); the state moves on in place."""
        x = shifted(x_D, state.get("shift"), self.mix_CD, consumers=6)
        r = self._positioned(self.matrices["receptance"](x[0]), "query", position)
        k_C = self.sites["k"].values(self.matrices["key"](x[2]))
        k = self._positioned(k_C, "key", position)
        v_C = self.sites["v"].values(self._value(x[3], state))
        if v_first_C is None:
            v_first_C = v_C
        elif self.value_mix is not None:
            v_C = v_C + (v_first_C - v_C) * sigmoid(self.value_mix(x[3]))
        v, a = self._by_head(v_C), self._by_head(sigmoid(self.rate(x[4])))
        w = self._by_head(np.exp(-DECAY_RATE * sigmoid(self.decay(x[1]))))
        kappa, written = self._removal_direction(k), self._replaced(k, a)
        y_HN = wkv7_step(state["memory"], r, w, written, v, kappa, a)
        if self.mix_CD is not None:
            state["shift"][:] = x_D
        return self._project(y_HN, r, written, v, x[-1]), v_first_C

    def _value(self, x_D: F32, state: Arrays) -> F32:
        """Values that lean on those of the token before; the last ones move on in place."""
        v_C = self.matrices["value"](x_D)
        if self.value_mix_1C is None:
            return v_C
        leaning_C = shifted(v_C, state["value"], self.value_mix_1C, consumers=1)[0]
        state["value"][:] = v_C
        return leaning_C

    def _by_head(self, x_C: F32) -> F32:
        return x_C.reshape(self.heads, self.head_size)

    def _positioned(self, x_C: F32, what: str, position: int) -> F32:
        """R or k by head, normalised (each head, or all as one) and turned."""
        if (gain := self.gains[what]) is not None:
            x = x_C if gain.shape == x_C.shape else self._by_head(x_C)
            x_C = rms_normed(x, gain, self.eps)
        x_HN = self._by_head(x_C)
        if not self.theta:
            return x_HN
        return rotated(x_HN, position, theta=self.theta, channels=self.channels)

    def _removal_direction(self, k_HN: F32) -> F32:
        if self.removal_C is not None:
            k_HN = k_HN * self._by_head(self.removal_C)
        length_H1 = np.sqrt((k_HN * k_HN).sum(axis=1, keepdims=True))
        least = LEAST_SPIKING_KEY if self.sites["k"].steps else LEAST_KEY
        return np.asarray(k_HN / np.maximum(length_H1, np.float32(least)))

    def _replaced(self, k_HN: F32, a_HN: F32) -> F32:
        if self.replacement_C is None:
            return k_HN
        return k_HN * (1 + (a_HN - 1) * self._by_head(self.replacement_C))

    def _project(self, y_HN: F32, r_HN: F32, k_HN: F32, v_HN: F32, x_gate_D: F32) -> F32:
        if self.norm is not None:
            y_HN = self._normalised(y_HN, *self.norm)
        if self.bonus_HN is not None:
            y_HN = y_HN + (r_HN * k_HN * self.bonus_HN).sum(axis=1, keepdims=True) * v_HN
        y_C = y_HN.reshape(-1)
        if self.gate is not None:
            g_C = self.gate(x_gate_D)
            y_C = y_C * (1 + g_C if self.one_plus else g_C)
        return self.matrices["output"](y_C)

    def _normalised(self, y_HN: F32, weight_C: F32, bias_C: F32) -> F32:
        """Group norm: every head for itself."""
        centred_HN = y_HN - y_HN.mean(axis=1, keepdims=True)
        variance_H1 = (centred_HN * centred_HN).mean(axis=1, keepdims=True)
        scaled_HN = centred_HN / np.sqrt(variance_H1 + np.float32(self.head_size * 1e-5))
        return np.asarray(scaled_HN * self._by_head(weight_C) + self._by_head(bias_C))


def wkv7_step(
    wkv_HNN: F32, r_HN: F32, w_HN: F32, k_HN: F32, v_HN: F32, kappa_HN: F32, a_HN: F32
) -> F32:
    """S = S diag(w) - (S kappa)(a kappa)^T + v k^T in place; returns S r. Axes [value, key]."""
    # Before the decay: what is forgotten is what the old state says about kappa.
    forgotten_HN1 = wkv_HNN @ kappa_HN[..., None]
    wkv_HNN *= w_HN[:, None]
    wkv_HNN -= forgotten_HN1 * (kappa_HN * a_HN)[:, None]
    wkv_HNN += v_HN[..., None] * k_HN[:, None]
    return np.asarray((wkv_HNN @ r_HN[..., None])[..., 0])


def _has(tensors: Tensors, name: str) -> bool:
    return any(key.startswith(f"{name}.") for key in tensors)
