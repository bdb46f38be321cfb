from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import Teacher, TeacherError
from asnn_goose.model.teacher_mixture import MixtureTrace, TeacherMixture

VOCAB = frozenset({"vocab"})
EVERY = slice(None)


@pytest.fixture(scope="module")
def pair(llama: Callable[..., Teacher]) -> tuple[Teacher, Teacher]:
    """Two teachers of one vocabulary; the second is wider and has other weights."""
    first, second = llama(num_hidden_layers=1), llama(num_hidden_layers=1, hidden_size=32)
    for parameter in (*first.model.parameters(), *second.model.parameters()):
        parameter.mul_(3.0)
    return first, second


def log_p(teacher: Teacher | TeacherMixture, tokens_BT: Tensor) -> Tensor:
    return torch.log_softmax(teacher.trace(tokens_BT, VOCAB).vocab(EVERY), -1)


@pytest.mark.parametrize("which", [0, 1])
def test_a_one_hot_weight_is_the_single_teacher(
    which: int, pair: tuple[Teacher, Teacher], tokens_BT: Tensor
) -> None:
    mixture = TeacherMixture(pair, weights=[float(k == which) for k in range(2)])
    found = mixture.trace(tokens_BT, VOCAB).vocab(slice(5, 9))
    assert torch.allclose(found, log_p(pair[which], tokens_BT)[5:9], atol=1e-5)


@pytest.mark.parametrize("weights", ["uniform", [1.0, 3.0]])
def test_the_mixture_is_that_of_probabilities(
    weights: str | list[float], pair: tuple[Teacher, Teacher], tokens_BT: Tensor
) -> None:
    share = 0.5 if weights == "uniform" else 0.25
    p = [log_p(teacher, tokens_BT).exp() for teacher in pair]
    wanted = share * p[0] + (1 - share) * p[1]
    found = TeacherMixture(pair, weights=weights).trace(tokens_BT, VOCAB).vocab(EVERY)
    assert torch.allclose(found.exp(), wanted, atol=1e-6)


def test_kl_of_the_mean_is_at_most_the_mean_of_kl(
    pair: tuple[Teacher, Teacher], tokens_BT: Tensor
) -> None:
    log_q = torch.randn(tokens_BT.numel(), 97).log_softmax(-1)

    def kl(log_a: Tensor) -> Tensor:
        return (log_a.exp() * (log_a - log_q)).sum(-1)

    mean = torch.stack([kl(log_p(teacher, tokens_BT)) for teacher in pair]).mean(0)
    mixed = kl(log_p(TeacherMixture(pair), tokens_BT))
    assert bool((mixed <= mean + 1e-6).all())
    assert float((mean - mixed).max()) > 1e-3


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_weights_per_token_follow_the_next_token(
    temperature: float, pair: tuple[Teacher, Teacher], tokens_BT: Tensor
) -> None:
    each = torch.stack([log_p(teacher, tokens_BT) for teacher in pair], -1)
    next_n = tokens_BT.roll(-1, 1).flatten()
    log_w = each[torch.arange(len(next_n)), next_n] / temperature
    log_w.view(*tokens_BT.shape, 2)[:, -1] = 0.0  # nothing follows the last position
    wanted = torch.logsumexp(torch.log_softmax(log_w, -1)[:, None] + each, -1)
    mixture = TeacherMixture(pair, weights="per_token", temperature=temperature)
    trace = mixture.trace(tokens_BT, VOCAB)
    for tokens in (slice(0, 7), slice(38, 82)):  # the second takes a window's end along
        assert torch.allclose(trace.vocab(tokens), wanted[tokens], atol=1e-5)


def test_every_sequence_follows_the_teacher_that_reads_it_best(
    pair: tuple[Teacher, Teacher], tokens_BT: Tensor
) -> None:
    # Either teacher goes on as it likes best: the first in the second row, the other in the first.
    tokens_BT = tokens_BT[:, :9].clone()
    for row, teacher in enumerate(reversed(pair)):
        for last in range(8):
            logits = teacher.trace(tokens_BT[row : row + 1, : last + 1], VOCAB).vocab(EVERY)
            tokens_BT[row, last + 1] = logits[-1].argmax()
    each = torch.stack([log_p(teacher, tokens_BT) for teacher in pair]).unflatten(1, (2, 9))
    score = (
        each[:, :, :-1].gather(-1, tokens_BT[None, :, 1:, None].expand(2, -1, -1, 1)).sum((2, 3))
    )
    wanted = torch.stack([each[int(best), row] for row, best in enumerate(score.argmax(0))])
    assert score.argmax(0).tolist() == [1, 0]
    found = TeacherMixture(pair, weights="selected").trace(tokens_BT, VOCAB).vocab(EVERY)
    assert torch.allclose(found, wanted.flatten(0, 1), atol=1e-5)


def test_a_trace_tells_its_teachers_apart(pair: tuple[Teacher, Teacher], tokens_BT: Tensor) -> None:
    trace = TeacherMixture(pair).trace(tokens_BT, VOCAB)
    assert isinstance(trace, MixtureTrace)
    for found, teacher in zip(trace.each(slice(2, 4)), pair, strict=True):
        assert torch.allclose(found, log_p(teacher, tokens_BT)[2:4], atol=1e-5)
    assert not trace.vocab(slice(2, 4)).requires_grad


def test_only_logits_can_be_mixed(pair: tuple[Teacher, Teacher], tokens_BT: Tensor) -> None:
    with pytest.raises(ValueError, match="needs hidden, mixer_in: several teachers give only"):
        TeacherMixture(pair).trace(tokens_BT, VOCAB | {"hidden", "mixer_in"})


def words(*names: str) -> Any:
    return SimpleNamespace(get_vocab=lambda: {name: index for index, name in enumerate(names)})


def test_different_tokenizers_are_refused(
    pair: tuple[Teacher, Teacher], llama: Callable[..., Teacher], tokens_BT: Tensor
) -> None:
    left, right = (SimpleNamespace(name=n, tokenizer=words("a", n), trace=None) for n in "bc")
    with pytest.raises(TeacherError, match="'b' and 'c' have different tokenizers"):
        TeacherMixture([left, right])
    longer = llama(num_hidden_layers=1, vocab_size=98)
    longer.name = "longer"
    mixture = TeacherMixture([pair[0], longer])
    with pytest.raises(TeacherError, match="'tiny' has 97 words, 'longer' has 98 words"):
        mixture.trace(tokens_BT, VOCAB)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"weights": "best"}, "weights = 'best'"),
        ({"weights": [1.0]}, r"weights = \[1.0\]: give one for each of 2"),
        ({"weights": [0.0, 0.0]}, "one above 0"),
        ({"weights": [2.0, -1.0]}, "must be at least 0"),
        ({"temperature": 0.0}, "temperature = 0"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, Any], told: str, pair: tuple[Teacher, Teacher]
) -> None:
    with pytest.raises(ValueError, match=told):
        TeacherMixture(pair, **settings)
    with pytest.raises(ValueError, match="teachers = 1"):
        TeacherMixture(pair[:1])
