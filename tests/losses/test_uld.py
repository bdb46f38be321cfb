from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.uld import ULD


def chunk_of(count: int) -> Chunk:
    zeros_n = torch.zeros(count, dtype=torch.int64)
    return Chunk(labels_n=zeros_n, mask_n=zeros_n == 0, progress=0.0)


def logits(*rows: list[float]) -> Tensor:
    """Logits of given probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


def test_the_distance_is_that_of_sorted_probabilities() -> None:
    student, teacher = logits([0.1, 0.7, 0.2]), logits([0.25, 0.5, 0.25])
    found = ULD()(student, teacher, chunk_of(1))
    assert found.item() == pytest.approx(0.2 + 0.05 + 0.15)


def test_a_shorter_vocabulary_is_filled_up_with_zeros() -> None:
    student, teacher = logits([0.6, 0.4]), logits([0.1, 0.5, 0.1, 0.3])
    for left, right in ((student, teacher), (teacher, student)):
        assert ULD()(left, right, chunk_of(1)).item() == pytest.approx(0.1 + 0.1 + 0.2)


def test_order_of_words_does_not_matter() -> None:
    student = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    assert ULD()(student, student.flip(-1), chunk_of(4)).abs().max() < 1e-6
    assert ULD()(student, 2 * student, chunk_of(4)).min() > 0.1


def test_it_is_bounded_and_tempered() -> None:
    sure, spread = logits([1.0 - 2e-9, 1e-9, 1e-9]), torch.zeros(1, 3)
    assert ULD()(sure, spread, chunk_of(1)).item() == pytest.approx(4 / 3, rel=1e-5)
    warm = ULD(temperature=100.0)(sure, spread, chunk_of(1)).item()
    wanted = ULD()(sure / 100, spread, chunk_of(1)).item()
    assert warm == pytest.approx(wanted)
    with pytest.raises(ValueError, match="temperature = 0"):
        ULD(temperature=0)
