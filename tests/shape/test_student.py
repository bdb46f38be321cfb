"""The description of a student is that of the student which PyTorch builds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.goose import config
from asnn_goose.model.parts import groups
from asnn_goose.model.parts.config import FIELDS
from asnn_goose.model.parts.norm import NORMS
from asnn_goose.model.parts.precision_table import BLOCK_SITES, PrecisionTable
from asnn_goose.shape.limits import Only, Size
from asnn_goose.shape.mlps import MLPS
from asnn_goose.shape.rwkv7 import published_rank
from asnn_goose.shape.settings import all_settings, fault, halves, settings_of
from asnn_goose.shape.slots import MatrixSlot, SiteSlot, VectorSlot
from asnn_goose.shape.student import (
    kept,
    layout,
    matrices,
    names,
    parameters,
    parts,
    products,
    recurrence,
    state,
)

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "head_size": 16,
    "intermediate_size": 128,
}
KINDS: list[dict[str, Any]] = [
    {},
    {"mlp": "gated", "norm": "rms", "tie_word_embeddings": True, "embedding_norm": False},
    {"mlp": "plain", "n_positions": 20, "mlp_bias": True, "qkv_bias": True, "output_bias": True},
    {"gate": "none", "v_first": "none", "token_shift": False, "bonus": False, "qk_norm": True},
    {"removal_key": False, "key_replacement": False, "group_norm": False, "value_rank": 8},
    {"mixer": "rwkv4", "mlp": "gated_channel_mix", "qkv_bias": True, "mlp_bias": True},
    {"mixer": "rwkv4", "mlp": "gated_channel_mix", "token_shift": False},
    {"mixer": "rwkv5", "gate": "silu", "qk_norm": True, "output_bias": True},
    {"mixer": "rwkv6", "gate": "one_plus", "mlp": "gated_channel_mix", "shift_rank": 8},
    {"mixer": "rwkv6", "gate": "none", "token_shift": False, "bonus": False, "group_norm": False},
    {"mixer": "spiking_attention", "mlp": "spiking", "inner_steps": 3, "norm": "none"},
]


def built(changes: dict[str, Any]) -> GooseForCausalLM:
    with torch.device("meta"):
        return GooseForCausalLM(GooseConfig(**(SHAPE | changes)))


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_every_parameter_has_its_slot_and_every_slot_its_parameter(changes: dict[str, Any]) -> None:
    student = built(changes)
    described: dict[str, tuple[int, ...]] = {}
    for slot in layout(student.config.to_dict()):
        if isinstance(slot, VectorSlot):
            described[slot.name] = slot.shape
        elif isinstance(slot, MatrixSlot) and not slot.optional:
            low_rank = slot.part == "low-rank"  # PyTorch keeps these as [in, out]
            shape = (slot.columns, slot.rows) if low_rank else (slot.rows, slot.columns)
            described[slot.name if low_rank else f"{slot.name}.weight"] = shape
            described |= {f"{slot.name}.bias": (slot.rows,)} if slot.bias else {}
    found = {name: tuple(p.shape) for name, p in student.named_parameters()}
    assert described == found
    total = sum(math.prod(shape) for shape in found.values())
    assert sum(parameters(student.config.to_dict()).values()) == total


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_large_matrices_are_those_that_decay_and_may_be_ternary(changes: dict[str, Any]) -> None:
    student = built(changes)
    settings = student.config.to_dict()
    found = {m.name: m for layer in range(2) for m in matrices(settings, layer)}
    assert {f"{name}.weight" for name in found} == {
        name for name, _ in student.named_parameters() if groups.parameter_group(name) == "matrix"
    }
    columns = {m.precision: m.columns for m in matrices(settings, 0)}
    assert columns == student.config.matrix_columns
    for name, matrix in found.items():
        assert student.get_submodule(name).precision == PrecisionTable({}).of(matrix.precision)
        assert parts(settings)[name] == matrix.part == name.split(".")[2]
    by_part = products(settings)
    assert by_part["mixer"] + by_part["mlp"] == sum(m.rows * m.columns for m in found.values())
    assert by_part["head"] == 97 * 64
    assert "embedding" not in by_part


@pytest.mark.parametrize("changes", KINDS, ids=str)
@torch.no_grad()
def test_the_state_is_that_of_a_block(changes: dict[str, Any]) -> None:
    student = GooseForCausalLM(GooseConfig(**(SHAPE | changes)))
    cache = student(torch.tensor([[1, 2]]), use_cache=True).past_key_values
    halves_of = {"mixer": cache.blocks[1].mixer, "mlp": cache.blocks[1].mlp}
    carried = {
        f"{half}.{name}": tuple(tensor.shape[1:])
        for half, tensors in halves_of.items()
        for name, tensor in tensors.items()
    }
    described = list(state(student.config.to_dict()))
    assert {part.name: part.shape for part in described} == carried
    assert described[0].name == "mixer.memory"


def test_what_precision_names_is_derived() -> None:
    places = config._places(GooseConfig())
    assert places.matrices == names(MatrixSlot)
    assert places.sites == (*names(SiteSlot), *BLOCK_SITES)
    assert set(NORMS) == set(all_settings()["norm"].student.words)  # type: ignore[attr-defined]


def test_every_setting_of_the_configuration_is_described_with_its_default() -> None:
    known = all_settings()
    fields = {
        name: field.default
        for name, field in GooseConfig.__dataclass_fields__.items()
        if name in FIELDS and name not in ("model_type", "use_cache")
    }
    assert {name: setting.default for name, setting in known.items()} == fields


def test_defaults_fit_and_the_engine_takes_only_what_a_student_may_have() -> None:
    for word in set(MLPS) - {"spiking"}:  # which wants inner steps
        defaults = {n: s.default for n, s in settings_of({"mixer": "rwkv7", "mlp": word}).items()}
        assert fault(defaults | {"mlp": word}) is None
    for setting in settings_of({"mixer": "rwkv7", "mlp": "gated"}).values():
        if isinstance(setting.packed, Only):
            assert setting.packed.value == setting.default
        if isinstance(setting.packed, Size):
            assert setting.student.fits(setting.packed.least)
            assert setting.student.fits(setting.packed.most)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mlp": "a mixture"}, "mlp = 'a mixture': must be a name"),
        ({"head_size": 0}, "head_size = 0: must be a whole number of at least 1"),
        ({"head_size": 15, "rope": True}, "head_size = 15: must be even, for rope = true"),
        ({"real_vocab_size": 98}, "real_vocab_size = 98: must be 0, or at most 97"),
        ({"bonus": 1}, "bonus = 1: must be true or false"),
    ],
)
def test_what_no_student_can_have_is_named(changes: dict[str, Any], words: str) -> None:
    assert str(fault(GooseConfig(**SHAPE).to_dict() | changes)) == words


def test_a_mixer_without_a_description_is_named() -> None:
    with pytest.raises(ValueError, match="mixer = 'mamba': choose one of rwkv7, rwkv4"):
        halves({"mixer": "mamba", "mlp": "gated"})


def test_what_a_block_costs() -> None:
    settings = GooseConfig(**SHAPE).to_dict()
    assert recurrence(settings) == (2 * 4 * 3 * 16 * 16, 2 * 5 * 3 * 16 * 16)
    assert kept(settings) == {"mixer": 40 * 48, "mlp": 3 * 128}
    assert [published_rank(factor, 576) for factor in (2.5, 1.7, 5.0)] == [64, 32, 128]
