"""A packed student with random weights: real shapes, so that its speed can be measured untrained.

Norms, decays and mixes are at neutral values, and every matrix keeps the size of its input, so
that activations stay those of a working model however deep it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose.eval.firing_rate import gaussian_threshold, with_density, with_spread
from asnn_goose.eval.speed import random_tokens
from asnn_goose.format.groups import ZEROES, pack_nibbles
from asnn_goose.format.packed import PackedModel, write_packed
from asnn_goose.format.planes import pack_planes
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.parts.precision import Precision
from asnn_goose.shape.code_limits import GROUP
from asnn_goose.shape.slots import EMBEDDING, MatrixSlot, SiteSlot, VectorSlot
from asnn_goose.shape.student import layout

if TYPE_CHECKING:
    from asnn_goose.infer.backend import BackendName

Arrays = dict[str, NDArray[Any]]
Form = Callable[[int, int, Precision, np.random.Generator], Arrays]

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {
        "vocab_size": 257,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_size": 32,
        "intermediate_size": 128,
    },
    # SmolLM2-135M, with the published ranks: decay 64, rate 64, value 32, gate 128.
    "135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "head_size": 64,
        "intermediate_size": 1536,
    },
}

PARTS: dict[str, Any] = {
    "mlp": "gated",
    "norm": "rms",
    "embedding_norm": False,
    "tie_word_embeddings": True,
}
"""What a student converted from a Llama has."""

NEUTRAL = {
    "shift.mix": 0.5,
    "removal": 0.7,
    "replacement": 1.0,
    "bonus": 0.1,
    "decay.bias": -2.0,
    "bias": 0.0,
    "weight": 1.0,
}
"""Vectors by the end of their names; the first that fits counts."""

SURVIVORS = 0.62
"""Share of ternary weights that are not zero, as absmean leaves them of a Gaussian matrix."""

LOGITS = 3.0
"""Standard deviation of the logits: about as peaked as a trained model's."""

CALIBRATION = 64
"""Tokens on which thresholds of a random student are set."""

SPREAD = 3.8
"""Deviation of its logits in nats: Gaussian ones over 49 152 words then have an entropy of 3.6, as
those of a small trained model. Flat logits would cost a screened head more than real ones do."""


@dataclass(frozen=True, kw_only=True)
class Random:
    """A random student: shape by name, precision of its block matrices, wanted density.

    dense  form of block matrices without planes: f16, int8 or int4
    head   form of the embedding, which is the head too: int8 or int4
    """

    shape: str = "135m"
    planes: int = 1
    steps: int = 1
    code: str = "radix3"
    group: int = 0
    density: float = 0.3
    dense: str = "f16"
    head: str = "int8"


def write_random(folder: Path, wanted: Random, *, backend: BackendName = "native") -> None:
    """Write a packed student of random weights. Raises ValueError for an unknown shape."""
    if wanted.shape not in SHAPES:
        raise ValueError(f"random = {wanted.shape!r}: choose one of {', '.join(SHAPES)}")
    model = random_model(SHAPES[wanted.shape], wanted, backend=backend)
    write_packed(folder, model.config, model.tensors, model.matrices)


def random_model(
    sizes: Mapping[str, int], wanted: Random, *, backend: BackendName = "native"
) -> PackedModel:
    """Random weights in these sizes of a GooseConfig, firing as often as wanted; in memory."""
    precision = Precision(
        planes=wanted.planes,
        group=wanted.group,
        steps=wanted.steps,
        code=wanted.code,
        threshold=gaussian_threshold(wanted.density),
        rotate=wanted.steps > 0,
    )
    config, tensors, matrices = random_student(
        sizes, precision, dense=wanted.dense, head=wanted.head
    )
    model = PackedModel(folder=Path(), config=config, tensors=tensors, matrices=matrices, crc32="")
    ids = random_tokens(CALIBRATION, vocabulary=config["vocab_size"])
    if wanted.steps:
        # Density before spread: thresholds decide how large the final hidden states come out.
        model = with_density(model, wanted.density, tokens=ids, backend=backend)
    return with_spread(model, SPREAD, tokens=ids, backend=backend)


class RandomStudent(NamedTuple):
    """What `format.packed.write_packed` takes."""

    config: dict[str, Any]
    tensors: Arrays
    matrices: dict[str, dict[str, Any]]


def random_student(
    shape: Mapping[str, int],
    precision: Precision,
    *,
    seed: int = 0,
    dense: str = "f16",
    head: str = "int8",
) -> RandomStudent:
    """Random weights in the formats that export chooses by default.

    shape      sizes of a GooseConfig, such as a row of SHAPES
    precision  of all block matrices
    dense      their form without planes, head that of the embedding, which the head shares

    Raises ValueError for sizes that do not fit together, or an unknown form.
    """
    for setting, chosen, known in (("dense", dense, DENSE), ("head", head, HEADS)):
        if chosen not in known:
            raise ValueError(f"{setting} = {chosen!r}: choose one of {', '.join(known)}")
    large = ternary if precision.planes else DENSE[dense]
    settings: dict[str, Any] = GooseConfig(**{**shape, **PARTS}).to_dict()
    random, arrays = np.random.default_rng(seed), Arrays()
    matrices: dict[str, dict[str, Any]] = {}
    for slot in layout(settings):
        # No spikes at sites, and a tied head, as most students have it.
        if isinstance(slot, SiteSlot) or (isinstance(slot, MatrixSlot) and slot.optional):
            continue
        found = _fill(slot, precision, random, HEADS[head] if slot.name == EMBEDDING else large)
        arrays |= {f"{slot.name}{end}": array for end, array in found.items()}
        if isinstance(slot, MatrixSlot) and slot.projection and not precision.plain:
            matrices[slot.name] = {
                "steps": precision.steps,
                "code": precision.code,
                "rotate": precision.rotate,
            }
    return RandomStudent(settings, arrays, matrices)


def _fill(
    slot: MatrixSlot | VectorSlot, precision: Precision, random: np.random.Generator, form: Form
) -> Arrays:
    """The tensors of one slot, by what follows its name; low-rank factors are int8 always."""
    if isinstance(slot, VectorSlot):
        value = next(number for end, number in NEUTRAL.items() if slot.name.endswith(end))
        return {"": np.full(slot.shape, value, np.float32)}
    gain = LOGITS if slot.name == EMBEDDING else 1.0
    if slot.part == "low-rank":
        form = int8
    weights = form(slot.rows, slot.columns, precision, random)
    for end in ".weight", ".scale":
        if gain != 1 and end in weights and weights[end].dtype == np.float32:
            weights[end] *= np.float32(gain)
    if not (slot.projection and precision.steps):
        return weights
    return weights | {".threshold": np.array([precision.threshold], np.float32)}


def fp16(rows: int, columns: int, _: Precision, random: np.random.Generator) -> Arrays:
    """A Gaussian matrix (rows, columns) that keeps the size of its input."""
    # Outputs keep the size of inputs, or thirty layers would end in zeros or infinities, which run
    # at another speed.
    weight = random.standard_normal((rows, columns), np.float32) * columns**-0.5
    return {".weight": weight.astype(np.float16)}


def int8(rows: int, columns: int, _: Precision, random: np.random.Generator) -> Arrays:
    """Gaussian codes (rows, columns), with a scale for each row."""
    codes = (32 * random.standard_normal((rows, columns), np.float32)).clip(-127, 127)
    scale = np.full(rows, columns**-0.5 / 32, np.float32)
    return {".weight": codes.astype(np.int8), ".scale": scale}


def int4(rows: int, columns: int, _: Precision, random: np.random.Generator) -> Arrays:
    """Gaussian codes (rows, columns) of four bits around 7.5, in groups that are all alike."""
    codes = (2.7 * random.standard_normal((rows, columns), np.float32) + 8).clip(0, 15)
    groups = np.ones((rows, -(-columns // GROUP), 2), np.uint8)
    groups[..., 1] = 7.5 * ZEROES
    scale = np.full(rows, columns**-0.5 / 2.7, np.float32)
    return {".weight": pack_nibbles(codes.astype(np.uint8)), ".scale": scale, ".groups": groups}


DENSE: dict[str, Form] = {"f16": fp16, "int8": int8, "int4": int4}
HEADS: dict[str, Form] = {"int8": int8, "int4": int4}
"""Forms of block matrices without planes, and of an embedding that is the head too."""


def ternary(rows: int, columns: int, precision: Precision, random: np.random.Generator) -> Arrays:
    """Random codes in `planes` planes, with a scale per row and group of columns."""
    planes, groups = precision.planes, columns // (precision.group or columns)
    drawn = random.random((planes, rows, columns), np.float32)
    sign = np.where(drawn < SURVIVORS / 2, -1, 1).astype(np.int8)
    codes = sign * (drawn < SURVIVORS)
    scale = np.empty((planes, groups, rows), np.float32)
    # A second plane at half the scale, about where absmean finds it.
    scale[:] = (SURVIVORS * columns) ** -0.5 * 0.5 ** np.arange(planes)[:, None, None]
    return {".planes": pack_planes(codes), ".scale": scale}
