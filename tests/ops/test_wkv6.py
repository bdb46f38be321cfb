"""WKV-6 by way of WKV-7: the published loop, and what it must agree with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.ops import native_available
from asnn_goose.ops.wkv6 import wkv6

NAMES = ("dr", "dlog_w", "dk", "dv", "du", "dstate")
FORMS = ["recurrent", "chunked", *(["native"] if native_available() else [])]


def operands(*, B: int = 2, T: int = 37, H: int = 2, N: int = 16) -> list[Tensor]:
    """r, log w (of any size), k, v, u and a state, in fp64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    r, d, k, v = (normal(B, T, H, N) for _ in range(4))
    return [r, -torch.exp(2 * d - 1), k, v, normal(H, N), normal(B, H, N, N)]


def loop(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """arXiv 2404.05892, equations 19 and 20, axes [value, key]."""
    outputs = []
    for t in range(r.shape[1]):
        written = v[:, t].unsqueeze(-1) * k[:, t].unsqueeze(-2)
        outputs.append(((state + u.unsqueeze(-2) * written) @ r[:, t].unsqueeze(-1)).squeeze(-1))
        state = state * log_w[:, t].exp().unsqueeze(-2) + written
    return torch.stack(outputs, dim=1), state


def all_of(run, inputs: list[Tensor]) -> dict[str, Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    y, last = run(*leaves)
    generator = torch.Generator().manual_seed(5)
    back = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in (y, last)]
    gradients = torch.autograd.grad((y, last), leaves, [x.to(y.dtype) for x in back])
    return {"y": y.detach(), "last": last.detach()} | dict(zip(NAMES, gradients, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_one_token_late_is_the_loop_with_all_its_gradients(form: str) -> None:
    single = [x.float() for x in operands()]
    wanted = all_of(loop, [x.double() for x in single])
    found = all_of(lambda *x: wkv6(*x, form=form), single)
    for name, exact in wanted.items():
        error = (found[name].double() - exact).norm() / exact.norm()
        assert error < 2e-6, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("form", FORMS)
def test_no_decay_and_a_bonus_of_one_is_linear_attention(form: str) -> None:
    r, _, k, v, _, _ = (x.float() for x in operands())
    y, _ = wkv6(r, torch.zeros_like(r), k, v, torch.ones(2, 16), form=form)
    score = torch.einsum("bthn,bshn->bhts", r, k).tril()
    wanted = torch.einsum("bhts,bshn->bthn", score, v)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_carried_state_goes_on_as_one_pass(form: str) -> None:
    *sequences, u, state = (x.float() for x in operands())
    whole, last = wkv6(*sequences, u, state, form=form)
    first, carried = wkv6(*(x[:, :14] for x in sequences), u, state, form=form)
    rest, end = wkv6(*(x[:, 14:] for x in sequences), u, carried, form=form)
    for found, wanted in ((torch.cat((first, rest), dim=1), whole), (end, last)):
        assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("form", FORMS)
def test_documents_are_read_as_if_alone(form: str) -> None:
    *sequences, u, state = (x.float() for x in operands())
    documents_BT = torch.zeros(2, 37).index_fill_(1, torch.arange(17, 37), 1)
    documents_BT[1, 20:] = 2
    y, last = wkv6(*sequences, u, state, documents_BT=documents_BT, form=form)
    for row, first, end in ((0, 17, 37), (1, 17, 20), (1, 20, 37)):
        alone, after = wkv6(*(x[row : row + 1, first:end] for x in sequences), u, form=form)
        assert (y[row, first:end] - alone[0]).norm() < 1e-5 * alone.norm()
    assert (last[1] - after[0]).norm() < 1e-5 * after.norm()
    before, _ = wkv6(*(x[:, :17] for x in sequences), u, state, form=form)
    assert (y[:, :17] - before).norm() < 1e-5 * before.norm()


@pytest.mark.parametrize("form", FORMS)
def test_a_decay_to_nothing_stays_finite(form: str) -> None:
    r, _, k, v, u, state = (x.float() for x in operands())
    found = all_of(lambda *x: wkv6(*x, form=form), [r, torch.full_like(r, -50.0), k, v, u, state])
    assert all(bool(x.isfinite().all()) for x in found.values())


def test_a_form_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="form = 'chunkd': did you mean 'chunked'"):
        wkv6(*operands(), form="chunkd")  # type: ignore[arg-type]
