"""The numpy oracle against the student in PyTorch, for every switch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.infer.reference.matrix import Matrix
from asnn_goose.infer.reference.model import Reference
from asnn_goose.infer.reference.spikes import (
    digits,
    encode,
    hadamard,
    largest_level,
)

Make = Callable[..., Any]

SWITCHES: list[dict[str, Any]] = [
    {},
    {"gate": "one_plus", "v_first": "detached"},
    {"gate": "none", "v_first": "none"},
    {"token_shift": False},
    {"token_shift": False, "value_shift": True},
    {"value_shift": True, "qkv_bias": True, "mlp": "gated"},
    {"token_shift": False, "gate": "none", "mlp": "gated"},
    {"removal_key": False},
    {"key_replacement": False},
    {"bonus": False, "group_norm": False},
    {"rope": True, "rope_theta": 500.0},
    {"norm": "rms", "norm_eps": 1e-3, "embedding_norm": False},
    {"qkv_bias": True, "output_bias": True, "mlp_bias": True},
    {"mlp": "gated", "mlp_bias": True, "tie_word_embeddings": True},
    {"mlp": "gated", "hidden_act": "gelu"},
    {"mlp": "gated", "hidden_act": "gelu_new"},
    {"mlp": "gated", "hidden_act": "gelu_pytorch_tanh"},
    {"mlp": "gated", "hidden_act": "relu"},
    {"mlp": "plain", "hidden_act": "gelu_new", "mlp_bias": True, "n_positions": 64},
    {"qk_norm": True, "rope": True, "rope_channels": 16, "norm_eps": 1e-3},
    {"qk_norm": True, "qk_norm_over": "all", "rope": True, "rope_thetas": [0.0, 300.0, 50.0]},
    {"norm_place": "after", "norm": "rms", "mlp": "gated"},
    {"norm_place": "both", "logit_cap": 0.5},
    {"parallel": True, "mlp": "plain"},
    {"parallel": True, "norm_place": "both", "norm": "rms"},
    {"decay_rank": 8, "rate_rank": 4, "value_rank": 2, "gate_rank": 16},
    {
        "mlp": "gated",
        "norm": "rms",
        "rope": True,
        "gate": "one_plus",
        "embedding_norm": False,
        "tie_word_embeddings": True,
        "qkv_bias": True,
    },
]


def logits_of(model: Any, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(input_ids=torch.tensor(ids)[None]).logits[0])


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: " ".join(s) or "published")
def test_logits_are_those_of_pytorch(
    switches: dict[str, Any], student: Make, packed: Make, ids: np.ndarray
) -> None:
    model = student(**switches)
    reference = Reference(packed(model))
    found = reference.forward([reference.new_state()], [ids], every=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits_of(model, ids), atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_padded_rows_of_a_vocabulary_are_not_packed(
    tied: bool, student: Make, packed: Make, ids: np.ndarray
) -> None:
    model, ids = student(real_vocab_size=90, tie_word_embeddings=tied), ids % 90
    small = packed(model)
    assert small.config["vocab_size"] == 90
    reference = Reference(small)
    found = reference.forward([reference.new_state()], [ids], every=True)
    wanted = logits_of(model, ids)
    assert (wanted[:, 90:] == -np.inf).all()
    np.testing.assert_allclose(found, wanted[:, :90], atol=1e-4)


SITE = {"steps": 2, "code": "radix3", "threshold": 3.0}
PRECISIONS: list[dict[str, Any]] = [
    {"k": SITE, "v": SITE | {"steps": 1, "threshold": 0.5}},
    {"*": {"planes": 2, "steps": 3, "threshold": 3.0}, "1.k": SITE, "0.v": SITE | {"code": "rate"}},
    {"*": {"planes": 1}},
    {"*": {"steps": 1, "threshold": 0.5}},
    {"*": {"planes": 2, "group": 64, "steps": 3, "code": "radix3", "threshold": 3.0}},
    {"*": {"planes": 1, "steps": 4, "code": "radix2", "threshold": 3.0, "rotate": True}},
    {"down": {"planes": 2, "steps": 8, "code": "rate"}, "1.*": {"planes": 1, "rotate": True}},
]


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_spikes_and_ternary_weights_are_those_of_pytorch(
    precision: dict[str, Any], student: Make, packed: Make, ids: np.ndarray
) -> None:
    model = student(mlp="gated", precision=precision)
    reference = Reference(packed(model))
    found = reference.forward([reference.new_state()], [ids], every=True)
    np.testing.assert_allclose(found, logits_of(model, ids), atol=1e-3)


def test_several_states_and_the_last_logits_only(
    student: Make, packed: Make, ids: np.ndarray
) -> None:
    model = student()
    reference = Reference(packed(model))
    states = [reference.new_state(), reference.new_state()]
    found = reference.forward(states, [ids[:5], ids[5:]], every=False)
    expected = [logits_of(model, part)[-1] for part in (ids[:5], ids[5:])]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [state.position for state in states] == [5, len(ids) - 5]


def test_an_unknown_activation_is_named(student: Make, packed: Make) -> None:
    model = packed(student(mlp="gated"))
    strange = dataclasses.replace(model, config=model.config | {"hidden_act": "mish"})
    with pytest.raises(ValueError, match="hidden_act = 'mish': must be silu or swish"):
        Reference(strange)


def test_the_rotation_is_an_orthonormal_symmetric_matrix() -> None:
    rotation = np.stack([hadamard(row) for row in np.eye(64, dtype=np.float32)])
    np.testing.assert_array_equal(np.abs(rotation), np.float32(0.125))
    np.testing.assert_array_equal(rotation, rotation.T)
    np.testing.assert_array_equal(rotation @ rotation, np.eye(64, dtype=np.float32))
    sylvester = np.array(
        [[1 - 2 * ((i & j).bit_count() % 2) for j in range(64)] for i in range(64)]
    )
    np.testing.assert_array_equal(rotation * 8, sylvester)


def test_blocks_of_64_rotate_on_their_own(rng: np.random.Generator) -> None:
    x_K = rng.standard_normal(128, np.float32)
    np.testing.assert_array_equal(hadamard(x_K)[64:], hadamard(x_K[64:]))


CODES = [("rate", 1), ("rate", 8), ("radix2", 1), ("radix2", 6), ("radix3", 1), ("radix3", 4)]


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_digits_add_up_to_the_levels(code: str, steps: int) -> None:
    most = largest_level(steps, code)
    levels = np.arange(-most, most + 1)
    spikes, weights = digits(levels, steps=steps, code=code)
    assert set(np.unique(spikes)) <= {-1, 0, 1}
    np.testing.assert_array_equal(weights @ spikes, levels)


def test_one_step_is_sign_and_mean_of_those_above_the_threshold() -> None:
    x_K = np.array([4, -2, 1, -1], np.float32)  # mean magnitude 2
    encoded = encode(x_K, steps=1, code="radix3", threshold=0.75)
    assert encoded.levels_K.tolist() == [1, -1, 0, 0]
    assert encoded.amplitude == 3
    none = encode(np.ones(4, np.float32), steps=1, code="rate", threshold=1.0)
    assert (none.levels_K.tolist(), none.amplitude) == ([0, 0, 0, 0], 0)


def test_levels_are_rounded_half_to_even_and_clipped() -> None:
    x_K = np.array([2.5, 1.5, -0.5, -9, 1.0, 0.5, 0.5, 0.5], np.float32)  # mean magnitude 2
    encoded = encode(x_K, steps=2, code="radix3", threshold=2.0)  # amplitude 4 / 4
    assert encoded.amplitude == 1
    assert encoded.levels_K.tolist() == [2, 2, 0, -4, 1, 0, 0, 0]


@pytest.mark.parametrize("steps", [1, 3])
def test_silence_stays_silent(steps: int) -> None:
    encoded = encode(np.zeros(5, np.float32), steps=steps, code="radix2", threshold=0.7)
    assert (encoded.levels_K.tolist(), encoded.amplitude) == ([0] * 5, 0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def planes_of(codes_PMK: np.ndarray) -> np.ndarray:
    """Bit planes, one bit at a time."""
    planes, rows, columns = codes_PMK.shape
    words = np.zeros((planes, -(-rows // 64), columns, 2), np.uint64)
    for plane, row, column in np.argwhere(codes_PMK):
        bit = np.uint64(1) << np.uint64(row % 64)
        words[plane, row // 64, column, 1] |= bit
        if codes_PMK[plane, row, column] > 0:
            words[plane, row // 64, column, 0] |= bit
    return words


@pytest.fixture
def ternary(rng: np.random.Generator) -> dict[str, np.ndarray]:
    codes = rng.integers(-1, 2, (2, 70, 128))
    scale = rng.random((2, 2, 70), np.float32)
    bias = rng.standard_normal(70, np.float32)
    return {
        "codes": codes,
        "m.planes": planes_of(codes),
        "m.scale": scale,
        "m.bias": bias,
        "m.threshold": np.array([1.5], np.float32),
    }


def whole(ternary: dict[str, np.ndarray]) -> np.ndarray:
    """The dense matrix that the planes stand for, in float64."""
    scale_PMK = np.repeat(ternary["m.scale"].astype(np.float64).swapaxes(1, 2), 64, axis=2)
    return np.asarray((ternary["codes"] * scale_PMK).sum(0))


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize(("code", "steps"), [("radix3", 0), *CODES])
def test_a_ternary_product_is_that_of_its_dense_matrix(
    code: str, steps: int, rotate: bool, ternary: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    x_K = rng.standard_normal(128, np.float32)
    matrix = Matrix("m", ternary, {"steps": steps, "code": code, "rotate": rotate})
    h_K = hadamard(x_K) if rotate else x_K
    if steps:
        encoded = encode(h_K, steps=steps, code=code, threshold=1.5)
        h_K = encoded.amplitude * encoded.levels_K
    expected = whole(ternary) @ h_K.astype(np.float64) + ternary["m.bias"]
    np.testing.assert_allclose(matrix(x_K), expected, rtol=1e-4, atol=1e-4)


def test_spikes_are_counted(ternary: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    matrix = Matrix("m", ternary, {"steps": 3, "code": "rate"})
    matrix(np.zeros(128, np.float32))
    assert matrix.neurons.spikes == (0, 384)
    x_K = rng.standard_normal(128, np.float32)
    matrix(x_K)
    levels_K = encode(x_K, steps=3, code="rate", threshold=1.5).levels_K
    assert matrix.neurons.spikes == (np.abs(levels_K).sum(), 768)


def test_half_and_byte_weights(rng: np.random.Generator) -> None:
    x_K = rng.standard_normal(8, np.float32)
    half = rng.standard_normal((3, 8)).astype(np.float16)
    np.testing.assert_array_equal(Matrix("m", {"m.weight": half})(x_K), half.astype("f4") @ x_K)
    byte, scale = rng.integers(-127, 128, (3, 8)).astype(np.int8), rng.random(3, np.float32)
    matrix = Matrix("m", {"m.weight": byte, "m.scale": scale})
    np.testing.assert_allclose(matrix(x_K), (byte * scale[:, None]) @ x_K, rtol=1e-5)
    np.testing.assert_array_equal(matrix.row(1), byte[1] * scale[1])


def test_dense_weights_see_spikes_as_their_values(rng: np.random.Generator) -> None:
    x_K, weight = rng.standard_normal(8, np.float32), rng.standard_normal((3, 8), np.float32)
    tensors = {"m.weight": weight, "m.threshold": np.array([1], np.float32)}
    encoded = encode(x_K, steps=2, code="radix2", threshold=1.0)
    found = Matrix("m", tensors, {"steps": 2, "code": "radix2"})(x_K)
    np.testing.assert_allclose(found, weight @ (encoded.amplitude * encoded.levels_K), rtol=1e-5)
