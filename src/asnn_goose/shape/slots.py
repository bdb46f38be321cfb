"""Which tensors a configuration asks for, and in which shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EMBEDDING, HEAD = "embedding", "lm_head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A matrix (rows, columns) that may come in several forms.

    projection  may be ternary, with spikes and rotation; low-rank factors and the embedding not
    bias        whether `NAME.bias` goes with it in any form
    optional    may be left out whole: the head where the embedding serves
    """

    name: str
    rows: int
    columns: int
    projection: bool = False
    bias: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """An F32 tensor of a given shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A vector of so many columns that may become spikes with no matrix behind it."""

    name: str
    columns: int


Slot = Matrix | Vector | Site


def layout(settings: dict[str, Any]) -> Iterator[Slot]:
    """Every part of a model with these (checked) settings, from the embedding to the head."""
    width, vocabulary = settings["hidden_size"], settings["vocab_size"]
    yield Matrix(name=EMBEDDING, rows=vocabulary, columns=width)
    if settings["embedding_norm"]:
        yield from _norm("embedding_norm", settings)
    for layer in range(settings["num_hidden_layers"]):
        place = f"blocks.{layer}"
        yield from _norm(f"{place}.mixer_norm", settings)
        yield from _mixer(f"{place}.mixer", settings, first=layer == 0)
        yield from _norm(f"{place}.mlp_norm", settings)
        yield from _mlp(f"{place}.mlp", settings)
    yield from _norm("final_norm", settings)
    tied = settings["tie_word_embeddings"]
    yield Matrix(name=HEAD, rows=vocabulary, columns=width, projection=True, optional=tied)


def _norm(name: str, settings: dict[str, Any]) -> Iterator[Slot]:
    yield Vector(name=f"{name}.weight", shape=(settings["hidden_size"],))
    if settings["norm"] == "layer":
        yield Vector(name=f"{name}.bias", shape=(settings["hidden_size"],))


def _mixer(place: str, settings: dict[str, Any], *, first: bool) -> Iterator[Slot]:
    width, heads, size = (
        settings[name] for name in ("hidden_size", "num_attention_heads", "head_size")
    )
    inner, gated = heads * size, settings["gate"] != "none"
    for name in ("receptance", "key", "value"):
        bias = settings["qkv_bias"]
        yield _projection(f"{place}.{name}", rows=inner, columns=width, bias=bias)
    for name in ("k", "v"):
        yield Site(name=f"{place}.{name}", columns=inner)
    bias = settings["output_bias"]
    yield _projection(f"{place}.output", rows=width, columns=inner, bias=bias)
    yield from _low_rank(f"{place}.decay", width, settings["decay_rank"], inner)
    yield from _low_rank(f"{place}.rate", width, settings["rate_rank"], inner)
    if not first and settings["v_first"] != "none":
        yield from _low_rank(f"{place}.value_mix", width, settings["value_rank"], inner)
    if gated:
        yield from _low_rank(f"{place}.gate", width, settings["gate_rank"], inner, bias=False)
    for setting, name, shape in (
        ("token_shift", "shift.mix", (6 if gated else 5, width)),
        ("removal_key", "removal", (inner,)),
        ("key_replacement", "replacement", (inner,)),
        ("bonus", "bonus", (heads, size)),
        ("group_norm", "norm.weight", (inner,)),
        ("group_norm", "norm.bias", (inner,)),
    ):
        if settings[setting]:
            yield Vector(name=f"{place}.{name}", shape=shape)


def _mlp(place: str, settings: dict[str, Any]) -> Iterator[Slot]:
    width, inner, bias = (
        settings[name] for name in ("hidden_size", "intermediate_size", "mlp_bias")
    )
    into, out = (("gate", "up"), "down") if settings["mlp"] == "gated" else (("key",), "value")
    for name in into:
        yield _projection(f"{place}.{name}", rows=inner, columns=width, bias=bias)
    yield _projection(f"{place}.{out}", rows=width, columns=inner, bias=bias)
    if settings["mlp"] == "channel_mix" and settings["token_shift"]:
        yield Vector(name=f"{place}.shift.mix", shape=(1, width))


def _projection(name: str, *, rows: int, columns: int, bias: bool) -> Matrix:
    return Matrix(name=name, rows=rows, columns=columns, projection=True, bias=bias)


def _low_rank(name: str, width: int, rank: int, out: int, *, bias: bool = True) -> Iterator[Slot]:
    yield Matrix(name=f"{name}.down", rows=rank, columns=width)
    yield Matrix(name=f"{name}.up", rows=out, columns=rank)
    if bias:
        yield Vector(name=f"{name}.bias", shape=(out,))
