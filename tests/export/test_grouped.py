"""Weights of four and eight bits in groups: how near they come, and at what they must not break."""

from __future__ import annotations

import numpy as np
import pytest

from asnn_goose.export.forms import int8_rows
from asnn_goose.export.grouped import grouped
from asnn_goose.format.groups import codes_of, numbers, pack_nibbles, unpack_nibbles


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def left_out(weight_MK: np.ndarray, bits: int) -> float:
    found = numbers(*grouped(weight_MK, bits=bits))
    assert found.dtype == np.float32
    return float(np.linalg.norm(found - weight_MK) / np.linalg.norm(weight_MK))


def test_nibbles_come_back() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (3, 10)).astype(np.uint8)
    packed = pack_nibbles(codes)
    assert packed.shape == (3, 5)
    assert packed[0, 0] == codes[0, 0] + 16 * codes[0, 1]
    assert np.array_equal(unpack_nibbles(packed), codes)


def test_four_bits_leave_out_less_than_even_levels_of_the_same_bytes() -> None:
    """Sixteen levels around 0 and an fp16 scale leave out .0928 at best, of normal numbers .0904."""
    weight = normal(256, 576)
    assert left_out(weight, 4) < 0.087
    lopsided = np.exp(0.5 * normal(64, 256)) - 0.5
    assert left_out(lopsided, 4) < 0.06


def test_eight_bits_in_groups_leave_out_less_than_in_rows() -> None:
    weight = normal(64, 576) * np.repeat(np.exp(normal(64, 9)), 64, axis=1)
    codes, scale = int8_rows(weight)
    by_row = np.linalg.norm(codes * scale[:, None] - weight) / np.linalg.norm(weight)
    assert left_out(weight, 8) < 0.6 * by_row
    assert np.abs(codes_of(grouped(weight, bits=8).weight).astype(int)).max() <= 127


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [1e-35, 1e35])
def test_the_size_of_a_matrix_does_not_matter(bits: int, size: float) -> None:
    weight = normal(5, 70)
    wanted, found = grouped(weight, bits=bits), grouped(weight * np.float32(size), bits=bits)
    assert np.mean(wanted.weight != found.weight) < 0.01
    np.testing.assert_allclose(found.scale / np.float32(size), wanted.scale, rtol=1e-3)


@pytest.mark.parametrize("bits", [4, 8])
def test_groups_of_one_number_or_none_are_kept(bits: int) -> None:
    weight = normal(4, 256)
    weight[:, 64:128] = 0
    weight[:, 128:192] = np.array([0.5, -0.5, 2, -1e-3])[:, None]
    weight[3] = 0
    found = numbers(*grouped(weight, bits=bits))
    assert not found[:, 64:128].any()
    assert not found[3].any()
    np.testing.assert_allclose(found[:2, 128:192], weight[:2, 128:192], rtol=0.01)
    # A group far below its row's largest is coded in 255ths of that one's step.
    assert np.abs(found - weight)[2, 128:192].max() <= 0.01


def test_the_last_group_may_be_short() -> None:
    weight = normal(3, 70) + 3
    for bits, columns in ((4, 35), (8, 70)):
        found = grouped(weight, bits=bits)
        assert found.weight.shape == (3, columns)
        assert found.groups.shape == (3, 2, 3 - bits // 4)
        assert np.abs(numbers(*found) - weight).max() < (0.15 if bits == 4 else 0.03)
