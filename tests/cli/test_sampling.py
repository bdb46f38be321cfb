"""Which token comes next, and that drawing needs no more than the model's own cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.cli.sampling import PREFILL, Sampling, choose, stream

LOGITS_V = torch.tensor([0.5, 0.1, 0.25, 0.15]).log()


def frequencies(sampling: Sampling, draws: int = 4000) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    drawn = [int(choose(LOGITS_V, sampling, generator=generator)) for _ in range(draws)]
    return [drawn.count(token) / draws for token in range(4)]


def test_plain_sampling_follows_the_probabilities() -> None:
    assert frequencies(Sampling()) == pytest.approx([0.5, 0.1, 0.25, 0.15], abs=0.03)


def test_temperature_squares_the_odds_at_one_half() -> None:
    squares = torch.tensor([0.25, 0.01, 0.0625, 0.0225])
    expected = (squares / squares.sum()).tolist()
    assert frequencies(Sampling(temperature=0.5)) == pytest.approx(expected, abs=0.03)


def test_top_k_keeps_the_most_likely() -> None:
    assert frequencies(Sampling(top_k=2)) == pytest.approx([2 / 3, 0, 1 / 3, 0], abs=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, {0}), (0.5, {0}), (0.51, {0, 2}), (0.8, {0, 2, 3}), (1, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_fewest_that_suffice(top_p: float, kept: set[int]) -> None:
    found = frequencies(Sampling(top_p=top_p), draws=400)
    assert {token for token, share in enumerate(found) if share} == kept


def test_top_p_counts_within_top_k() -> None:
    # Of the two tokens left, the first holds 2/3: enough for 0.6.
    assert frequencies(Sampling(top_k=2, top_p=0.6), draws=100)[0] == 1


def test_greedy() -> None:
    assert frequencies(Sampling(greedy=True), draws=20)[0] == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": 0}, "--temperature 0: must be above 0; --greedy"),
        ({"top_k": -1}, "--top-k -1"),
        ({"top_p": 0}, "--top-p 0"),
        ({"top_p": 1.5}, "--top-p 1.5"),
    ],
)
def test_senseless_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Sampling(**settings)


class Counter:
    """The next token is the number of tokens read so far, modulo 1000; records every call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, *, input_ids: Tensor, past_key_values: int | None, **options: Any) -> Any:
        assert options == {"use_cache": True, "logits_to_keep": 1}
        assert not torch.is_grad_enabled()
        self.calls.append(input_ids.shape[1])
        seen = (past_key_values or 0) + input_ids.shape[1]
        logits = torch.zeros(1, 1, 1000).index_fill(2, torch.tensor(seen % 1000), 9.0)
        return SimpleNamespace(logits=logits, past_key_values=seen)


def test_stream_reads_long_prompts_in_parts_and_draws_no_step_too_many() -> None:
    model = Counter()
    prompt_T = torch.zeros(2 * PREFILL + 5, dtype=torch.int64)
    drawn = list(stream(model, prompt_T, tokens=3, sampling=Sampling(greedy=True)))
    assert drawn == [517, 518, 519]
    assert model.calls == [PREFILL, PREFILL, 5, 1, 1]


def test_stream_is_lazy() -> None:
    model = Counter()
    next(stream(model, torch.zeros(4, dtype=torch.int64), tokens=9, sampling=Sampling()))
    assert model.calls == [4]
