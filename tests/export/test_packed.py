from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asnn_goose.disk import TakenError
from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import (
    TERNARY_HEAD,
    Packed,
    PackSettings,
    export_packed,
)
from asnn_goose.format.packed import WEIGHTS, PackedModel, read_packed
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.ternary import TERNARY
from asnn_goose.ops import spike_codes
from asnn_goose.ops.hadamard import hadamard
from asnn_goose.ops.ternary import absmean
from asnn_goose.shape import code_limits

Student = Callable[..., GooseForCausalLM]
STEPS = {"f32": 0.0, "f16": 2**-10, "int8": 1 / 127, "int4": 0.4}
"""Largest error of a dense number, relative to the largest one of its row."""

PARTS = [
    {"mlp": "gated", "norm": "rms", "embedding_norm": False, "tie_word_embeddings": True},
    {"mlp": "channel_mix", "norm": "layer", "qkv_bias": True, "output_bias": True},
    {"gate": "none", "v_first": "none", "bonus": False, "group_norm": False, "mlp_bias": True},
    {"token_shift": False, "removal_key": False, "key_replacement": False, "rope": True},
]


def exported(
    model: GooseForCausalLM, folder: Path, settings: PackSettings
) -> tuple[PackedModel, Packed]:
    packed = export_packed(model, folder / "packed", settings=settings)
    return read_packed(folder / "packed"), packed


def close(found: np.ndarray, want: torch.Tensor, form: str) -> None:
    limit = STEPS[form] * want.abs().amax(1, keepdim=True)
    assert ((torch.from_numpy(found) - want).abs() <= 0.51 * limit + 1e-7).all()


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("form", ["f16", "int8", "int4", "f32"])
@torch.no_grad()
def test_every_number_is_that_of_the_student(
    form: str, parts: dict[str, object], student: Student, tmp_path: Path
) -> None:
    model = student(**parts)
    packed, _ = exported(model, tmp_path, PackSettings(dense=form, low_rank=form))
    seen = {"embedding.weight", "lm_head.weight"}
    for name, module in model.named_modules():
        if isinstance(module, Projection):
            seen.add(f"{name}.weight")
            weight = module.weight if module.ternary is None else module.ternary(module.weight)
            close(packed.dense(name), weight, "f32" if module.precision.planes else form)
            entry = packed.matrices.get(name, {"steps": 0, "rotate": False})
            assert entry["steps"] == module.precision.steps
            assert entry["rotate"] == module.precision.rotate
            if module.neuron is not None:
                threshold = packed.tensors[f"{name}.threshold"]
                assert threshold[0] == np.float32(module.precision.threshold)
    for name, parameter in model.named_parameters():
        if name.endswith((".down", ".up")):
            close(packed.dense(name), parameter.T, form)
        elif name not in seen:
            assert np.array_equal(packed.tensors[name], parameter.numpy())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", ["int8", "int4", "f16", "ternary"])
@torch.no_grad()
def test_embedding_and_head(head: str, tied: bool, student: Student, tmp_path: Path) -> None:
    model = student(tie_word_embeddings=tied)
    packed, sizes = exported(model, tmp_path, PackSettings(head=head))
    rows = "int8" if head == "ternary" else head
    close(packed.dense("embedding"), model.embedding.weight, rows)
    own = any(name.startswith("lm_head.") for name in packed.tensors)
    assert own == ("head" in sizes.bytes_by_part) == (head == "ternary" or not tied)
    if head == "ternary":
        want = absmean(hadamard(model.lm_head.weight), planes=2).dense()
        close(packed.dense("lm_head"), want, "f32")
        assert packed.matrices["lm_head"] == {"steps": 3, "code": "radix3", "rotate": True}
        assert packed.tensors["lm_head.threshold"][0] == TERNARY_HEAD.threshold
    elif own:
        close(packed.dense("lm_head"), model.lm_head.weight, head)


def test_both_sides_know_the_same_codes() -> None:
    assert spike_codes.MAX_STEPS == code_limits.MAX_STEPS


def test_sizes_add_up(student: Student, tmp_path: Path) -> None:
    model = student(tie_word_embeddings=True)
    packed, sizes = exported(model, tmp_path, PackSettings())
    assert sizes.total_bytes == sum(array.nbytes for array in packed.tensors.values())
    assert sizes.fp32_bytes == 4 * sum(p.numel() for p in model.parameters())
    assert sizes.bytes_by_part["embedding"] == 97 * (128 + 4)
    down = packed.tensors["blocks.0.mlp.key.planes"].nbytes
    assert down == 2 * 192 * 128 // 4


def test_the_configuration_goes_along(student: Student, tmp_path: Path) -> None:
    model = student()
    exported(model, tmp_path, PackSettings())
    assert GooseConfig.from_pretrained(tmp_path / "packed").precision == model.config.precision
    written = json.loads((tmp_path / "packed" / "config.json").read_text())
    assert GooseConfig(**written).to_dict() == model.config.to_dict()


def test_half_precision_students_are_packed_too(student: Student, tmp_path: Path) -> None:
    model = student().to(torch.bfloat16)
    packed, _ = exported(model, tmp_path, PackSettings())
    assert packed.tensors["final_norm.weight"].dtype == np.float32


def test_tokenizer_files_are_copied(student: Student, tmp_path: Path) -> None:
    source = tmp_path / "student"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    (source / "chat_template.jinja").write_text("x")
    (source / "model.safetensors").write_text("no")
    export_packed(student(), tmp_path / "packed", tokenizer=source)
    found = {file.name for file in (tmp_path / "packed").iterdir()}
    assert found == {"tokenizer.json", "chat_template.jinja", "config.json", "origin.json", WEIGHTS}


@pytest.mark.parametrize("setting", ["dense", "low_rank", "head"])
def test_unknown_formats_are_named(setting: str) -> None:
    with pytest.raises(ExportError, match=f"{setting} = 'int3': choose one of"):
        PackSettings(**{setting: "int3"})


def test_sites_and_their_neurons_are_packed(student: Student, tmp_path: Path) -> None:
    precision = {"k": {"steps": 2, "code": "rate", "threshold": 3.0}, "1.v": {"steps": 1}}
    packed, _ = exported(student(precision=precision), tmp_path, PackSettings())
    entry = {"steps": 2, "code": "rate", "rotate": False}
    assert packed.matrices == {
        "blocks.0.mixer.k": entry,
        "blocks.1.mixer.k": entry,
        "blocks.1.mixer.v": {"steps": 1, "code": "radix3", "rotate": False},
    }
    assert packed.tensors["blocks.1.mixer.k.threshold"].tolist() == [3.0]
    assert "blocks.0.mixer.v.threshold" not in packed.tensors


@pytest.mark.parametrize("name", TERNARY)
@torch.no_grad()
def test_every_ternary_method_is_packed_as_it_multiplies(
    name: str, student: Student, tmp_path: Path
) -> None:
    planes = TERNARY[name].planes_known[0]
    model = student(precision={"*": {"planes": planes, "ternary": name}})
    packed, _ = exported(model, tmp_path, PackSettings())
    module = model.blocks[1].mixer.key
    close(packed.dense("blocks.1.mixer.key"), module.ternary(module.weight), "f32")
    bias = packed.tensors.get("blocks.1.mixer.key.bias")
    assert (bias is not None) == (name == "tequila")
    if bias is not None:
        assert np.array_equal(bias, module.ternary.bias(module.weight).numpy())


def test_a_factor_at_a_site_is_refused(student: Student, tmp_path: Path) -> None:
    model = student(precision={"1.v": {"steps": 1, "neuron": "real_spike"}})
    with pytest.raises(ExportError, match=r"blocks\.1\.mixer\.v: the factor of its spikes has no"):
        export_packed(model, tmp_path / "packed")


def test_a_site_that_only_trains_is_refused(student: Student, tmp_path: Path) -> None:
    model = student(precision={"k": {"steps": 1}})
    model.blocks[1].mixer.k_neuron.training_only = "amplitudes differ between channels"
    with pytest.raises(ExportError, match=r"blocks\.1\.mixer\.k: spikes of MeanThreshold are for"):
        export_packed(model, tmp_path / "packed")


@torch.no_grad()
def test_what_cannot_be_packed_leaves_nothing(student: Student, tmp_path: Path) -> None:
    model = student(hidden_size=96, precision={})
    said = r"head = 'ternary': rotate = true.*take int8, int4 or f16"
    with pytest.raises(ExportError, match=said):
        export_packed(model, tmp_path / "packed", settings=PackSettings(head="ternary"))
    model.blocks[1].mixer.key.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match=r"blocks.1.mixer.key holds numbers that are not finite"):
        export_packed(model, tmp_path / "packed")
    assert not any(tmp_path.iterdir())


def test_other_folders_are_left_alone(student: Student, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(TakenError, match="is no packed model: choose another folder"):
        export_packed(student(), tmp_path)
    export_packed(student(), tmp_path / "packed", settings=PackSettings(head="f16"))
    export_packed(student(), tmp_path / "packed")
    assert read_packed(tmp_path / "packed").tensors["embedding.weight"].dtype == np.int8


@pytest.mark.parametrize(
    "setting", [{"mlp": "gated_channel_mix"}, {"mixer": "rwkv4"}, {"mixer": "rwkv6"}], ids=str
)
def test_parts_that_the_engine_lacks_are_refused(
    setting: dict[str, object], student: Student, tmp_path: Path
) -> None:
    (name,) = setting
    said = f"{name} = .*must be .*: the engine knows nothing else.*PyTorch"
    with pytest.raises(ExportError, match=said):
        exported(student(**setting), tmp_path, PackSettings())
    assert not (tmp_path / "packed").exists()
