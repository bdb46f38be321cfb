"""WKV-4: the published formula, its two forms, and what it must not depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.documents import token_marks
from asnn_goose.ops.wkv4 import empty_state, wkv4

NAMES = ("dw", "du", "dk", "dv", "dstate")
FORMS = ["recurrent", "native"] if native_available() else ["recurrent"]


def operands(*, B: int = 2, T: int = 33, C: int = 21, seed: int = 0) -> list[Tensor]:
    """w, u, k, v and a state that has seen something, in fp64; C fills no vector."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    state = torch.stack((normal(B, C), normal(B, C).exp(), normal(B, C)), dim=1)
    return [normal(C).exp(), normal(C), 2 * normal(B, T, C), normal(B, T, C), state]


def run(inputs: list[Tensor], form: str, marks_BT: Tensor | None = None) -> dict[str, Tensor]:
    """y, the last state and the gradient of every input."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y, last = wkv4(*leaves, marks_BT=marks_BT, form=form)  # type: ignore[arg-type]
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    gradients = torch.autograd.grad(y, leaves, dy.to(y.dtype))
    return {"y": y.detach(), "last": last} | dict(zip(NAMES, gradients, strict=True))


def assert_near(found: dict[str, Tensor], wanted: dict[str, Tensor], relative: float) -> None:
    for name, exact in wanted.items():
        error = (found[name].double() - exact).norm() / exact.norm()
        # Differences of like sums: the loop in fp32 errs by 8e-7 there itself.
        limit = 2 * relative if name == "dw" else relative
        assert error <= limit, f"{name}: relative error {error:.1e}"


def by_the_formula(w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """arXiv 2305.13048, equation 16, every weight written out."""
    outputs = []
    for t in range(k.shape[1]):
        past = [(t - 1 - i, i) for i in range(t)]
        weights = [torch.exp(-d * w + k[:, i]) for d, i in past] + [torch.exp(u + k[:, t])]
        values = [v[:, i] for _, i in past] + [v[:, t]]
        total = sum(a * b for a, b in zip(weights, values, strict=True))
        outputs.append(total / sum(weights))
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_the_published_sum(form: str) -> None:
    w, u, k, v, _ = operands()
    single = [x.float() for x in (w, u, k, v)]
    torch.testing.assert_close(
        wkv4(*single, form=form)[0].double(), by_the_formula(w, u, k, v), rtol=1e-5, atol=1e-6
    )


@pytest.mark.skipif(not native_available(), reason=native_status())
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("isa", [None, "reference", "baseline"])
def test_the_kernel_is_the_loop_in_all_five_gradients(
    isa: str | None, marked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isa is not None:
        monkeypatch.setenv("ASNN_GOOSE_ISA", isa)
    inputs, marks_BT = operands(T=70), None
    if marked:
        mask_BT = torch.ones(2, 70, dtype=torch.bool)
        mask_BT[0, :5] = False
        documents_BT = torch.zeros(2, 70).index_fill_(1, torch.arange(40, 70), 1)
        marks_BT = token_marks(mask_BT, documents_BT)
    single = [x.float() for x in inputs]
    exact = run([x.double() for x in single], "recurrent", marks_BT)
    assert_near(run(single, "native", marks_BT), exact, 1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_keys_count_relative_to_each_other(form: str) -> None:
    w, u, k, v, _ = (x.float() for x in operands())
    y = wkv4(w, u, k, v, form=form)[0]
    torch.testing.assert_close(wkv4(w, u, k + 7, v, form=form)[0], y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_carried_state_goes_on_as_one_pass(form: str) -> None:
    w, u, k, v, _ = (x.float() for x in operands())
    whole, last = wkv4(w, u, k, v, form=form)
    first, state = wkv4(w, u, k[:, :13], v[:, :13], form=form)
    rest, end = wkv4(w, u, k[:, 13:], v[:, 13:], state, form=form)
    torch.testing.assert_close(torch.cat((first, rest), dim=1), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(end, last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_without_bonus_and_decay_it_is_the_mean_of_the_past(form: str) -> None:
    _, _, _, v, _ = (x.float() for x in operands())
    C = v.shape[2]
    y = wkv4(torch.zeros(C), torch.full((C,), -80.0), torch.zeros_like(v), v, form=form)[0]
    torch.testing.assert_close(y[:, 0], v[:, 0])  # its own term is all there is
    places_T1 = torch.arange(1, v.shape[1]).unsqueeze(-1)
    torch.testing.assert_close(y[:, 1:], v.cumsum(1)[:, :-1] / places_T1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_keys_of_any_size_stay_finite(form: str) -> None:
    w, u, k, v, _ = (x.float() for x in operands())
    sizes_T1 = torch.where(torch.arange(k.shape[1]) % 3 == 0, 200.0, -200.0).unsqueeze(-1)
    found = run([w, u, k + sizes_T1, v, empty_state(k)], form)
    assert all(bool(x.isfinite().all()) for x in found.values())


@pytest.mark.parametrize("form", FORMS)
def test_a_bonus_of_any_size_stays_finite(form: str) -> None:
    w, _, k, v, state = [x.float() for x in operands()]
    y, _ = wkv4(w, torch.full_like(w, 500.0), k, v, state, form=form)
    torch.testing.assert_close(y, v)  # the token itself is all that counts


@pytest.mark.parametrize("form", FORMS)
def test_padding_leaves_no_trace(form: str) -> None:
    w, u, k, v, state = (x.float() for x in operands())
    mask_BT = torch.ones(2, 33, dtype=torch.bool)
    mask_BT[:, :6] = False
    y, last = wkv4(w, u, k, v, state, marks_BT=token_marks(mask_BT, None), form=form)
    wanted, end = wkv4(w, u, k[:, 6:], v[:, 6:], state, form=form)
    assert not y[:, :6].any()
    torch.testing.assert_close(y[:, 6:], wanted)
    torch.testing.assert_close(last, end)


@pytest.mark.parametrize("form", FORMS)
def test_documents_are_read_as_if_alone(form: str) -> None:
    w, u, k, v, _ = (x.float() for x in operands())
    documents_BT = torch.zeros(2, 33).index_fill_(1, torch.arange(20, 33), 1)
    y, last = wkv4(w, u, k, v, marks_BT=token_marks(None, documents_BT), form=form)
    alone, end = wkv4(w, u, k[:, 20:], v[:, 20:], form=form)
    torch.testing.assert_close(y[:, 20:], alone)
    torch.testing.assert_close(last, end)


def test_shapes_and_forms_are_refused_by_name() -> None:
    w, u, k, v, state = operands()
    with pytest.raises(ValueError, match=r"state has shape .*; wanted \(2, 3, 21\)"):
        wkv4(w, u, k, v, state[:, :2])
    with pytest.raises(ValueError, match=r"w has shape \(3,\)"):
        wkv4(w[:3], u, k, v)
    with pytest.raises(ValueError, match="cannot be used: it computes in fp32"):
        wkv4(w, u, k, v, form="native")
    with pytest.raises(ValueError, match="form = 'natve': did you mean 'native'"):
        wkv4(w, u, k, v, form="natve")  # type: ignore[arg-type]
