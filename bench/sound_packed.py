"""Small sound packed models of every form, for bench/fuzz_packed.py and the tests of the format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.planes import pack_planes
from asnn_goose.shape.code_limits import GROUP
from asnn_goose.shape.limits import Switch
from asnn_goose.shape.rwkv7 import RANKS
from asnn_goose.shape.settings import MODEL_TYPE, settings_of
from asnn_goose.shape.slots import EMBEDDING, POSITIONS, MatrixSlot, SiteSlot
from asnn_goose.shape.student import layout

SWITCHES = [
    name
    for name, setting in settings_of({"mixer": "rwkv7", "mlp": "gated"}).items()
    if isinstance(setting.packed, Switch)
]
TINY: dict[str, Any] = {
    "model_type": MODEL_TYPE,
    "mixer": "rwkv7",
    "gate": "one_plus",
    "v_first": "mix",
    "mlp": "gated",
    "norm": "rms",
    "hidden_act": "silu",
    **dict.fromkeys(RANKS, 8),
    "vocab_size": 70,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_size": 32,
    "intermediate_size": 128,
    **dict.fromkeys(SWITCHES, True),
    "rope": False,
    "parallel": False,
    "qk_norm": False,
    "norm_place": "before",
    "qk_norm_over": "head",
    "logit_cap": 0.0,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "eos_token_id": 69,
}
OTHERS: tuple[dict[str, Any], ...] = (
    {},
    {"mlp": "channel_mix", "norm": "layer", "tie_word_embeddings": False, "qkv_bias": False},
    {"gate": "none", "v_first": "none", "rope": True, "token_shift": False, "group_norm": False},
    {
        "mlp": "plain",
        "norm_place": "both",
        "parallel": True,
        "logit_cap": 3.0,
        "qk_norm": True,
        "qk_norm_over": "all",
        "n_positions": 24,
        "rope": True,
        "rope_thetas": [0.0, 100.0],
        "rope_channels": 8,
    },
    {"norm_place": "after", "qk_norm": True},
)
"""Changes to TINY that give the sound models."""


def sound(
    config: dict[str, Any], seed: int, *, grouped: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Tensors of every form, and the table of matrices, of a model with random numbers.

    grouped  what would be int8 or fp16 is of eight or four bits in groups of columns
    """
    draw = np.random.default_rng(seed)
    arrays: dict[str, NDArray[Any]] = {}
    matrices: dict[str, Any] = {}
    sites = [slot for slot in layout(config) if isinstance(slot, SiteSlot)]
    others = [slot for slot in layout(config) if not isinstance(slot, SiteSlot)]
    for number, slot in enumerate(others):
        if not isinstance(slot, MatrixSlot):
            arrays[slot.name] = draw.normal(size=slot.shape).astype(np.float32)
            continue
        ternary = slot.projection and number % 4
        if grouped and not ternary and number % 3 != 1 and slot.name != POSITIONS:
            arrays |= _grouped(slot, 4 if number % 2 == 0 else 8, draw)
        else:
            arrays |= _matrix(slot, number, draw)
        if slot.projection and number % 3:
            steps = 1 + number % 3
            rotate = number % 2 == 0 and slot.columns % GROUP == 0
            matrices[slot.name] = {"steps": steps, "code": "radix3", "rotate": rotate}
            arrays |= _spikes(slot.name, steps, fixed=number % 5 == 0)
    for number, site in enumerate(sites[1:], start=seed):
        steps = 1 + number % 2
        matrices[site.name] = {"steps": steps, "code": "radix2", "rotate": False}
        arrays |= _spikes(site.name, steps, fixed=number % 3 > 0)
    return arrays, matrices


def _spikes(name: str, steps: int, *, fixed: bool) -> dict[str, NDArray[Any]]:
    if not fixed:
        return {f"{name}.threshold": np.array([2], np.float32)}
    found = {f"{name}.amplitude": np.array([0.5], np.float32)}
    return found | ({f"{name}.fires": np.array([0], np.float32)} if steps == 1 else {})


def _grouped(slot: MatrixSlot, bits: int, draw: np.random.Generator) -> dict[str, NDArray[Any]]:
    name, rows, columns = slot.name, slot.rows, slot.columns
    found: dict[str, NDArray[Any]] = {f"{name}.scale": np.full(rows, 1e-5, np.float32)}
    sizes = (rows, -(-columns // GROUP), 2 if bits == 4 else 1)
    found[f"{name}.groups"] = draw.integers(0, 256, sizes).astype(np.uint8)
    if bits == 4:
        found[f"{name}.weight"] = draw.integers(0, 256, (rows, columns // 2)).astype(np.uint8)
    else:
        found[f"{name}.weight"] = draw.integers(-127, 128, (rows, columns)).astype(np.int8)
    if slot.bias:
        found[f"{name}.bias"] = draw.normal(size=rows).astype(np.float32)
    return found


def _matrix(slot: MatrixSlot, number: int, draw: np.random.Generator) -> dict[str, NDArray[Any]]:
    name, rows, columns = slot.name, slot.rows, slot.columns
    weight = 0.2 * draw.normal(size=(rows, columns))
    found: dict[str, NDArray[Any]]
    if slot.projection and number % 4:
        planes, groups = 1 + number % 2, 1 + (columns == 128)
        codes = draw.integers(-1, 2, (planes, rows, columns)).astype(np.int8)
        scales = np.full((planes, groups, rows), 0.1, np.float32)
        found = {f"{name}.planes": pack_planes(codes), f"{name}.scale": scales}
    elif number % 3 == 0:
        found = {f"{name}.weight": (600 * weight).clip(-127, 127).astype(np.int8)}
        found[f"{name}.scale"] = np.full(rows, 1e-3, np.float32)
    else:
        rows_only = name in (EMBEDDING, POSITIONS)
        kind = np.float32 if number % 3 == 1 and not rows_only else np.float16
        found = {f"{name}.weight": weight.astype(kind)}
    if slot.bias or (number % 2 and f"{name}.planes" in found):
        found[f"{name}.bias"] = draw.normal(size=rows).astype(np.float32)
    return found
