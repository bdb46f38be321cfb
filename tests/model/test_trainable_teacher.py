"""A teacher that trains: its logits are the teacher's, gradients reach all of it, it saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from asnn_goose.model import Teacher
from asnn_goose.teachers.trainable_teacher import TrainableTeacher, optimiser_groups
from asnn_goose.trace import NEEDS, Window

KINDS = ["llama", "mistral", "qwen2", "qwen3", "gpt2", "granite", "gemma2", "gpt_neox", "falcon"]
VOCAB = frozenset({"vocab"})
TOKENS_BT = torch.randint(97, (2, 9), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", KINDS)
def test_its_logits_are_the_teachers_and_gradients_flow(
    of_family: Callable[..., Teacher], kind: str
) -> None:
    teacher = of_family(kind)
    expected = teacher.trace(TOKENS_BT, VOCAB).vocab(slice(None))
    model = TrainableTeacher(teacher.model)
    logits = model.trace(TOKENS_BT, VOCAB).vocab(slice(None))
    torch.testing.assert_close(logits, expected)
    logits.square().mean().backward()
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == set()


def test_rows_that_are_no_words_are_left_out(of_family: Callable[..., Teacher]) -> None:
    teacher = of_family("qwen2", words=90)
    model = TrainableTeacher(teacher.model, words=teacher.words)
    logits = model.trace(TOKENS_BT % 90, VOCAB).vocab(slice(None))
    torch.testing.assert_close(logits, teacher.trace(TOKENS_BT % 90, VOCAB).vocab(slice(None)))
    assert logits.shape[-1] == 90
    logits.sum().backward()
    head_VD = teacher.model.get_output_embeddings().weight
    assert head_VD.grad is not None
    assert bool(head_VD.grad[:90].any(dim=1).all())
    assert not head_VD.grad[90:].any()


def test_it_gives_only_logits(of_family: Callable[..., Teacher]) -> None:
    model = TrainableTeacher(of_family("llama").model)
    with pytest.raises(ValueError, match="hidden"):
        model.trace(TOKENS_BT, NEEDS)


def test_documents_are_kept_apart_as_the_teacher_keeps_them(
    of_family: Callable[..., Teacher],
) -> None:
    teacher = of_family("granite")
    window = Window(documents_BT=(torch.arange(9) > 4).long().expand(2, 9))
    wanted = teacher.trace(TOKENS_BT, VOCAB, window=window).vocab(slice(None))
    found = TrainableTeacher(teacher.model).trace(TOKENS_BT, VOCAB, window=window)
    torch.testing.assert_close(found.vocab(slice(None)), wanted)


@pytest.mark.parametrize("saved_as", [torch.float32, torch.float16])
def test_it_is_saved_as_asked_and_stays_as_it_is(
    of_family: Callable[..., Teacher], tmp_path: Path, saved_as: torch.dtype
) -> None:
    model = TrainableTeacher(of_family("llama").model, saved_as=saved_as)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {saved_as}  # noqa: SIM118
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    read = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=saved_as)
    for one, other in zip(read.parameters(), model.model.parameters(), strict=True):
        assert torch.equal(one, other.to(saved_as))


def test_groups_let_weight_decay_fall_on_matrices_only(of_family: Callable[..., Teacher]) -> None:
    llama = optimiser_groups(TrainableTeacher(of_family("llama").model))
    assert llama["model.model.embed_tokens.weight"] == "embedding"
    assert llama["model.lm_head.weight"] == "embedding"
    assert llama["model.model.norm.weight"] == "norm"
    assert llama["model.model.layers.1.input_layernorm.weight"] == "norm"
    assert llama["model.model.layers.0.self_attn.q_proj.weight"] == "matrix"
    assert llama["model.model.layers.0.mlp.down_proj.weight"] == "matrix"
    gpt2 = optimiser_groups(TrainableTeacher(of_family("gpt2").model))
    assert gpt2["model.transformer.wpe.weight"] == "embedding"
    assert gpt2["model.transformer.h.0.ln_1.bias"] == "norm"
    assert gpt2["model.transformer.ln_f.weight"] == "norm"
    assert gpt2["model.transformer.h.0.attn.c_attn.weight"] == "matrix"
    assert gpt2["model.transformer.h.0.attn.c_attn.bias"] == "vector"
