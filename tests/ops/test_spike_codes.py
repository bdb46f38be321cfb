from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.ops.spike_codes import (
    MAX_STEPS,
    Spikes,
    digits,
    encode,
    encode_at,
    encode_binary,
    levels,
    step_weights,
)

CODES = [(code, steps) for code, most in MAX_STEPS.items() for steps in range(1, most + 1)]
MANY = [(code, steps) for code, steps in CODES if steps > 1]


def vectors(scale: float = 1.0) -> torch.Tensor:
    """Tokens with light and heavy tails, and a silent one."""
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(16, 96, generator=generator)
    x[8:] = x[8:] ** 3
    x[3] = 0
    return x


def coded(x: torch.Tensor, code: str, steps: int, threshold: float | None = None) -> Spikes:
    if threshold is None:
        threshold = 0.7 if steps == 1 else 3.0
    return encode(x, steps=steps, code=code, threshold=threshold)


def test_levels() -> None:
    assert [levels("rate", s) for s in (1, 2, 8)] == [1, 2, 8]
    assert [levels("radix2", s) for s in (1, 2, 6)] == [1, 3, 63]
    assert [levels("radix3", s) for s in (1, 2, 4)] == [1, 4, 40]


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_codes_are_whole_numbers_in_range(code: str, steps: int) -> None:
    q, amplitude, _ = coded(vectors(), code, steps)
    assert torch.equal(q, q.round())
    assert q.abs().max() == levels(code, steps)
    assert amplitude.shape == (16, 1)
    assert (amplitude >= 0).all()


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_digits_spell_every_code(code: str, steps: int) -> None:
    top = levels(code, steps)
    q = torch.arange(-top, top + 1).float()
    spikes = digits(q, steps=steps, code=code)
    assert spikes.shape == (2 * top + 1, steps)
    assert spikes.dtype == q.dtype
    assert set(spikes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal((spikes * torch.tensor(step_weights(code, steps))).sum(-1), q)
    assert torch.equal(digits(-q, steps=steps, code=code), -spikes)


def test_digits_of_each_code() -> None:
    q = torch.tensor([5.0])
    assert digits(q, steps=6, code="rate").tolist() == [[1, 1, 1, 1, 1, 0]]
    assert digits(-q, steps=3, code="radix2").tolist() == [[-1, 0, -1]]
    assert digits(q, steps=3, code="radix3").tolist() == [[-1, -1, 1]]


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_coding_is_odd(code: str, steps: int) -> None:
    there, back = coded(vectors(), code, steps), coded(-vectors(), code, steps)
    assert torch.equal(there.q_BK, -back.q_BK)
    assert torch.equal(there.amplitude_B1, back.amplitude_B1)


@given(st.sampled_from(CODES), st.integers(-60, 60))
def test_coding_follows_the_scale(which: tuple[str, int], exponent: int) -> None:
    one, other = coded(vectors(), *which), coded(vectors(2.0**exponent), *which)
    other_cubed = 2.0 ** (3 * exponent)
    assert torch.equal(one.q_BK[:8], other.q_BK[:8])
    assert torch.equal(one.amplitude_B1[:8] * 2.0**exponent, other.amplitude_B1[:8])
    if abs(exponent) < 30:
        assert torch.equal(one.amplitude_B1[8:] * other_cubed, other.amplitude_B1[8:])


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_silence_stays_silent(code: str, steps: int) -> None:
    for x in (torch.zeros(2, 5), torch.full((2, 5), 1e-45)):
        spikes = coded(x, code, steps)
        assert not spikes.q_BK.isnan().any()
        assert spikes.values().abs().max() <= 1e-44
    assert coded(torch.zeros(2, 5), code, steps).amplitude_B1.tolist() == [[0], [0]]


def test_one_step_against_its_definition() -> None:
    x = vectors()
    q, amplitude, _ = coded(x, "radix3", 1, 0.7)
    for row in range(16):
        h = x[row].numpy()
        theta = np.float32(0.7) * np.float32(np.abs(h).sum(dtype=np.float64) / h.size)
        fired = np.abs(h) > theta
        assert np.array_equal(q[row].numpy(), np.sign(h) * fired)
        wanted = np.abs(h)[fired].sum(dtype=np.float64) / fired.sum() if fired.any() else 0
        assert amplitude[row, 0].item() == np.float32(wanted)


@pytest.mark.parametrize(("code", "steps"), MANY)
def test_more_steps_against_their_definition(code: str, steps: int) -> None:
    x, top = vectors(), levels(code, steps)
    q, amplitude, _ = coded(x, code, steps, 3.0)
    for row in (r for r in range(16) if r != 3):
        h = x[row].numpy()
        mean = np.float32(np.abs(h).sum(dtype=np.float64) / h.size)
        size = np.float32(3.0) * mean / np.float32(top)
        assert amplitude[row, 0].item() == size
        wanted = np.clip(np.rint(h * (np.float32(1) / size)), -top, top)
        assert np.array_equal(q[row].numpy(), wanted)


def test_halves_go_to_the_even_neighbour() -> None:
    # mean 1, four levels up to threshold 4: amplitude 1
    h = torch.tensor([[0.5, 1.5, 2.5, -0.5, 0.0]])
    spikes = coded(h, "radix3", 2, 4.0)
    assert spikes.amplitude_B1.item() == 1
    assert spikes.q_BK.tolist() == [[0, 2, 2, 0, 0]]


def test_nothing_fires_below_a_high_threshold() -> None:
    spikes = coded(torch.ones(1, 6), "rate", 1, 1.0)
    assert spikes.q_BK.abs().sum() == 0
    assert spikes.amplitude_B1.item() == 0


def test_more_steps_come_closer() -> None:
    x = vectors()[:3]
    errors = [(coded(x, "radix3", s, 4.0).values() - x).norm() for s in (2, 3, 4)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_binary_code_leaves_the_negative_out() -> None:
    # mean magnitude 1
    spikes = encode_binary(torch.tensor([[2.5, 1.5, 0.5, -0.5, 0.0, -1.0]]), threshold=0.7)
    assert spikes.q_BK.tolist() == [[1, 1, 0, 0, 0, 0]]
    assert spikes.amplitude_B1.tolist() == [[2.0]]
    silent = encode_binary(-torch.ones(1, 4), threshold=0.7)
    assert silent.values().tolist() == [[0, 0, 0, 0]]


def test_a_given_amplitude_is_taken_as_it_is() -> None:
    h = torch.tensor([[0.9, -0.4, 0.2, -7.0, 0.0]])
    size = torch.tensor([0.4])
    assert encode_at(h, size, top=4).q_BK.tolist() == [[2, -1, 0, -4, 0]]
    assert encode_at(h, size, top=1).q_BK.tolist() == [[1, -1, 0, -1, 0]]
    one = encode_at(h, size, top=1, fires=torch.tensor([0.4]))
    assert one.q_BK.tolist() == [[1, 0, 0, -1, 0]]
    assert one.amplitude_B1 is size


@pytest.mark.parametrize(("code", "steps"), MANY)
def test_a_measured_amplitude_given_again_codes_the_same(code: str, steps: int) -> None:
    spikes = coded(vectors(), code, steps)
    again = encode_at(vectors(), spikes.amplitude_B1, top=levels(code, steps))
    assert torch.equal(again.q_BK, spikes.q_BK)


def test_wrong_codes_are_named() -> None:
    with pytest.raises(ValueError, match=r"code = 'morse': choose one of rate, radix2, radix3"):
        levels("morse", 2)
    with pytest.raises(ValueError, match="steps = 5: radix3 takes 1 to 4"):
        levels("radix3", 5)
