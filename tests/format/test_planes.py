from __future__ import annotations

import numpy as np
import pytest

from asnn_goose.format.planes import pack_planes, unpack_planes


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("planes", [1, 2])
def test_there_and_back(rows: int, planes: int) -> None:
    codes = np.random.default_rng(0).integers(-1, 2, (planes, rows, 37)).astype(np.int8)
    words = pack_planes(codes)
    assert words.shape == (planes, -(-rows // 64), 37, 2)
    assert words.dtype == np.uint64
    assert np.array_equal(unpack_planes(words, rows=rows), codes)


def test_where_every_bit_goes() -> None:
    codes = np.zeros((1, 70, 3), np.int8)
    codes[0, 0, 1], codes[0, 5, 1], codes[0, 69, 2] = 1, -1, 1
    words = pack_planes(codes)
    assert words[0, 0, 1].tolist() == [1, 1 | 1 << 5]
    assert words[0, 1, 2].tolist() == [1 << 5, 1 << 5]
    assert np.count_nonzero(words) == 4
