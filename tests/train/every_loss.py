"""Two steps under each loss: `python every_loss.py`, as one of several processes.

Prints the name of every loss after which all processes hold the same, finite student.
"""

from __future__ import annotations

import sys

import torch
from accelerate import Accelerator
from tiny_run import BATCH, WINDOW, stage_plan, teacher
from torch import nn
from transformers.utils import logging

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term, TraceLoss
from asnn_goose.model.convert import convert
from asnn_goose.model.teacher_mixture import TeacherMixture
from asnn_goose.trace import ATTENTION
from asnn_goose.train.plan import RunSettings
from asnn_goose.train.stages import STAGES
from asnn_goose.train.trainer import StageTrainer


def kind_of(loss: nn.Module) -> str:
    """Features of single mixers are aligned; everything else trains the whole student."""
    alone = STAGES["align"].gives | ATTENTION
    return "align" if isinstance(loss, TraceLoss) and loss.teacher_needs <= alone else "distill"


def train(name: str, accelerator: Accelerator) -> float:
    """Sum of the student's weights after two steps."""
    torch.manual_seed(3)
    one = teacher()
    student, loss = convert(one), (LOSSES | VOCAB_LOSSES)[name]()
    kind = kind_of(loss)
    several = getattr(loss, "each_teacher", False)
    plan = stage_plan(
        STAGES[kind](
            student=student,
            teacher=TeacherMixture([one, teacher()]) if several else one,
            objective=Objective([Term(name, 1.0, loss)], chunk=BATCH * WINDOW),
        ),
        name=name,
        train="mixers" if kind == "align" else "all",
        steps=4,
        window=WINDOW,
        accumulate=1,
        accelerator=accelerator,
    )
    trainer = StageTrainer(plan, settings=RunSettings(threads=1), accelerator=accelerator)
    for number in range(2):
        trainer.step(number)
    trainer.close()
    own = plan.stage.objective.parameters()
    return float(sum(p.detach().double().sum() for p in [*student.parameters(), *own]))


def main() -> None:
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    accelerator = Accelerator(mixed_precision="no")
    for name in sorted(LOSSES | VOCAB_LOSSES):
        mine = torch.tensor([train(name, accelerator)], dtype=torch.float64)
        all_of_them = accelerator.gather(mine)
        if bool((all_of_them == mine).all()) and bool(mine.isfinite()):
            print(name, flush=True)
    accelerator.end_training()


if __name__ == "__main__":
    sys.exit(main())
