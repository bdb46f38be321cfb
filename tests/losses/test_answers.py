"""Log-probabilities of answers are those of the whole logits, and so are the gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import answers
from asnn_goose.losses.answers import answer_lengths, answer_log_probs, answer_term
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

B, T, D, V = 4, 7, 5, 11


@pytest.fixture
def given() -> tuple[Tensor, Tensor, Batch]:
    """Hidden states, a head, and a batch whose rows have 1 to 4 labels that count."""
    torch.manual_seed(0)
    labels_BT = torch.randint(0, V, (B, T))
    for row in range(B):
        labels_BT[row, : T - 1 - row] = IGNORED_LABEL
    zeros_BT = torch.zeros(B, T, dtype=torch.long)
    batch = Batch(tokens_BT=zeros_BT, labels_BT=labels_BT, documents_BT=zeros_BT)
    hidden_BTD, head_VD = torch.randn(B, T, D), torch.randn(V, D)
    return hidden_BTD.requires_grad_(), head_VD.requires_grad_(), batch


def whole(hidden_BTD: Tensor, head_VD: Tensor, batch: Batch) -> Tensor:
    """The same from logits (B,T,V), as a formula would have it."""
    log_p_BTV = torch.log_softmax(hidden_BTD @ head_VD.T, -1)
    found_BT1 = log_p_BTV.gather(2, batch.labels_BT.clamp_min(0).unsqueeze(2))
    return (found_BT1[..., 0] * batch.mask_BT).sum(1)


def curved(log_p_B: Tensor) -> Tensor:
    """A loss that is no sum over rows."""
    chosen_B, rejected_B = log_p_B.chunk(2)
    return torch.nn.functional.softplus(-(chosen_B - 0.3 * rejected_B)).mean()


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_an_answer_s_log_probability_is_the_sum_over_its_labels(
    given: tuple[Tensor, Tensor, Batch], chunk: int
) -> None:
    hidden_BTD, head_VD, batch = given
    found_B = answer_log_probs(Trace(final_BTD=hidden_BTD, head_VD=head_VD), batch, chunk=chunk)
    torch.testing.assert_close(found_B, whole(*given))
    assert not found_B.requires_grad
    assert answer_lengths(batch).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_loss_that_is_no_sum_has_the_gradient_of_the_whole(
    given: tuple[Tensor, Tensor, Batch], chunk: int
) -> None:
    hidden_BTD, head_VD, batch = given
    expected = curved(whole(*given))
    wanted = torch.autograd.grad(expected, (hidden_BTD, head_VD))
    trace = Trace(final_BTD=hidden_BTD, head_VD=head_VD)
    term, known_B = answer_term(trace, batch, curved, chunk=chunk)
    torch.testing.assert_close(term, expected)
    torch.testing.assert_close(known_B, whole(*given).detach())
    found = torch.autograd.grad(2 * term, (hidden_BTD, head_VD))
    torch.testing.assert_close(found, tuple(2 * gradient for gradient in wanted))


def test_no_more_logits_exist_than_a_chunk_has(
    given: tuple[Tensor, Tensor, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden_BTD, head_VD, batch = given
    rows, plain = list[int](), torch.log_softmax

    def noted(z_nV: Tensor, dim: int) -> Tensor:
        rows.append(len(z_nV))
        return plain(z_nV, dim)

    monkeypatch.setattr(answers.torch, "log_softmax", noted)
    trace = Trace(final_BTD=hidden_BTD, head_VD=head_VD)
    answer_term(trace, batch, curved, chunk=3)
    counting = int(batch.mask_BT.sum())
    assert max(rows) == 3
    assert sum(rows) == 2 * counting, "prompts are multiplied with the head for nothing"


def test_without_logits_it_says_so(given: tuple[Tensor, Tensor, Batch]) -> None:
    with pytest.raises(ValueError, match="capture 'vocab'"):
        answer_log_probs(Trace(), given[2], chunk=3)


def test_without_gradients_the_value_stays(given: tuple[Tensor, Tensor, Batch]) -> None:
    hidden_BTD, head_VD, batch = given
    trace = Trace(final_BTD=hidden_BTD.detach(), head_VD=head_VD.detach())
    with torch.no_grad():
        term, _ = answer_term(trace, batch, curved, chunk=3)
    torch.testing.assert_close(term, curved(whole(*given)).detach())


def test_logits_with_a_cap_are_capped(given: tuple[Tensor, Tensor, Batch]) -> None:
    hidden_BTD, head_VD, batch = given
    trace = Trace(final_BTD=hidden_BTD, head_VD=head_VD, logit_cap=1.5)
    log_p_BTV = torch.log_softmax(1.5 * torch.tanh(hidden_BTD @ head_VD.T / 1.5), -1)
    wanted_BT = log_p_BTV.gather(2, batch.labels_BT.clamp_min(0).unsqueeze(2))[..., 0]
    found_B = answer_log_probs(trace, batch, chunk=3)
    torch.testing.assert_close(found_B, (wanted_BT * batch.mask_BT).sum(1).detach())
