"""A student's tensors under llama.cpp's names, in its shapes.

A part that a student does without is written so that it has no effect, to the bit: no shift, a
removal key of ones, a bonus of zeros, a share of the first values of sigmoid(-1e4) = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asnn_goose.export.forms import ExportError, floats
from asnn_goose.export.gguf.fit import Architecture
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.goose.block import GooseBlock
from asnn_goose.model.mixers.rwkv7.weights import RWKV7Weights
from asnn_goose.model.mlps.channel_mix import ChannelMix
from asnn_goose.model.mlps.gated import GatedMLP
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.hadamard import rotated

Kind = Literal["matrix", "narrow", "exact"]
"""Large matrices take the form that is asked for, low-rank factors fp16 at least, vectors fp32."""

NEVER = -1e4
"""A logit whose sigmoid is 0 in fp32."""


class Named(NamedTuple):
    """A tensor under its name in the file, with its axes in numpy's order."""

    name: str
    values: NDArray[np.float32]
    kind: Kind


def tensors(model: GooseForCausalLM, architecture: Architecture) -> Iterator[Named]:
    """Everything that the architecture loads, from the embedding to the head."""
    config = model.config
    words = config.real_vocab_size or config.vocab_size
    yield _named("token_embd.weight", model.embedding.weight[:words], "matrix")
    yield _named("output.weight", model.lm_head.weight[:words], "matrix")
    yield from _norm("output_norm", model.final_norm)
    if model.embedding_norm is not None:
        yield from _norm("token_embd_norm", model.embedding_norm)
    for layer, block in enumerate(model.blocks):
        for name, values, kind in _block(block, architecture, layer=layer):
            yield Named(f"blk.{layer}.{name}", values, kind)


def _block(block: GooseBlock, architecture: Architecture, *, layer: int) -> Iterator[Named]:
    mixer, mlp = block.mixer, block.mlp
    assert isinstance(mixer, RWKV7Weights)  # fit.py has checked
    yield from _norm("attn_norm", block.mixer_norm)
    yield from _norm("ffn_norm" if architecture == "arwkv7" else "attn_norm_2", block.mlp_norm)
    for name, matrix in mixer.matrices().items():
        yield Named(f"time_mix_{name}.weight", finished(matrix, name=name), "matrix")
    yield from _vectors(mixer)
    yield from _adapters(mixer, first=layer == 0)
    if isinstance(mlp, GatedMLP):
        for name, matrix in mlp.matrices().items():
            yield Named(f"ffn_{name}.weight", finished(matrix, name=name), "matrix")
    elif isinstance(mlp, ChannelMix):
        for name, matrix in (("key", mlp.key), ("value", mlp.value)):
            yield Named(f"channel_mix_{name}.weight", finished(matrix, name=name), "matrix")
        width = mlp.key.in_features
        lerp = torch.zeros(width) if mlp.shift is None else mlp.shift.mix
        yield _named("channel_mix_lerp_k.weight", lerp.reshape(1, 1, width))


def _vectors(mixer: RWKV7Weights) -> Iterator[Named]:
    """What multiplies channel by channel; shifts in the order r, w, k, v, a and, gated, g."""
    wide, width = mixer.key.out_features, mixer.key.in_features
    shifts = 5 if mixer.gate is None else 6
    lerp = torch.zeros(shifts, width) if mixer.shift is None else mixer.shift.mix
    yield _named("time_mix_lerp_fused.weight", lerp.reshape(shifts, 1, 1, width))
    for name, part, neutral in (
        ("k_k", mixer.removal, 1.0),
        ("k_a", mixer.replacement, 0.0),
        ("r_k", mixer.bonus, 0.0),
    ):
        values = torch.full((wide,), neutral) if part is None else part.reshape(wide)
        yield _named(f"time_mix_{name}.weight", values)
    if mixer.norm is not None:
        yield from _norm("time_mix_ln", mixer.norm)


def _adapters(mixer: RWKV7Weights, *, first: bool) -> Iterator[Named]:
    """Low-rank parts, with a bias `0` and factors `1` and `2`; out = bias + 2 act(1 x).

    The first block has no share of earlier values, and llama.cpp reads one there with the rank of
    the rates.
    """
    missing = mixer.rate.down.shape[1] if first else 1
    wide, width = mixer.key.out_features, mixer.key.in_features
    for letter, part in (("w", mixer.decay), ("a", mixer.rate), ("v", mixer.value_mix)):
        if part is not None:
            assert part.bias is not None  # only a gate has none
            yield _named(f"time_mix_{letter}0.weight", part.bias)
            yield from _factors(letter, part.down, part.up)
        else:
            yield _named(f"time_mix_{letter}0.weight", torch.full((wide,), NEVER))
            yield from _factors(letter, torch.zeros(width, missing), torch.zeros(missing, wide))
    if mixer.gate is not None:
        down: Tensor = mixer.gate.down
        up: Tensor = mixer.gate.up
        if mixer.gate_kind == "one_plus":  # one more inner channel, sigmoid(0) times 2
            down = torch.cat((down, down.new_zeros(width, 1)), 1)
            up = torch.cat((up, up.new_full((1, wide), 2.0)), 0)
        yield from _factors("g", down, up)


def _factors(letter: str, down_DR: Tensor, up_RD: Tensor) -> Iterator[Named]:
    yield _named(f"time_mix_{letter}1.weight", down_DR.T, "narrow")
    yield _named(f"time_mix_{letter}2.weight", up_RD.T, "narrow")


@torch.no_grad()
def finished(matrix: Projection, *, name: str) -> NDArray[np.float32]:
    """The matrix that multiplies the plain input, whatever basis and precision it was trained in.

    Raises ExportError where its ternary method adds a bias, for which llama.cpp has no place.
    """
    weight_OK = matrix.weight
    if matrix.ternary is not None:
        if matrix.ternary.bias(weight_OK) is not None:
            raise ExportError(
                f"precision: the ternary method of {name} adds a bias, which llama.cpp lacks"
            )
        weight_OK = matrix.ternary.planes_of(weight_OK).dense()
    return floats(rotated(weight_OK) if matrix.precision.rotate else weight_OK, name=name)


def _norm(name: str, norm: nn.Module) -> Iterator[Named]:
    for end in ("weight", "bias"):
        if (values := getattr(norm, end, None)) is not None:
            yield _named(f"{name}.{end}", values)


def _named(name: str, values: Tensor, kind: Kind = "exact") -> Named:
    return Named(name, floats(values, name=name), kind)
