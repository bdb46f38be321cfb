"""The lab teacher that the repository keeps."""

from __future__ import annotations

from pathlib import Path

import torch

from asnn_goose.model import convert, load_teacher
from asnn_goose.teachers.lab_teacher import lab_config
from asnn_goose.trace import NEEDS

FOLDER = Path(__file__).resolve().parents[2] / "lab" / "teacher"


def test_it_is_small_and_of_the_recipe_s_shape() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8e6
    teacher = load_teacher(str(FOLDER))
    wanted = lab_config()
    for setting in ("hidden_size", "num_hidden_layers", "num_key_value_heads", "vocab_size"):
        assert getattr(teacher.config, setting) == getattr(wanted, setting)
    assert sum(p.numel() for p in teacher.model.parameters()) < 5e6


@torch.no_grad()
def test_it_knows_its_texts_and_a_student_can_inherit_it() -> None:
    teacher = load_teacher(str(FOLDER))
    assert teacher.tokenizer is not None
    text = "The President of the United States has the honor to report to the Congress of the"
    tokens_BT = torch.tensor([teacher.tokenizer(text)["input_ids"]])
    trace = teacher.trace(tokens_BT, NEEDS)
    log_p_TV = torch.log_softmax(trace.final_BTD[0] @ trace.head_VD.T, dim=-1)
    nats = -log_p_TV[:-1].gather(1, tokens_BT[0, 1:, None]).mean()
    assert nats < 4.5  # a uniform guess costs 8.3
    assert convert(teacher).trace(tokens_BT, frozenset({"vocab"})).final_BTD.isfinite().all()
