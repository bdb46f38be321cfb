from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import Objective, Term
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.losses.multi_teacher import MultiTeacher
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

LABELS_n = torch.tensor([0, 3, IGNORED_LABEL])


def teachers() -> tuple[Tensor, Tensor]:
    """The second knows the text."""
    second = torch.zeros(3, 5)
    second[0, 0] = second[1, 3] = 5.0
    return torch.randn(3, 5).log_softmax(-1), second.log_softmax(-1)


def chunk() -> Chunk:
    mask_n = LABELS_n != IGNORED_LABEL
    return Chunk(labels_n=LABELS_n, mask_n=mask_n, progress=0.0, teachers_nV=teachers())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_it_is_kl_with_the_mixture(temperature: float) -> None:
    torch.manual_seed(0)
    loss, z, here = MultiTeacher(temperature=temperature), torch.randn(3, 5), chunk()
    loss.theta.data = torch.tensor([1.0, -0.5])
    w_k = torch.softmax(loss.theta, 0)
    mixture = (w_k[0] * here.teachers_nV[0].exp() + w_k[1] * here.teachers_nV[1].exp()).log()
    wanted = KL(temperature=temperature)(z, mixture, here)
    assert torch.allclose(loss(z, None, here), wanted, atol=1e-5)


def test_one_hot_weights_are_the_single_teacher() -> None:
    torch.manual_seed(0)
    loss, z, here = MultiTeacher(), torch.randn(3, 5), chunk()
    loss.theta.data = torch.tensor([-200.0, 200.0])
    assert torch.allclose(loss(z, None, here), KL()(z, here.teachers_nV[1], here), atol=1e-6)


def test_the_weights_learn_from_the_text_and_not_from_the_student() -> None:
    torch.manual_seed(0)
    loss, here = MultiTeacher(), chunk()
    grads = []
    for z in torch.randn(2, 3, 5):
        grads += torch.autograd.grad(loss(z, None, here)[here.mask_n].mean(), loss.theta)
    assert torch.equal(grads[0], grads[1])
    log_p = [p[:2].gather(-1, LABELS_n[:2, None])[:, 0] for p in here.teachers_nV]
    theta = torch.zeros(2, requires_grad=True)
    weights = torch.log_softmax(theta, 0)
    text = -torch.logaddexp(weights[0] + log_p[0], weights[1] + log_p[1]).mean()
    assert torch.allclose(torch.autograd.grad(text, theta)[0], grads[0])
    assert float(grads[0][0]) > 0 > float(grads[0][1])  # descent prefers the second
    assert loss.readings() == {"weight_0": 0.5, "weight_1": 0.5}


def test_a_token_without_a_label_teaches_the_weights_nothing() -> None:
    loss, here = MultiTeacher(), chunk()
    value = loss(torch.randn(3, 5), None, here)[LABELS_n == IGNORED_LABEL].sum()
    (gradient,) = torch.autograd.grad(value, loss.theta)
    assert not gradient.any()


def test_wrong_numbers_of_teachers_are_named(passing: Callable[[int], Trace], batch: Batch) -> None:
    with pytest.raises(ValueError, match="teachers = 1"):
        MultiTeacher(teachers=1)
    with pytest.raises(ValueError, match="teachers = 3: the pass holds 2"):
        MultiTeacher(teachers=3)(torch.zeros(3, 5), None, chunk())
    with pytest.raises(ValueError, match="this pass has one"):
        Objective([Term("multi_teacher", 1.0, MultiTeacher())])(passing(1), passing(2), batch)
