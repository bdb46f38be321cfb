from __future__ import annotations

import pytest

from asnn_goose.losses.layer_map import LayerMap


def test_the_papers_maps_for_12_to_6() -> None:
    """PKD-Skip takes 2, 4, 6, 8, 10 and PKD-Last 7 to 11; uniform is j N / M."""
    assert [g for _, g in LayerMap("skip").pairs(6, 12)] == [2, 4, 6, 8, 10]
    assert [g for _, g in LayerMap("last").pairs(6, 12)] == [7, 8, 9, 10, 11]
    assert [g for _, g in LayerMap("first").pairs(6, 12)] == [1, 3, 5, 7, 9, 11]
    assert LayerMap("first").pairs(3, 4) == ((1, 1), (2, 2), (3, 3))
    assert LayerMap("uniform").pairs(6, 12) == ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12))


@pytest.mark.parametrize("depths", [(1, 1), (1, 7), (4, 6), (5, 12), (7, 8), (30, 30)])
def test_uniform_rises_and_ends_at_the_last(depths: tuple[int, int]) -> None:
    pairs = LayerMap("uniform").pairs(*depths)
    teachers = [g for _, g in pairs]
    assert [j for j, _ in pairs] == list(range(1, depths[0] + 1))
    assert teachers == sorted(set(teachers))
    assert (teachers[0] >= 1, teachers[-1]) == (True, depths[1])


def test_the_embedding_comes_first_and_once() -> None:
    assert LayerMap("uniform", embedding=True).pairs(2, 4) == ((0, 0), (1, 2), (2, 4))
    assert LayerMap([[0, 0], [2, 4]], embedding=True).pairs(2, 4) == ((0, 0), (2, 4))


def test_a_few_layers_are_evenly_spread_with_the_last() -> None:
    assert LayerMap("uniform", at_most=4).pairs(8, 8) == ((2, 2), (4, 4), (6, 6), (8, 8))
    assert LayerMap("uniform", at_most=9).pairs(2, 4) == ((1, 2), (2, 4))


def test_wrong_maps_are_named() -> None:
    with pytest.raises(ValueError, match="layer_map = 'even': choose one of uniform"):
        LayerMap("even")
    with pytest.raises(ValueError, match="student layer, teacher layer"):
        LayerMap([[1, 2, 3]])
    with pytest.raises(ValueError, match="must rise"):
        LayerMap([[2, 2], [1, 4]])
    with pytest.raises(ValueError, match="layers = 0"):
        LayerMap("uniform", at_most=0)


def test_maps_that_do_not_fit_the_depths_are_named() -> None:
    with pytest.raises(ValueError, match=r"pair \[2, 13\].*0 to 6.*0 to 12"):
        LayerMap([[1, 2], [2, 13]]).pairs(6, 12)
    with pytest.raises(ValueError, match=r"pair \[7, 12\]"):
        LayerMap([[7, 12]]).pairs(6, 12)
    with pytest.raises(ValueError, match="student has 8 blocks, the teacher 6"):
        LayerMap("uniform").pairs(8, 6)
    with pytest.raises(ValueError, match=r"student has 1 blocks.*leaves no layer"):
        LayerMap("skip").pairs(1, 6)


def test_uniform_takes_the_nearest_layer() -> None:
    assert LayerMap("uniform").pairs(3, 8) == ((1, 3), (2, 5), (3, 8))  # 2.67, 5.33, 8
