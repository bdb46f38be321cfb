"""A teacher with the document mask reads a packed window as it reads every document alone."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from asnn_goose.model.parts.documents import document_mask, document_positions
from asnn_goose.trace import Window

DOCUMENTS_BT = torch.tensor([[4, 4, 4, 5, 6, 6, 6, 6], [1, 1, 1, 1, 1, 1, 1, 2]])
SIZES = {"vocab_size": 31, "bos_token_id": 0, "eos_token_id": 0}


def llama(attention: str) -> LlamaModel:
    config = LlamaConfig(
        **SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, attn_implementation=attention,
    )  # fmt: skip
    return LlamaModel(config).eval()


def gpt2(attention: str) -> GPT2Model:
    config = GPT2Config(
        **SIZES, n_embd=16, n_layer=2, n_head=2, n_positions=16, attn_implementation=attention
    )
    return GPT2Model(config).eval()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("make", [llama, gpt2])
@torch.no_grad()
def test_teacher_reads_every_document_alone(make, attention) -> None:
    torch.manual_seed(0)
    model = make(attention)
    ids_BT = torch.randint(0, 31, DOCUMENTS_BT.shape)
    packed = model(
        input_ids=ids_BT,
        attention_mask=document_mask(DOCUMENTS_BT),
        position_ids=document_positions(DOCUMENTS_BT),
        use_cache=False,
    ).last_hidden_state
    for row, first, end in ((0, 0, 3), (0, 3, 4), (0, 4, 8), (1, 0, 7), (1, 7, 8)):
        one = model(input_ids=ids_BT[row : row + 1, first:end], use_cache=False).last_hidden_state
        torch.testing.assert_close(packed[row, first:end], one[0], rtol=1e-4, atol=1e-5)


def test_positions_start_again_with_every_document() -> None:
    assert document_positions(DOCUMENTS_BT).tolist() == [
        [0, 1, 2, 0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5, 6, 0],
    ]


def test_mask_is_block_diagonal_and_causal() -> None:
    mask = document_mask(torch.tensor([[1, 1, 2, 1]]), dtype=torch.float64)
    assert mask.shape == (1, 1, 4, 4)
    assert mask.dtype == torch.float64
    allowed = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert (mask[0, 0] == 0).int().tolist() == allowed
    assert mask.min() == torch.finfo(torch.float64).min


def test_mask_of_one_document_is_the_causal_one() -> None:
    mask = document_mask(torch.full((2, 5), 3))
    assert torch.equal(mask[1, 0] == 0, torch.ones(5, 5).tril().bool())


WINDOWED = [
    ("mistral", {"sliding_window": 3}),
    ("qwen2", {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1}),
    ("qwen3", {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 0}),
]


@pytest.mark.parametrize(("family", "window"), WINDOWED)
@torch.no_grad()
def test_sliding_windows_stay_where_documents_are_kept_apart(family, window, of_family) -> None:
    """Two documents in a row, each as long as three windows."""
    teacher, plain = of_family(family, **window), of_family(family, sliding_window=None)
    one_BT, other_BT = torch.randint(0, 97, (2, 1, 9), generator=torch.Generator().manual_seed(1))
    documents_BT = torch.tensor([[1] * 9 + [2] * 9])
    needs = frozenset({"hidden"})
    packed = teacher.trace(
        torch.cat([one_BT, other_BT], 1), needs, window=Window(documents_BT=documents_BT)
    )
    for start, ids_BT in ((0, one_BT), (9, other_BT)):
        alone, wide = (model.trace(ids_BT, needs).hidden[-1] for model in (teacher, plain))
        assert (alone - wide).abs().max() > 1e-2
        found = packed.hidden[-1][:, start : start + 9]
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)
