"""Weights of four bits in groups: how near they come, and at what they must not break."""

from __future__ import annotations

import numpy as np
import pytest

from asnn_goose.export.grouped import grouped
from asnn_goose.format.groups import numbers, pack_nibbles, unpack_nibbles


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def left_out(weight_MK: np.ndarray) -> float:
    found = numbers(*grouped(weight_MK))
    assert found.dtype == np.float32
    return float(np.linalg.norm(found - weight_MK) / np.linalg.norm(weight_MK))


def test_nibbles_come_back() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (3, 10)).astype(np.uint8)
    packed = pack_nibbles(codes)
    assert packed.shape == (3, 5)
    assert packed[0, 0] == codes[0, 0] + 16 * codes[0, 1]
    assert np.array_equal(unpack_nibbles(packed), codes)


def test_it_leaves_out_less_than_even_levels_of_the_same_bytes() -> None:
    """Levels around 0 with an fp16 scale leave out .0904 of normal numbers at best."""
    assert left_out(normal(256, 576)) < 0.087
    assert left_out(np.exp(0.5 * normal(64, 256)) - 0.5) < 0.064  # lopsided ones


@pytest.mark.parametrize("size", [1e-35, 1e35])
def test_the_size_of_a_matrix_does_not_matter(size: float) -> None:
    weight = normal(5, 70)
    wanted, found = grouped(weight), grouped(weight * np.float32(size))
    assert np.mean(wanted.weight != found.weight) < 0.01
    np.testing.assert_allclose(found.scale / np.float32(size), wanted.scale, rtol=1e-3)


def test_groups_of_one_number_or_none_are_kept() -> None:
    weight = normal(4, 256)
    weight[:, 64:128] = 0
    weight[:, 128:192] = np.array([0.5, -0.5, 2, -1e-3])[:, None]
    weight[3] = 0
    found = numbers(*grouped(weight))
    assert not found[:, 64:128].any()
    assert not found[3].any()
    np.testing.assert_allclose(found[:3, 128:192], weight[:3, 128:192], rtol=0.01)


def test_a_group_far_below_its_row_is_coded_in_255ths_of_the_largest_step() -> None:
    weight = normal(4, 256)
    weight[:, :64] *= 1e-4
    found = numbers(*grouped(weight))
    assert np.abs(found - weight)[:, :64].max() < np.abs(weight).max() / 15 / 255


def test_the_last_group_may_be_short() -> None:
    weight = normal(3, 70) + 3
    found = grouped(weight)
    assert (found.weight.shape, found.groups.shape) == ((3, 35), (3, 2, 2))
    assert np.abs(numbers(*found) - weight).max() < 0.35
