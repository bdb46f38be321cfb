"""Every neuron and ternary method says the same however its student is kept or run.

Trained, saved and loaded, compact, packed, captured in the middle of a stage; with a cache and
without, padded on the left, with documents apart. What cannot be kept is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.export.compact import restored, write_compact
from asnn_goose.export.forms import ExportError, int8_rows
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.model import GooseCache, GooseConfig, GooseForCausalLM
from asnn_goose.model.neurons import NEURONS
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.ternary import TERNARY
from asnn_goose.trace import Window

TOKENS, PADDING, SECOND = 14, 5, 6
ROWS: dict[str, dict[str, Any]] = {
    **{f"neuron {name}": {"steps": 1, "neuron": name} for name in NEURONS},
    "neuron lif learned": {"steps": 1, "neuron": {"name": "lif", "decay": "learned"}},
    **{
        f"ternary {name}": {"planes": row.planes_known[0], "ternary": name}
        for name, row in TERNARY.items()
    },
}
SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_size": 32,
    "intermediate_size": 64,
    "mlp": "gated",
    "tie_word_embeddings": False,
}


def entry(row: str) -> dict[str, Any]:
    # Absolute thresholds of a LIF are set low, so that many of them fire.
    return ROWS[row] | ({"threshold": 0.1} if "lif" in row else {})


def untrained(row: str) -> GooseForCausalLM:
    torch.manual_seed(0)
    model = GooseForCausalLM(GooseConfig(**SHAPE))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.set_precision(PrecisionTable({"*": entry(row)}))
    return model


@pytest.fixture(scope="module", params=sorted(ROWS))
def row(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def trained(row: str) -> Iterator[GooseForCausalLM]:
    """Some steps of AdamW, so that learned and measured numbers are away from where they begin."""
    model = untrained(row).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(3):
        model.anneal(step / 3)
        tokens_BT = torch.randint(0, 40, (2, TOKENS), generator=torch.Generator().manual_seed(step))
        model(tokens_BT, labels=tokens_BT).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        yield storable(model.eval())


def storable(model: GooseForCausalLM) -> GooseForCausalLM:
    """With numbers that half precision and 8 bits hold, so that forms cost nothing.

    A rounded number would flip a spike here and there, and one spike hides what is wrong.
    """
    model.embedding.weight.copy_(model.embedding.weight.half())
    model.lm_head.weight.copy_(model.embedding.weight)
    for module in model.modules():
        for factor in (module.down, module.up) if isinstance(module, LowRank) else ():
            codes, scale = int8_rows(factor.T.contiguous().numpy())
            factor.copy_(torch.from_numpy(codes * scale[:, None]).T)
    return model


@pytest.fixture(scope="module")
def tokens_BT() -> Tensor:
    return torch.randint(0, 40, (2, TOKENS), generator=torch.Generator().manual_seed(9))


def close(found: Tensor, wanted: Tensor, *, within: float = 1e-4) -> None:
    assert float((found - wanted).abs().max() / wanted.std()) < within


def _refused(said: str, *words: str) -> None:
    """One of the words is in what was said."""
    assert any(word in said for word in words)


def test_saved_and_loaded(trained: GooseForCausalLM, tokens_BT: Tensor, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path)
    again = GooseForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(tokens_BT).logits, trained(tokens_BT).logits)


def test_put_back_in_the_middle_of_a_stage(
    row: str, trained: GooseForCausalLM, tokens_BT: Tensor
) -> None:
    """What a checkpoint holds, in a student that has only been given its precision."""
    again = untrained(row)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
        targets = dict(again.named_parameters()) | dict(again.named_buffers())
        for name, tensor in trained.state_dict(keep_vars=True).items():
            targets[name].copy_(tensor)
    assert torch.equal(again.eval()(tokens_BT).logits, trained(tokens_BT).logits)


def test_compact_or_refused(trained: GooseForCausalLM, tokens_BT: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "student.safetensors"
    words = trained.embedding.weight
    try:
        write_compact(trained, file, teacher="t", embedding_VD=words)
    except ExportError as error:
        said, written = str(error), file.exists()
        _refused(said, "plane", "scale", "compact")
        _refused(f"written: {written}", "False")
        return
    close(restored(file, embedding_VD=words)(tokens_BT).logits, trained(tokens_BT).logits)


def test_packed_or_refused(trained: GooseForCausalLM, tokens_BT: Tensor, tmp_path: Path) -> None:
    settings = PackSettings(dense="f32", low_rank="f32", head="f16")
    try:
        export_packed(trained, tmp_path / "packed", settings=settings)
    except ExportError as error:
        _refused(str(error), "training only")
        return
    engine = Engine(read_packed(tmp_path / "packed"), threads=1)
    ids = tokens_BT[0].numpy().astype(np.int32)
    found = np.concatenate(list(engine.score(engine.start(), ids)))
    close(torch.from_numpy(found), trained(tokens_BT[:1]).logits[0], within=1e-3)


def test_with_a_cache(trained: GooseForCausalLM, tokens_BT: Tensor) -> None:
    cache = GooseCache()
    pieces = tokens_BT.split([7, *[1] * (TOKENS - 7)], dim=1)
    steps = [trained(piece, past_key_values=cache, use_cache=True).logits for piece in pieces]
    close(torch.cat(steps, dim=1), trained(tokens_BT).logits)


def test_padded_on_the_left(trained: GooseForCausalLM, tokens_BT: Tensor) -> None:
    mask_BT = torch.ones(2, TOKENS).long()
    mask_BT[1, :PADDING] = 0
    found = trained(tokens_BT, attention_mask=mask_BT).logits[1:, PADDING:]
    close(found, trained(tokens_BT[1:, PADDING:]).logits)


def test_with_documents_apart(trained: GooseForCausalLM, tokens_BT: Tensor) -> None:
    documents_BT = (torch.arange(TOKENS) >= SECOND).long().expand(2, TOKENS)
    vocab = frozenset({"vocab"})
    both = trained.trace(tokens_BT, vocab, window=Window(documents_BT=documents_BT))
    alone = trained.trace(tokens_BT[:, SECOND:], vocab)
    found, wanted = (x.vocab(slice(None)).unflatten(0, (2, -1)) for x in (both, alone))
    close(found[:, SECOND:], wanted)
