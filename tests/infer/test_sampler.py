"""Which token comes next: every rule by definition, and the compiled sampler against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer.backend import EngineError, native_module
from asnn_goose.infer.sampler import Drawer, Sampling, choose, distribution, penalised

LOGITS_V = np.log(np.array([0.5, 0.1, 0.25, 0.15], np.float32))


def frequencies(sampling: Sampling, draws: int = 4000) -> list[float]:
    """Shares of each token over evenly spaced uniforms: exact up to 1 / draws."""
    drawn = [choose(LOGITS_V, sampling, uniform=n / draws) for n in range(draws)]
    return [drawn.count(token) / draws for token in range(4)]


def test_plain_sampling_follows_the_probabilities() -> None:
    assert frequencies(Sampling()) == pytest.approx([0.5, 0.1, 0.25, 0.15], abs=0.001)


def test_temperature_squares_the_odds_at_one_half() -> None:
    squares = np.array([0.25, 0.01, 0.0625, 0.0225])
    expected = (squares / squares.sum()).tolist()
    assert frequencies(Sampling(temperature=0.5)) == pytest.approx(expected, abs=0.001)


def test_top_k_keeps_the_most_likely() -> None:
    assert frequencies(Sampling(top_k=2)) == pytest.approx([2 / 3, 0, 1 / 3, 0], abs=0.001)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, {0}), (0.49, {0}), (0.51, {0, 2}), (0.8, {0, 2, 3}), (1, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_fewest_that_suffice(top_p: float, kept: set[int]) -> None:
    found = frequencies(Sampling(top_p=top_p), draws=400)
    assert {token for token, share in enumerate(found) if share} == kept


def test_top_p_counts_within_top_k() -> None:
    # Of the two tokens left, the first holds 2/3: enough for 0.6.
    assert frequencies(Sampling(top_k=2, top_p=0.6), draws=100)[0] == 1


@pytest.mark.parametrize(("min_p", "kept"), [(0.0, 4), (0.19, 4), (0.25, 3), (0.4, 2), (1.0, 1)])
def test_min_p_is_measured_against_the_likeliest(min_p: float, kept: int) -> None:
    ids, p = distribution(LOGITS_V, Sampling(min_p=min_p))
    assert ids.tolist() == [0, 2, 3, 1][:kept]
    assert p.sum() == pytest.approx(1)


def test_greedy() -> None:
    assert frequencies(Sampling(greedy=True), draws=20)[0] == 1


def test_ties_go_by_id() -> None:
    logits_V = np.array([1, 3, 3, 1], np.float32)
    assert choose(logits_V, Sampling(greedy=True)) == 1
    assert distribution(logits_V, Sampling())[0].tolist() == [1, 2, 0, 3]
    assert distribution(logits_V, Sampling(top_k=1))[0].tolist() == [1]


def test_the_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    logits_V = np.array([2, -2, 4, 0], np.float32)
    found = penalised(logits_V, [0, 1, 0, 3], penalty=2)
    assert found.tolist() == [1, -4, 4, 0]
    assert logits_V.tolist() == [2, -2, 4, 0]
    assert penalised(logits_V, [], penalty=2).tolist() == logits_V.tolist()


def test_the_penalty_comes_before_the_most_likely_is_taken() -> None:
    sampling = Sampling(greedy=True, repetition_penalty=3)
    assert choose(np.array([2, 1], np.float32), sampling, [0]) == 1


def test_the_last_uniform_takes_the_last_token() -> None:
    assert choose(LOGITS_V, Sampling(), uniform=1 - 2**-53) == 1


def test_damaged_logits_are_refused() -> None:
    with pytest.raises(EngineError, match="NaN"):
        choose(np.array([1, np.nan], np.float32), Sampling())


def test_damaged_logits_are_refused_by_the_compiled_sampler(
    compiled: Callable[..., Drawer],
) -> None:
    for place in (0, 40, 99):
        logits_V = np.zeros(100, np.float32)
        logits_V[place] = np.nan
        with pytest.raises(EngineError, match="NaN"):
            compiled(Sampling(), 0).draw(logits_V)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": 0}, "temperature = 0: must be above 0 and finite; greedy"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_p": 0}, "top_p = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"min_p": -0.1}, "min_p = -0.1"),
        ({"min_p": 1.1}, "min_p = 1.1"),
        ({"repetition_penalty": 0}, "repetition_penalty = 0"),
    ],
)
def test_senseless_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Sampling(**settings)


def draws(drawer: Drawer, count: int = 50) -> list[int]:
    return [drawer.draw(LOGITS_V) for _ in range(count)]


def test_a_seed_makes_draws_repeatable() -> None:
    assert draws(Drawer(Sampling(), seed=3)) == draws(Drawer(Sampling(), seed=3))
    assert draws(Drawer(Sampling(), seed=3)) != draws(Drawer(Sampling(), seed=4))
    assert draws(Drawer(Sampling())) != draws(Drawer(Sampling()))


def test_the_drawer_remembers_what_it_is_told() -> None:
    drawer = Drawer(Sampling(greedy=True, repetition_penalty=100))
    assert drawer.draw(-LOGITS_V) == 1
    drawer.see([1])
    assert drawer.draw(-LOGITS_V) == 3


SETTINGS = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.0, "top_k": 7},
    {"top_k": 10**20},
    {"top_p": 0.6},
    {"min_p": 0.1},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "temperature": 0.8},
    {"repetition_penalty": 1.5, "top_k": 40},
    {"repetition_penalty": 1e-320},
]


@pytest.fixture
def compiled() -> Callable[..., Drawer]:
    try:
        native_module()
    except EngineError:
        pytest.skip("no compiled engine")
    return lambda sampling, seed: Drawer(sampling, seed=seed, native=True)


def several_logits() -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for spread in (0.1, 1, 4, 15):
        yield (spread * random.standard_normal(1000)).astype(np.float32)
    yield np.round(random.standard_normal(1000)).astype(np.float32)  # many ties


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_compiled_sampler_draws_the_same(
    settings: dict[str, Any], compiled: Callable[..., Drawer]
) -> None:
    sampling = Sampling(**settings)
    for logits_V in several_logits():
        plain, fast = Drawer(sampling, seed=1), compiled(sampling, 1)
        for drawer in (plain, fast):
            drawer.see(range(100))
        pairs = [(plain.draw(logits_V), fast.draw(logits_V)) for _ in range(100)]
        assert sum(a != b for a, b in pairs) <= 1  # a rounding at an edge of the distribution


def test_a_tiny_temperature_takes_the_likeliest() -> None:
    logits_V = np.array([1.0, 3.0, 2.0], np.float32)
    for temperature in (1e-320, 5e-324, 1e-30):
        assert choose(logits_V, Sampling(temperature=temperature), uniform=0.999) == 1
