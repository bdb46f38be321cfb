"""Documents of a window give the outputs and gradients of each document run alone."""

from __future__ import annotations

import pytest
import torch

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.documents import document_starts
from asnn_goose.ops.wkv7 import wkv7
from asnn_goose.ops.wkv7.documents import segments, wkv7_by_document

NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(not native_available(), reason=native_status())
)
FORMS = ["recurrent", "chunked", NATIVE, "auto"]

# Long and short documents, starts at the first and last token of a chunk, one row without any.
LENGTHS = ((30, 1, 2, 37), (70,), (63, 1, 6))


@pytest.fixture
def documents_BT() -> torch.Tensor:
    rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in LENGTHS]
    return torch.stack(rows) + 5


def alone(*inputs):
    """Each document by the recurrence, the state reaching the first of a row only."""
    *sequences, state = inputs
    outputs, finals = [], []
    for row, lengths in enumerate(LENGTHS):
        first, carried, parts = 0, state[row : row + 1], []
        for length in lengths:
            piece = (x[row : row + 1, first : first + length] for x in sequences)
            y, final = wkv7(*piece, carried, form="recurrent")
            parts.append(y)
            first, carried = first + length, torch.zeros_like(final)
        outputs.append(torch.cat(parts, dim=1))
        finals.append(final)
    return torch.cat(outputs), torch.cat(finals)


@pytest.mark.parametrize("form", FORMS)
def test_documents_are_as_if_run_alone(form, operands, documents_BT, assert_close):
    exact = operands(B=3, T=70)
    got = exact.to(torch.float32).run(wkv7_by_document, documents_BT=documents_BT, form=form)
    assert_close(got, exact.run(alone), relative=1e-5)


@pytest.mark.parametrize("form", ["recurrent", "chunked"])
def test_it_is_exact_in_fp64(form, operands, documents_BT, assert_close):
    exact = operands(B=3, T=70)
    got = exact.run(wkv7_by_document, documents_BT=documents_BT, form=form)
    assert_close(got, exact.run(alone), relative=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_no_document_sees_another(form, operands, documents_BT):
    *sequences, state = operands(B=3, T=70).to(torch.float32).inputs
    settings = {"documents_BT": documents_BT, "form": form}
    before, _ = wkv7_by_document(*sequences, state, **settings)
    changed = [x.clone() for x in sequences]
    for x in changed:
        x[0, :30] *= 0.5
    after, _ = wkv7_by_document(*changed, state, **settings)
    assert torch.equal(after[0, 30:], before[0, 30:])
    assert (after[0, :30] - before[0, :30]).abs().amax() > 1e-3
    plain, _ = wkv7(*sequences, state, form=form)
    assert (plain[0, 30:] - before[0, 30:]).abs().amax() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_window_of_one_document_is_plain_wkv7(form, operands):
    inputs = operands(T=20).to(torch.float32).inputs
    one = torch.full((2, 20), 7)
    for got, want in zip(
        wkv7_by_document(*inputs, documents_BT=one, form=form),
        wkv7(*inputs, form=form),
        strict=True,
    ):
        assert torch.equal(got, want)


def test_segments_are_runs_of_one_number():
    documents_BT = torch.tensor([[3, 3, 4, 3], [9, 9, 9, 9]])
    assert segments(documents_BT) == [(0, 0, 2), (0, 2, 3), (0, 3, 4), (1, 0, 4)]
    assert document_starts(documents_BT).tolist() == [[False, False, True, True], [False] * 4]


def test_documents_of_another_shape_are_named(operands):
    with pytest.raises(ValueError, match=r"documents has shape \(2, 6\); r has \(2, 7, 2, 16\)"):
        wkv7_by_document(*operands(T=7).inputs, documents_BT=torch.zeros(2, 6))
