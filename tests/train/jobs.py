"""What members of a crew do (crew.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tests.campaign import inputs
from tests.train import tiny_run
from tests.train.tiny_run import BATCH, WINDOW, stage_plan
from torch import Tensor, nn
from transformers.utils import logging

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term, TraceLoss
from asnn_goose.model.convert import convert
from asnn_goose.model.neurons.spikingbert import SpikingBERT
from asnn_goose.model.teacher_mixture import TeacherMixture
from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe
from asnn_goose.study import smoke
from asnn_goose.trace import ATTENTION
from asnn_goose.train import first_batch
from asnn_goose.train.loop import run
from asnn_goose.train.plan import RunSettings
from asnn_goose.train.progress import StepInfo
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.stages import STAGES
from asnn_goose.train.trainer import StageTrainer

Tell = Callable[[str], None]

NEURONS: dict[str, dict[str, Any]] = {
    "receptance": {"neuron": "learned"},
    "key": {"neuron": "lsq_plus"},
    "value": {"neuron": "spikelm", "code": "rate"},
    "output": {"neuron": "salient"},
    "gate": {"neuron": "homeostatic"},
    "up": {"neuron": "gif", "code": "rate"},
    "down": {"neuron": {"name": "mean", "surrogate": "learnable"}, "planes": 1, "sub_norm": True},
}
MEASURED: dict[str, dict[str, Any]] = {
    "neurons": {
        "kind": "distill",
        "train": "all",
        "losses": ["adakd"],
        "precision": {place: {"steps": 1, **entry} for place, entry in NEURONS.items()},
    },
    "starts": {
        **{"kind": "distill", "train": "body", "losses": ["kl"]},
        **{"precision": {"*": {"planes": 1}}, "balance": 64, "calibrate": 64},
    },
    "fitted": {
        **{"kind": "align", "train": "mixers", "losses": ["attention_output"]},
        "least_squares": 64,
    },
}
"""Stages beside those of each kind: with all that is measured on batches, and fitted starts."""


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    largest = wanted.double().abs().max().clamp_min(1e-3)  # what is smaller is rounding
    return float((found.double() - wanted.double()).abs().max() / largest)


class Telling:
    """Tells steps and messages as they come."""

    def __init__(self, tell: Tell) -> None:
        self.on_message = tell

    def on_step(self, info: StepInfo) -> None:
        self.on_message(f"step {info.run_step}")


def train_tiny(tell: Tell, out: Path, resume: bool, options: dict[str, Any]) -> int:
    """A tiny run; the exit code of the command line."""
    whole = tiny_run.plan(**{"accumulate": 1, "noise": False, **options})
    try:
        run(whole, out=out, resume=resume, progress=Telling(tell))
    except TrainError as error:
        tell(str(error))
        return int(getattr(error, "exit_code", 2))
    whole.accelerator.end_training()
    return 0


def every_loss(tell: Tell) -> int:
    """Two steps under each loss; tells those after which all hold the same, finite student."""
    logging.set_verbosity_error()
    accelerator = Accelerator(mixed_precision="no")
    for name in sorted(LOSSES | VOCAB_LOSSES):
        mine = torch.tensor([_under(name, accelerator)], dtype=torch.float64)
        all_of_them = accelerator.gather(mine)
        if bool((all_of_them == mine).all()) and bool(mine.isfinite()):
            tell(name)
    accelerator.end_training()
    return 0


def kind_of(loss: nn.Module) -> str:
    """Features of single mixers are aligned; everything else trains the whole student."""
    alone = STAGES["align"].gives | ATTENTION
    return "align" if isinstance(loss, TraceLoss) and loss.teacher_needs <= alone else "distill"


def _under(name: str, accelerator: Accelerator) -> float:
    """Sum of the student's weights after two steps."""
    torch.manual_seed(3)
    one = tiny_run.teacher()
    student, loss = convert(one), (LOSSES | VOCAB_LOSSES)[name]()
    kind = kind_of(loss)
    several = getattr(loss, "each_teacher", False)
    plan = stage_plan(
        STAGES[kind](
            student=student,
            teacher=TeacherMixture([one, tiny_run.teacher()]) if several else one,
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


def train_stages(
    tell: Tell, folder: Path, kinds: dict[bool, list[str]], accumulate: int, **how: Any
) -> int:
    """A run for every kind of stage, with the student whole or in parts."""
    for shard, names in kinds.items():
        for kind in names:
            out = folder / f"{kind}-{shard}"
            run_kind(folder, kind, out, accumulate, shard=shard, **how)
            tell(f"{kind} {shard}")
    return 0


def run_kind(
    folder: Path,
    kind: str,
    out: Path,
    accumulate: int,
    *,
    shard: bool,
    steps: int = 2,
    minutes: float = 60.0,
    double: bool = False,
) -> None:
    """Train a kind of stage, or one of MEASURED, in the campaign's inputs; in fp64 if wanted."""
    # Two micro-batches a step in all, on however many processes.
    row = MEASURED.get(kind) or inputs.recipes()[kind][0]
    tokens = 2 * steps * inputs.WINDOW * inputs.BATCH
    raw = inputs.recipe(folder, kind, [row | {"accumulate": accumulate, "tokens": tokens}])
    # A large eps: Adam would take full steps where a gradient is nothing but rounding.
    raw["train"] |= {"shard": shard, "checkpoint_minutes": minutes, "eps": 1e-2}
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    plan = build_run(check_recipe(raw, source=kind), tell=lambda text: None)
    if double:
        plan.student.double()
        for stage in plan.stages:
            stage.stage.teacher.model.double()  # type: ignore[attr-defined]
    run(plan, out=out, resume=False, progress=Telling(lambda text: None))


def first_measured(tell: Tell) -> int:
    """Three neurons: the second is silent on the first process, the third on all; tells of each."""
    accelerator = Accelerator(mixed_precision="no")
    rank = accelerator.process_index
    neurons: list[nn.Module] = [SpikingBERT(4, threshold=1.0) for _ in range(3)]
    for neuron, size in zip(neurons, (rank + 2, rank, 0), strict=True):
        neuron(torch.full((2, 4), float(size)))
    shared = first_batch.share(neurons, accelerator)
    tell(f"{shared} {[(float(neuron.v_th), neuron.waits) for neuron in neurons]}")
    tell(f"{first_batch.share(neurons[2:], accelerator)}")
    accelerator.end_training()
    return 0


def smoke_run(tell: Tell) -> int:
    """What `doctor --deep` does; tells the number of steps last."""
    tell(str(smoke.smoke(tell)))
    return 0
