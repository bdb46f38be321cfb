from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array
from safetensors import safe_open

from asnn_goose.export.compact import (
    compact_teacher,
    pack_trits,
    restored,
    unpack_trits,
    write_compact,
)
from asnn_goose.export.forms import ExportError
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.parts.projection import Projection
from asnn_goose.shape.settings import fault
from asnn_goose.shape.slots import MatrixSlot, SiteSlot
from asnn_goose.shape.student import layout

KEPT = Path(__file__).parents[2] / "students" / "smollm2-spiking.safetensors"
TABLE: dict[str, Any] = {"*": {"planes": 1, "steps": 3, "threshold": 4.0}}


def student(precision: dict[str, Any]) -> GooseForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 64, "head_size": 16, "intermediate_size": 128}
    config = GooseConfig(
        vocab_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        mlp="gated",
        tie_word_embeddings=True,
        precision=precision,
        **shape,
    )
    model = GooseForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.train(False)


@given(
    any_array(np.int8, st.tuples(st.integers(1, 7), st.integers(1, 9)), elements=st.integers(-1, 1))
)
def test_trits_come_back(codes: np.ndarray[Any, np.dtype[np.int8]]) -> None:
    packed = pack_trits(codes)
    assert packed.size == -(-codes.size // 5)
    assert np.array_equal(unpack_trits(packed, codes.shape), codes)


def test_bytes_that_are_no_trits_are_refused() -> None:
    with pytest.raises(ValueError, match="not 5 ternary codes"):
        unpack_trits(np.array([250], np.uint8), (5,))
    with pytest.raises(ValueError, match="not 11 ternary codes"):
        unpack_trits(np.zeros(2, np.uint8), (11,))


@torch.no_grad()
def test_a_student_comes_back_and_says_the_same(tmp_path: Path) -> None:
    model = student({**TABLE, "1.down": {"planes": 0}, "key": {"rotate": True}})
    file = tmp_path / "kept" / "student.safetensors"
    total = write_compact(model, file, teacher="t", embedding_VD=model.embedding.weight)
    again = restored(file, embedding_VD=model.embedding.weight)
    assert compact_teacher(file) == ("t", torch.float32)
    assert again.config.precision == model.config.precision
    assert total < 4 * sum(p.numel() for p in model.parameters()) / 3
    for name, module in model.named_modules():
        if hasattr(module, "ternary") and module.ternary is not None:
            same = again.get_submodule(name)
            ours, theirs = (m.ternary.planes_of(m.weight) for m in (module, same))
            assert torch.equal(ours.codes_POK, theirs.codes_POK)
            torch.testing.assert_close(ours.scale_PGO, theirs.scale_PGO)
    tokens = torch.arange(20).view(1, -1)
    error = (again(tokens).logits - model(tokens).logits).abs().mean()
    assert error < 0.05 * model(tokens).logits.std()


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ({"*": {"planes": 2}}, "only one plane"),
        ({"*": {"planes": 1, "ternary": "terdit"}}, "only one plane without learned scales"),
    ],
)
def test_what_planes_do_not_hold_is_refused(
    tmp_path: Path, precision: dict[str, Any], words: str
) -> None:
    model = student(precision)
    with pytest.raises(ExportError, match=words):
        write_compact(model, tmp_path / "x", teacher="t", embedding_VD=model.embedding.weight)
    assert not (tmp_path / "x").exists()


def test_another_embedding_is_refused(tmp_path: Path) -> None:
    model = student(TABLE)
    other = model.embedding.weight + 1
    with pytest.raises(ExportError, match="the embedding is not that of smol"):
        write_compact(model, tmp_path / "x", teacher="smol", embedding_VD=other)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"no tensors at all")
    with pytest.raises(ExportError, match=re.escape(str(wrong))):
        compact_teacher(wrong)
    model = student(TABLE)
    file = tmp_path / "good.safetensors"
    write_compact(model, file, teacher="t", embedding_VD=model.embedding.weight)
    with pytest.raises(ExportError, match="does not hold the student"):
        restored(file, embedding_VD=model.embedding.weight[:-1])


NEURONS_HERE = [
    "mean",
    "learned",
    "spikelm",
    "spikingbert",
    {"name": "mean", "surrogate": "learnable"},
    {"name": "lif", "surrogate": "learnable"},
    "real_spike",
    "homeostatic",
]


def trained(precision: dict[str, Any]) -> GooseForCausalLM:
    """A student whose neurons and norms have met two batches."""
    model = student(precision).train()
    for seed in (1, 2):
        model(torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(seed)))
    return model.train(False)


@pytest.mark.parametrize("neuron", NEURONS_HERE)
@pytest.mark.parametrize("sub_norm", [False, True])
@torch.no_grad()
def test_what_parts_have_measured_comes_back(tmp_path: Path, neuron: Any, sub_norm: bool) -> None:
    table = {"*": {"planes": 1, "steps": 1, "neuron": neuron, "code": "rate", "sub_norm": sub_norm}}
    model, file = trained(table), tmp_path / "student.safetensors"
    write_compact(model, file, teacher="t", embedding_VD=model.embedding.weight)
    again = restored(file, embedding_VD=model.embedding.weight)
    kept, known = again.state_dict(), model.state_dict()
    for name in {name for name, _ in model.named_buffers()} & known.keys():
        assert torch.equal(kept[name], known[name]), name
    for place, module in model.named_modules():
        if not isinstance(module, Projection):
            continue
        x_BK = torch.randn(3, 5, module.in_features, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(again.get_submodule(place)(x_BK), module(x_BK))


@pytest.mark.parametrize("method", ["absmean", "twn", {"name": "tequila", "strength": 0.5}])
@pytest.mark.parametrize("group", [0, 64])
@torch.no_grad()
def test_every_method_comes_back_with_its_bias(tmp_path: Path, method: Any, group: int) -> None:
    model, file = student({"*": {"planes": 1, "ternary": method, "group": group}}), tmp_path / "s"
    write_compact(model, file, teacher="t", embedding_VD=model.embedding.weight)
    again = restored(file, embedding_VD=model.embedding.weight)
    for place, module in model.named_modules():
        if isinstance(module, Projection):
            x_BK = torch.randn(7, module.in_features, generator=torch.Generator().manual_seed(3))
            found = again.get_submodule(place)(x_BK)
            torch.testing.assert_close(found, module(x_BK), rtol=1e-3, atol=1e-4)


def test_the_kept_student_is_still_described_and_may_be_packed() -> None:
    """Its settings fit the engine, and its file holds every slot but what its teacher gives."""
    with safe_open(KEPT, "np") as stored:
        names, config = set(stored.keys()), json.loads(stored.metadata()["config"])
    assert fault(config, packed=True) is None
    found = {slot.name for slot in layout(config) if any(n.startswith(slot.name) for n in names)}
    slots = {slot.name for slot in layout(config) if not isinstance(slot, SiteSlot)}
    assert slots - found == {"embedding", "lm_head"}
    large = [s for s in layout(config) if isinstance(s, MatrixSlot) and s.part in ("mixer", "mlp")]
    assert all(f"{slot.name}.weight.trits" in names for slot in large)
