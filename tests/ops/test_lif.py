"""LIF neurons along tokens: the kernel held against the loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.documents import token_marks
from asnn_goose.ops.lif import Cell, lif
from asnn_goose.ops.surrogate import SURROGATES, atan, surrogate

if not native_available():
    pytest.skip(native_status(), allow_module_level=True)


def currents(*shape: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 0.5


def marks(B: int, T: int) -> Tensor | None:
    mask_BT = torch.ones(B, T, dtype=torch.bool)
    mask_BT[0, :3] = False
    documents_BT = torch.zeros(B, T).index_fill_(1, torch.arange(T // 2, T), 1)
    return token_marks(mask_BT, documents_BT)


@pytest.mark.parametrize("isa", ["reference", "baseline", None])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ["atan", "rectangle", "superspike"])
def test_the_kernel_is_the_loop(
    name: str, signed: bool, marked: bool, isa: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in SURROGATES
    if isa is not None:
        monkeypatch.setenv("ASNN_GOOSE_ISA", isa)
    B, T, K = 2, 40, 70
    cell = Cell(tau=2.5, threshold=0.8, signed=signed)
    marks_BT = marks(B, T) if marked else None
    back = [torch.randn(B, T, K), torch.randn(B, K)]
    found = {}
    for form in ("loop", "native"):
        h = currents(B, T, K).requires_grad_()
        state = (0.3 * currents(B, K)).detach().requires_grad_()
        s, m, last = lif(h, state, cell, surrogate(name), marks_BT=marks_BT, form=form)
        found[form] = (s, m, last, *torch.autograd.grad((s, last), (h, state), back))
    for loop, native in zip(found["loop"][:3], found["native"][:3], strict=True):
        assert torch.equal(loop, native)
    for loop, native in zip(found["loop"][3:], found["native"][3:], strict=True):
        torch.testing.assert_close(native, loop, rtol=1e-6, atol=1e-6)
    assert 0.05 < float(found["native"][0].detach().abs().mean()) < 0.95


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("detach", [False, True])
def test_the_kernel_learns_the_decay_of_the_loop(marked: bool, detach: bool) -> None:
    B, T, K = 2, 40, 70
    cell = Cell(tau=99.0, threshold=0.8, signed=True, detach=detach)
    marks_BT = marks(B, T) if marked else None
    back = [torch.randn(B, T, K), torch.randn(B, K)]
    found = {}
    for form in ("loop", "native"):
        h = currents(B, T, K).requires_grad_()
        state, decay = torch.zeros(B, K), torch.tensor(-0.3, requires_grad=True)
        s, _, last = lif(h, state, cell, atan, decay=decay, marks_BT=marks_BT, form=form)
        found[form] = (s, last, *torch.autograd.grad((s, last), (h, decay), back))
    assert torch.equal(found["loop"][0], found["native"][0])
    assert torch.equal(found["loop"][1], found["native"][1])
    torch.testing.assert_close(found["native"][2:], found["loop"][2:], rtol=1e-4, atol=1e-5)
    fixed = Cell(tau=float(1 / torch.tensor(-0.3).sigmoid()), threshold=0.8, signed=True)
    again, _, _ = lif(currents(B, T, K), torch.zeros(B, K), fixed, atan, marks_BT=marks_BT)
    assert torch.equal(again, found["native"][0])


def test_a_decay_by_hand() -> None:
    """Where nothing fires: dm0/dd = (h0 - V) l (1 - l), dm1/dd likewise, and (1 - l) dm0/dd."""
    cell = Cell(tau=1.0, threshold=1e6, signed=False)
    decay = torch.tensor(0.4, requires_grad=True)
    _, _, last = lif(torch.tensor([[[1.9], [1.0]]]), torch.zeros(1, 1), cell, atan, decay=decay)
    (found,) = torch.autograd.grad(last.sum(), decay)
    share = float(torch.tensor(0.4).sigmoid())
    m0 = 1.9 * share
    slope = share * (1 - share)
    assert float(last.detach()) == pytest.approx(m0 + share * (1 - m0))
    assert float(found) == pytest.approx(slope * (1 - m0) + (1 - share) * slope * 1.9, rel=1e-4)


def test_the_reset_has_a_gradient() -> None:
    """A spike empties the membrane, so a larger current now means less of it later."""
    cell = Cell(tau=2.0, threshold=1.0, signed=False)
    h = torch.tensor([[[1.9], [1.0]]]).requires_grad_()
    _, _, last = lif(h, torch.zeros(1, 1), cell, atan)
    (dh,) = torch.autograd.grad(last.sum(), h)
    # m0 = .95, m1 = .95 + (1 - .95) / 2 = .975; V1 = m1 (1 - s1), dV1/dm1 = 1 - m1 h(m1 - 1), and
    # likewise for m0.
    at = [float(atan(torch.tensor(m - 1.0))) for m in (0.95, 0.975)]
    second = 1 - 0.975 * at[1]
    first = second * 0.5 * (1 - 0.95 * at[0])
    torch.testing.assert_close(dh.flatten(), torch.tensor([first / 2, second / 2]))


def test_padding_charges_nothing_and_a_document_starts_at_rest() -> None:
    cell = Cell(tau=2.0, threshold=1.0, signed=False)
    h = currents(2, 12, 5)
    s, _, last = lif(h, torch.zeros(2, 5), cell, atan, marks_BT=marks(2, 12))
    assert not s[0, :3].any()
    alone, _, end = lif(h[:, 6:], torch.zeros(2, 5), cell, atan)
    assert torch.equal(s[:, 6:], alone)
    assert torch.equal(last, end)
    shorter, _, _ = lif(h[:1, 3:6], torch.zeros(1, 5), cell, atan)
    assert torch.equal(s[:1, 3:6], shorter)


def test_every_element_is_written() -> None:
    """Outputs come from uninitialised memory: an element left out would be what was there."""
    cell = Cell(tau=2.0, threshold=1.0, signed=False)
    for K in (1, 63, 64, 65, 130):
        h = currents(1, 3, K)
        loop = lif(h, torch.zeros(1, K), cell, atan, form="loop")
        for _ in range(3):
            torch.full((3 * K,), torch.nan)  # memory that the next one may get
            native = lif(h, torch.zeros(1, K), cell, atan, form="native")
            assert all(torch.equal(a, b) for a, b in zip(loop, native, strict=True))


def test_forms_are_refused_by_name() -> None:
    cell = Cell(tau=2.0, threshold=1.0, signed=False)
    with pytest.raises(ValueError, match=r"computes in fp32, the inputs are torch\.float64"):
        lif(torch.zeros(1, 2, 3).double(), torch.zeros(1, 3), cell, atan, form="native")
