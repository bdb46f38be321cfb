"""Products with weights of four and eight bits: every instruction set gives numpy's integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.groups import numbers
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.reference.matrix import Matrix, octets

native: Any = pytest.importorskip("asnn_goose._native")

SHAPES = [(576, 576), (70, 64), (33, 1536), (5, 100), (1, 2), (3, 4160)]


@pytest.fixture(params=native.isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ASNN_GOOSE_ISA", request.param)
    return str(request.param)


def stored(M: int, K: int, *, bits: int) -> dict[str, np.ndarray]:
    """Codes from end to end of what they may be, with sizes and zeros of all kinds."""
    draw, G = np.random.default_rng(M + K), -(-K // 64)
    if bits == 4:
        weight = draw.integers(0, 256, (M, K // 2)).astype(np.uint8)
    else:
        weight = draw.integers(-127, 128, (M, K)).astype(np.int8)
    groups = draw.integers(0, 256, (M, G, 2 if bits == 4 else 1)).astype(np.uint8)
    scale = draw.random(M).astype(np.float32) + np.float32(0.1)
    return {"x.weight": weight, "x.scale": scale, "x.groups": groups}


def multiplied(arrays: dict[str, np.ndarray], x: np.ndarray, M: int) -> np.ndarray:
    y = np.full((len(x), M), np.nan, np.float32)
    matrix = native.DenseMatrix(described(arrays), "x", M, x.shape[1])
    matrix.multiply(x.ctypes.data, y.ctypes.data, len(x))
    return y


def described(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    kinds = {"uint8": "U8", "int8": "I8", "float32": "F32"}
    return {n: (a.ctypes.data, kinds[a.dtype.name], list(a.shape)) for n, a in arrays.items()}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("M", "K"), SHAPES)
def test_whole_numbers_stay_whole(isa: str, M: int, K: int, bits: int) -> None:
    """Inputs that are whole bytes, sizes and scales of one, zeros of whole codes."""
    arrays = stored(M, K, bits=bits)
    arrays["x.scale"][:] = 1
    arrays["x.groups"][..., 0] = 1
    arrays["x.groups"][..., 1:] //= 16
    arrays["x.groups"][..., 1:] *= 16
    x = np.random.default_rng(1).integers(-127, 128, (3, K)).astype(np.float32)
    x[:, ::64] = -127  # so that a group's amplitude is one
    x[1] = np.where(x[1] > 0, 127, -127)
    wanted = x.astype(np.float64) @ numbers(*arrays.values()).astype(np.float64).T  # weight, scale
    np.testing.assert_array_equal(multiplied(arrays, x, M), wanted)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_sums_do_not_overflow(isa: str, bits: int) -> None:
    arrays, x = stored(4, 128, bits=bits), np.full((2, 128), 127, np.float32)
    arrays["x.scale"][:] = 1
    arrays["x.groups"][:] = 0
    arrays["x.groups"][..., 0] = 1
    arrays["x.weight"][:] = 255 if bits == 4 else 127
    arrays["x.weight"][1:2] = 0 if bits == 4 else -127
    x[1] = -127
    highest, lowest = (15, 0) if bits == 4 else (127, -127)
    wanted = 128 * 127 * np.array([highest, lowest, highest, highest])
    np.testing.assert_array_equal(multiplied(arrays, x, 4), [wanted, -wanted])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("M", "K"), SHAPES)
def test_it_is_what_the_oracle_computes(isa: str, M: int, K: int, bits: int) -> None:
    arrays = stored(M, K, bits=bits)
    x = np.random.default_rng(2).standard_normal((2, K)).astype(np.float32)
    x[:, : K // 2] *= 30
    oracle = np.stack([Matrix("x", arrays)(row) for row in x])
    size = np.abs(oracle).max()
    np.testing.assert_allclose(multiplied(arrays, x, M), oracle, rtol=0, atol=2e-6 * size * K**0.5)


@pytest.mark.parametrize("bits", [4, 8])
def test_halves_round_to_even_and_no_numbers_are_silent(isa: str, bits: int) -> None:
    """Read through a matrix that is the identity."""
    K = 64
    arrays = stored(K, K, bits=bits)
    arrays["x.scale"][:] = 1
    arrays["x.groups"][:] = 0
    arrays["x.groups"][..., 0] = 1
    one = np.eye(K, dtype=np.uint8)
    arrays["x.weight"] = one[:, ::2] | one[:, 1::2] << 4 if bits == 4 else one.astype(np.int8)
    x = np.zeros((5, K), np.float32)
    x[0, :6] = [127, 0.5, 1.5, -2.5, 63.5, -126.5]
    x[1, :4] = [np.nan, 254, 3, -5]
    x[2, :3] = [np.inf, 1, -np.inf]
    x[3, :2] = [1e-42, 1e-42]
    y = multiplied(arrays, x, K)
    np.testing.assert_array_equal(y[0, :6], [127, 0, 2, -2, 64, -126])
    np.testing.assert_array_equal(y[1, :4], [0, 254, 4, -4])
    assert not y[2:].any()
    for row, found in zip(x, y, strict=True):
        codes, amplitude = octets(row)
        np.testing.assert_array_equal(codes[0] * amplitude[0], found)


def test_wrong_arrays_are_named() -> None:
    arrays = stored(4, 64, bits=4)
    for change, words in (
        ({"x.groups": arrays["x.groups"][..., :1].copy()}, r"'x.groups' is U8 \[4, 1, 1\]"),
        ({"x.weight": arrays["x.weight"][:, 1:].copy()}, r"'x.weight' is U8 \[4, 31\]"),
        ({"x.scale": arrays["x.scale"][1:].copy()}, r"'x.scale' is F32 \[3\]"),
    ):
        changed = arrays | change
        with pytest.raises(ValueError, match=words):
            native.DenseMatrix(described(changed), "x", 4, 64)
    with pytest.raises(ValueError, match=r"'x' has 63 columns of four bits: an even number"):
        native.DenseMatrix(described(arrays), "x", 4, 63)


FORMS = {
    "int4": PackSettings(dense="int4", low_rank="int4", head="int4"),
    "int8": PackSettings(dense="int8"),
}


def scores(packed: PackedModel, ids: np.ndarray, **options: Any) -> np.ndarray:
    engine = Engine(packed, **options)
    return np.concatenate(list(engine.score(engine.start(), ids)))


SPIKES = {"down": {"steps": 3, "threshold": 4.0, "rotate": True}}


@pytest.mark.parametrize(
    ("precision", "near"), [({}, 0.01), (SPIKES, 0.1)], ids=["plain", "spikes"]
)
@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_a_student_agrees_with_the_oracle(
    student: Any,
    ids: np.ndarray,
    settings: PackSettings,
    precision: Any,
    near: float,
    isa: str,
    tmp_path: Path,
) -> None:
    """A byte of an input may round apart, and move a spike: all but a few logits agree closely."""
    shape = {"mlp": "gated", "num_hidden_layers": 2, "num_attention_heads": 5}
    model = student(**shape, precision=precision)
    export_packed(model, tmp_path / "packed", settings=settings)
    packed = read_packed(tmp_path / "packed")
    wanted = scores(packed, ids, backend="reference")
    apart = np.abs(scores(packed, ids, threads=1) - wanted)
    assert np.quantile(apart, 0.9) < near * wanted.std()
    assert apart.max() < 5 * near * wanted.std()


def test_a_tied_embedding_of_four_bits_serves_both_ends(
    student: Any, ids: np.ndarray, tmp_path: Path
) -> None:
    model = student(tie_word_embeddings=True, num_hidden_layers=1)
    export_packed(model, tmp_path / "packed", settings=FORMS["int4"])
    packed = read_packed(tmp_path / "packed")
    assert not any(name.startswith("lm_head") for name in packed.tensors)
    wanted = scores(packed, ids, backend="reference")
    np.testing.assert_allclose(scores(packed, ids, threads=1), wanted, atol=0.02 * wanted.std())
    doubled = packed.tensors | {"embedding.scale": 2 * packed.tensors["embedding.scale"]}
    assert np.abs(scores(replace(packed, tensors=doubled), ids, threads=1) - wanted).max() > 0.1
