from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM

from asnn_goose.model import VARIANTS, Teacher, TeacherError, convert, load_teacher
from asnn_goose.model.parts.groups import parameter_group, trainable
from asnn_goose.model.parts.projection import Projection


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"rwkv4"}))  # k and r start at 0
def test_weights_are_inherited(variant: str, teacher: Teacher) -> None:
    student = convert(teacher, variant=variant)
    theirs, ours = teacher.layers[1], student.blocks[1]
    assert torch.equal(ours.mixer.receptance.weight, theirs.self_attn.q_proj.weight)
    assert torch.equal(ours.mixer.output.weight, theirs.self_attn.o_proj.weight)
    keys, values = theirs.self_attn.k_proj.weight, theirs.self_attn.v_proj.weight
    for head, group in enumerate((0, 0, 1, 1)):
        rows, source = slice(16 * head, 16 * head + 16), slice(16 * group, 16 * group + 16)
        assert torch.allclose(ours.mixer.key.weight[rows], keys[source] / 4)
        assert torch.equal(ours.mixer.value.weight[rows], values[source])
    assert torch.equal(ours.mlp.down.weight, theirs.mlp.down_proj.weight)
    assert torch.equal(ours.mlp_norm.weight, theirs.post_attention_layernorm.weight)
    assert torch.equal(student.lm_head.weight, teacher.model.lm_head.weight)
    assert torch.equal(student.final_norm.weight, teacher.model.model.norm.weight)


@pytest.mark.parametrize("variant", ["goose", "radlads"])
def test_gates_start_at_one(variant: str, teacher: Teacher) -> None:
    mixer = convert(teacher, variant=variant).blocks[0].mixer
    assert mixer.gate is not None
    offset = 1 if mixer.gate_kind == "one_plus" else 0
    gate = offset + mixer.gate(torch.randn(2, 5, 64))
    assert torch.allclose(gate, torch.ones_like(gate), atol=1e-5)
    assert mixer.gate.up.std(0).min() > 0


def test_published_variants_are_settings(teacher: Teacher) -> None:
    radlads, arwkv = (convert(teacher, variant=name).config for name in ("radlads", "arwkv"))
    assert (radlads.token_shift, radlads.bonus, radlads.rope, radlads.gate) == (
        False,
        False,
        True,
        "sigmoid",
    )
    assert (arwkv.gate, arwkv.v_first) == ("one_plus", "detached")
    assert convert(teacher, variant="arwkv_no_gate").blocks[0].mixer.norm is None


def test_biases_and_untied_heads_are_inherited(llama: Callable[..., Teacher]) -> None:
    teacher = llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    with torch.no_grad():
        for parameter in teacher.model.parameters():
            parameter.add_(0.1)
    student = convert(teacher)
    ours, theirs = student.blocks[2], teacher.layers[2]
    assert torch.allclose(ours.mixer.key.bias[:16], theirs.self_attn.k_proj.bias[:16] / 4)
    assert torch.equal(ours.mixer.output.bias, theirs.self_attn.o_proj.bias)
    assert torch.equal(ours.mlp.up.bias, theirs.mlp.up_proj.bias)
    assert not torch.equal(student.lm_head.weight, student.embedding.weight)
    tied = convert(llama(tie_word_embeddings=True))
    assert tied.lm_head.weight is tied.embedding.weight


def test_a_student_of_another_shape_is_refused(teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="num_hidden_layers = 2"):
        convert(teacher, num_hidden_layers=2)
    with pytest.raises(ValueError, match="head_size = 32: a student of tiny needs 16"):
        convert(teacher, head_size=32)
    with pytest.raises(ValueError, match="mlp = 'plain': a student of tiny needs 'gated'"):
        convert(teacher, mlp="plain")
    with pytest.raises(ValueError, match="variant = 'x'"):
        convert(teacher, variant="x")
    with pytest.raises(ValueError, match="colour"):
        convert(teacher, colour="red")


def test_another_family_is_named(tmp_path: Path) -> None:
    model = BloomForCausalLM(BloomConfig(n_layer=1, hidden_size=32, n_head=2, vocab_size=50))
    with pytest.raises(TeacherError, match=r"'bloom'.*supported: falcon, gemma2"):
        Teacher(model, None, name="other")
    model.save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="'bloom'"):
        load_teacher(str(tmp_path))


@torch.no_grad()
def test_a_teachers_trace_is_what_it_computes(teacher: Teacher, tokens_BT: Tensor) -> None:
    needs = frozenset({"vocab", "hidden", "mixer_in", "mixer_out", "mlp_out", "queries"})
    needs |= {"keys", "values"}
    hooks = [len(module._forward_hooks) for module in teacher.model.modules()]
    trace = teacher.trace(tokens_BT, needs)
    assert [len(module._forward_hooks) for module in teacher.model.modules()] == hooks
    result = teacher.model(tokens_BT, output_hidden_states=True)
    assert torch.allclose(trace.vocab(slice(0, 82)), result.logits.flatten(0, 1), atol=1e-6)
    for index in range(3):  # Transformers norms the last one
        assert torch.equal(trace.hidden[index], result.hidden_states[index])
    layer = teacher.layers[1]
    assert torch.equal(trace.mixer_in[1], layer.input_layernorm(trace.hidden[1]))
    after = trace.hidden[1] + trace.mixer_out[1]
    added = layer.mlp(layer.post_attention_layernorm(after))
    assert torch.allclose(added, trace.mlp_out[1], atol=1e-6)
    after = after + added
    assert torch.allclose(after, trace.hidden[2], atol=1e-6)
    assert trace.signals["keys"][0].shape == (2, 41, 4, 16)
    assert torch.equal(trace.signals["keys"][0][:, :, 0], trace.signals["keys"][0][:, :, 1])
    assert not any(p.requires_grad for p in teacher.model.parameters())


def test_methods_start_from_weights_that_are_final(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Projection, Tensor] = {}
    monkeypatch.setattr(
        Projection, "into_basis_", lambda matrix: seen.update({matrix: matrix.weight.clone()})
    )
    convert(teacher)
    assert len(seen) == 3 * 7
    assert all(torch.equal(weight, matrix.weight) for matrix, weight in seen.items())


def test_groups_cover_every_parameter(teacher: Teacher) -> None:
    student = convert(teacher)
    groups = {name: parameter_group(name) for name, _ in student.named_parameters()}
    assert groups["embedding.weight"] == "embedding"
    assert groups["blocks.0.mixer_norm.weight"] == "norm"
    assert groups["blocks.0.mixer.key.weight"] == "matrix"
    assert groups["blocks.0.mlp.down.weight"] == "matrix"
    assert groups["blocks.0.mixer.norm.weight"] == "vector"
    assert groups["blocks.0.mixer.decay.up"] == "vector"
    mixers = trainable(student, "mixers")
    assert mixers == {name for name in groups if ".mixer." in name}
    assert trainable(student, "all") == set(groups)
    with pytest.raises(ValueError, match="train = 'heads'"):
        trainable(student, "heads")
