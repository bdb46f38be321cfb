"""The estimator on data whose information is known; CKA on features that share nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.eval.spikes.information import (
    classes,
    components,
    entropy,
    information,
    shared_bits,
)
from asnn_goose.ops.hsic import unbiased_cka

JOINT = np.array([[0.20, 0.05, 0.02], [0.10, 0.15, 0.08], [0.02, 0.08, 0.30]])


def known(joint: np.ndarray) -> float:
    rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    return float((joint * np.log2(joint / rows / columns)).sum())


def drawn(joint: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    cells = np.random.default_rng(seed).choice(joint.size, count, p=joint.ravel() / joint.sum())
    return cells // joint.shape[1], cells % joint.shape[1]


def mutual_information(x_n: np.ndarray, y_n: np.ndarray) -> float:
    table, _, _ = np.histogram2d(x_n, y_n, bins=(x_n.max() + 1, y_n.max() + 1))
    return float(shared_bits(table.astype(np.int64)[None])[0])


def test_known_information_within_five_per_cent() -> None:
    found = np.mean([mutual_information(*drawn(JOINT, 2048, seed)) for seed in range(20)])
    assert found == pytest.approx(known(JOINT), rel=0.05)
    few = np.mean([mutual_information(*drawn(JOINT, 100, seed)) for seed in range(200)])
    assert few == pytest.approx(known(JOINT), rel=0.05)


def test_independent_variables_share_nothing() -> None:
    flat = np.full((3, 8), 1 / 24)
    found = np.array([mutual_information(*drawn(flat, 500, seed)) for seed in range(200)])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(200)
    plain = [2 * 7 / (2 * 500 * np.log(2))]  # what the counts alone would make of it
    assert abs(found.mean()) < 0.1 * plain[0]


def test_entropy_of_few_samples() -> None:
    draw = np.random.default_rng(0)
    p = np.array([0.5, 0.25, 0.125, 0.125])
    found = np.mean([entropy(draw.multinomial(60, p)) for _ in range(400)])
    assert found == pytest.approx(1.75, rel=0.01)
    assert entropy(np.array([7, 0, 0])) == entropy(np.array([0, 0])) == 0.0


def test_channels_that_follow_a_feature_tell_of_it() -> None:
    draw = np.random.default_rng(1)
    features = draw.standard_normal((2048, 3)) * (3, 2, 1)
    y_nF = classes(components(features, 2))
    assert np.bincount(y_nF[:, 0]).tolist() == [256] * 8
    first = np.sign(features[:, :1]) * (np.abs(features[:, :1]) > 1.5)
    told = information(np.concatenate([first] * 4, 1).astype(np.int8), y_nF)
    noise = information(draw.integers(-1, 2, (2048, 16)), y_nF)
    assert told.bits > 0.9
    assert told.above
    assert abs(told.shuffled) < 0.01
    assert abs(noise.bits) < 0.005
    assert not noise.above


def test_principal_components_are_the_widest_directions() -> None:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((500, 4)) * (1, 5, 0.1, 2) + 7
    found = components(x, 2)
    assert abs(np.corrcoef(found[:, 0], x[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(found[:, 1], x[:, 3])[0, 1]) > 0.99
    assert found.mean(0) == pytest.approx([0, 0], abs=1e-9)


def test_cka_of_independent_features_is_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    found = [
        float(
            unbiased_cka(
                torch.randn(256, 576, generator=draw), torch.randn(256, 64, generator=draw)
            )
        )
        for _ in range(4)
    ]
    assert abs(np.mean(found)) < 0.03
