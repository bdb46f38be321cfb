"""Every family from a random teacher to a packed student that runs on the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.losses import Objective, Term
from asnn_goose.losses.kl import KL
from asnn_goose.losses.outputs import AttentionOutput, MlpOutput
from asnn_goose.model import GooseForCausalLM, Teacher, convert
from asnn_goose.model.teacher import FAMILIES
from asnn_goose.trace import Batch
from asnn_goose.train.stages import Align, AlignBlocks, Distill

LOSSLESS = PackSettings(dense="f32", low_rank="f32", head="f16")

Make = Callable[..., Teacher]


def batch_of(tokens_BT: Tensor) -> Batch:
    return Batch(
        tokens_BT=tokens_BT,
        labels_BT=tokens_BT.roll(-1, 1),
        documents_BT=(torch.arange(41) > 20).long().expand(2, 41),
    )


def stage_of(kind: str, student: GooseForCausalLM, teacher: Teacher) -> Align:
    terms = {
        "align": (Align, [Term("attention_output", 1.0, AttentionOutput())]),
        "align_blocks": (
            AlignBlocks,
            [Term("mixer", 1.0, AttentionOutput()), Term("mlp", 1.0, MlpOutput())],
        ),
        "distill": (Distill, [Term("kl", 1.0, KL())]),
    }
    stage, losses = terms[kind]
    return stage(student=student, teacher=teacher, objective=Objective(losses), resets=True)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["align", "align_blocks", "distill"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_step_of_every_stage_lowers_its_loss(
    family: str, kind: str, of_family: Make, tokens_BT: Tensor
) -> None:
    teacher = of_family(family)
    student = convert(teacher).train()
    stage, batch = stage_of(kind, student, teacher), batch_of(tokens_BT)
    mixers = [p for name, p in student.named_parameters() if ".mixer." in name]
    optimiser = torch.optim.SGD(mixers, lr=1e-3)
    losses = []
    for _ in range(2):
        optimiser.zero_grad()
        terms = stage(batch)
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(mixers, 1.0)
        optimiser.step()
        losses.append(total.item())
        if kind == "align_blocks":  # the MLPs are the teacher's, and read what its read
            assert abs(terms["mlp"].item()) < 1e-6
    assert losses[1] < losses[0]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@torch.no_grad()
def test_the_engine_gives_the_students_logits(
    family: str, of_family: Make, tokens_BT: Tensor, tmp_path: Path
) -> None:
    student = convert(of_family(family, words=90), value_shift=True)
    for table in (student.embedding, student.lm_head, student.positions):
        if table is not None:
            table.weight.copy_(table.weight.half())
    ids = tokens_BT[:1] % 90
    wanted = student(ids).logits[0, :, :90]
    export_packed(student, tmp_path / "packed", settings=LOSSLESS)
    for backend in ("native", "reference"):
        engine = Engine(read_packed(tmp_path / "packed"), threads=1, backend=backend)
        found = np.concatenate(list(engine.score(engine.start(), ids[0].numpy())))
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4 * float(wanted.abs().max()))
    drawn = student.generate(ids[:, :7], max_new_tokens=5, do_sample=False)[0, 7:].tolist()
    state, greedy = engine.start(), []
    logits = engine.prefill(state, ids[0, :7].numpy())
    while len(greedy) < len(drawn):
        greedy.append(int(logits.argmax()))
        logits = engine.step([state], greedy[-1:])[0]
    assert greedy == drawn


def test_what_the_engine_cannot_take_is_refused_with_the_setting(
    of_family: Make, tmp_path: Path
) -> None:
    student = convert(of_family("llama", head_dim=24, num_key_value_heads=4))
    with pytest.raises(ExportError, match="head_size = 24: must be a multiple of 16"):
        export_packed(student, tmp_path / "packed")
