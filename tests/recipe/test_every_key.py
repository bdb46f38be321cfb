"""Every key of a recipe changes what is trained, or is an error: none is accepted and ignored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from asnn_goose.model import TeacherError
from asnn_goose.model.parts.config import FIELDS
from asnn_goose.recipe import RecipeError, build_run, load_recipe
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.table import Table
from asnn_goose.sources import SourceError
from asnn_goose.study.evaluate import protocol_of
from asnn_goose.study.request import Request
from asnn_goose.train.plan import StagePlan
from asnn_goose.train.trackers import TrackerError

REFUSALS = (RecipeError, TeacherError, SourceError, TrackerError, ValueError)
TWO = ("teacher=[{{ model='{teacher}', name='a' }}, {{ model='{other}', name='b' }}]",)
BOTH = "stage.1.losses=[{{ name = 'kl' }}, {{ name = 'ce' }}]"
ENDS = "stage.1.end={{ by = 'plateau' }}"
TERNARY = "{{ '*' = {{ planes = 1 }} }}"
BEFORE_IT = (
    "stage.0={{ kind = 'distill', name = 'first', train = 'all', tokens = 64, window = 8, "
    "batch = 2, lr = 1e-3, losses = [{{ name = 'kl' }}] }}"
)
TUNED = ("stage.1.kind='sft'", "stage.1.losses=[{{ name = 'ce' }}]")
DRAWN = (
    "stage.1.kind='gkd'", "stage.1.losses=[{{ name = 'jsd' }}]", "stage.1.examples=['{examples}']",
    "stage.1.samples={{ share = 1.0, tokens = 9 }}",
)  # fmt: skip
SETTLED = (
    "stage.1.kind='equilibrium'", "stage.1.time_steps=2",
    "stage.1.precision={{ '*' = {{ neuron = 'spikingbert', steps = 2, code = 'rate' }} }}",
)  # fmt: skip
SLIDING = (
    "stage.1.kind='slide'", "stage.1.span=1", "stage.1.train='blocks'",
    "stage.1.losses=[{{ name = 'block_output' }}]",
)  # fmt: skip
REPLACING = (
    "stage.1.kind='replace'", "stage.1.train='mixers'",
    "stage.1.replacing={{ share = [0.0, 0.0] }}",
)  # fmt: skip
GROUPS = ("matrix", "vector", "decay", "norm", "embedding", "quantiser", "loss")

SET: list[tuple[tuple[str, ...], dict[str, str]]] = [
    ((), {
        "seed": "1", "data.train": "['{text}', '{more}']", "data.resets": "true",
        "data.windows": "'fixed'", "teacher.model": "'{other}'", "log.every": "7",
        "log.trackers": "['tensorboard']", "train.threads": "2", "train.precision": "'bf16'",
        "train.checkpointing": "true", "train.clip": "2", "train.clip_by": "'group'",
        "train.shard": "true", "train.betas": "[0.8, 0.95]", "train.eps": "1e-18",
        "train.weight_decay": "0.1",
        "train.checkpoint_minutes": "1", "train.keep": "3", "student.start": "'{student}'",
        "student.variant": "'goose'", "stage.name": "'x'", "stage.precision": TERNARY,
        "stage.balance": "32", "stage.least_squares": "32", "stage.train": "'body'",
        "stage.tokens": "128", "stage.window": "8", "stage.batch": "1", "stage.accumulate": "2",
        "stage.lr": "1e-2", "stage.warmup": "1", "stage.schedule": "'constant'",
        "stage.floor": "0.1", "stage.chunk": "8", "stage.seed": "5",
        "stage.losses.name": "'reverse_kl'", "stage.losses.weight": "2",
        **{f"stage.lr_scale.{group}": "2" for group in GROUPS},
    }),
    (("stage.1.teacher='x'",), {"teacher.name": "'x'"}),
    ((BEFORE_IT,), {"teacher.dtype": "'bf16'"}),
    (("student.start='{student}'",), {"student.embedding": "'teacher'"}),
    (("student.start='scratch'",), {"student.preset": "'rwkv6'"}),
    (("data.train=['{text}', '{more}']",), {"data.weights": "[3, 1]"}),
    (("data.train=['{more}']",), {"data.decontaminate": "['{text}']"}),
    (("teacher.0.cache={{ top = 8 }}", "data.windows='fixed'"), {
        "teacher.cache.top": "5", "teacher.cache.temperatures": "[2]",
        "teacher.cache.features": "'int8'",
    }),
    (("stage.1.repeats={{ share = 0.5, distance = 8 }}",), {
        "stage.repeats.share": "0.9", "stage.repeats.distance": "4",
        "stage.repeats.kinds": "['other']", "stage.repeats.alone": "true",
    }),
    (TUNED, {"stage.examples": "['{examples}']"}),
    (DRAWN, {
        "stage.samples.share": "0.01", "stage.samples.tokens": "2",
        "stage.samples.temperature": "0.01",
    }),
    (SLIDING, {"stage.span": "2"}),
    ((*SLIDING, "stage.1.span=2"), {"stage.stride": "2"}),
    (SLIDING, {"stage.epochs": "2"}),
    (REPLACING, {"stage.replacing.share": "[1.0, 1.0]"}),
    ((*REPLACING, "stage.1.replacing.layers=[0]"), {"stage.replacing.layers": "[1]"}),
    (SETTLED, {"stage.time_steps": "9"}),
    (("stage.1.losses=[{{ name = 'ce' }}]",), {"stage.kind": "'pretrain'"}),
    (TWO, {"stage.teacher": "'b'", "stage.teachers": "['a', 'b']"}),
    ((*TWO, "stage.1.teachers=['a', 'b']"), {"stage.mix": "'per_token'"}),
    (("stage.1.balance=32",), {"stage.balance_strength": "0.9"}),
    ((f"stage.1.precision={TERNARY}",), {"stage.calibrate": "32"}),
    (("stage.1.watch={{}}",), {"stage.watch.every": "3"}),
    ((ENDS,), {
        "stage.end.every": "3", "stage.end.patience": "9", "stage.end.min_delta": "0.5",
        "stage.end.smoothing": "0.5",
    }),
    (("data.train=['{more}']", "stage.1.end={{ by = 'validation' }}"), {"stage.end.tokens": "64"}),
    (("stage.1.average={{}}",), {"stage.average.since": "0.25", "stage.average.decay": "0.5"}),
    ((f"stage.1.precision={TERNARY}", "stage.1.freeze={{ still = 0.0 }}"), {
        "stage.freeze.since": "0.25", "stage.freeze.momentum": "0.5", "stage.freeze.still": "0.01",
        "stage.freeze.swinging": "0.2",
    }),
    (("stage.1.curriculum={{ pool = 64 }}",), {
        "stage.curriculum.kind": "'other'", "stage.curriculum.preset": "'seed'",
        "stage.curriculum.shares": "[0.5, 0.6, 0.7, 1.0]",
        "stage.curriculum.temperatures": "[2, 3, 4, 5]",
        "stage.curriculum.kd_weights": "[0.1, 0.2, 0.3, 1.0]",
        "stage.curriculum.parts": "[4, 1, 1, 1]", "stage.curriculum.pool": "128",
    }),
    ((BOTH, "stage.1.dot={{}}"), {
        "stage.dot.delta": "0.01", "stage.dot.task": "['kl']", "stage.dot.optimiser": "'sgd'",
    }),
    ((BOTH, "stage.1.project={{}}"), {"stage.project.task": "['kl']"}),
]  # fmt: skip
"""Settings that make keys matter, and what each of the keys is then set to."""


def place_of(key: str) -> str:
    numbered = {"stage.": "stage.1.", "losses.": "losses.0.", "teacher.": "teacher.0."}
    for table, one in numbered.items():
        key = key.replace(table, one)
    return key


CHANGES = {
    key: (*before, f"{place_of(key)}={value}")
    for before, values in SET
    for key, value in values.items()
} | {"stage.end.by": (ENDS,)}
"""By key: settings that make it matter, and last the one that sets it."""

SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_size",
    "n_positions",
)  # fmt: skip
ON = (
    "token_shift", "bonus", "qk_norm", "qkv_bias", "output_bias", "mlp_bias", "embedding_norm",
    "value_shift", "parallel", "feedback",
)  # fmt: skip
OFF = (
    "removal_key", "key_replacement", "group_norm", "rope", "tie_word_embeddings", "use_cache",
)  # fmt: skip
OF_STUDENT = {
    **dict.fromkeys(SIZES, "48"), **dict.fromkeys(ON, "true"), **dict.fromkeys(OFF, "false"),
    **{f"{name}_rank": "7" for name in ("decay", "rate", "value", "gate")},
    **{f"{name}_token_id": "3" for name in ("bos", "eos", "pad")},
    "intermediate_size": "40", "mixer": "'rwkv6000'", "qk_norm_over": "'all'",
    "norm_place": "'both'", "logit_cap": "1.0", "norm_eps": "1e-2", "gate": "'one_plus'",
    "v_first": "'detached'", "mlp": "'plain'", "hidden_act": "'gelu'", "norm": "'layer'",
    "dropout": "0.1", "real_vocab_size": "15", "precision": TERNARY,
}  # fmt: skip
STUDENT: dict[str, tuple[str, ...]] = {
    **{key: (f"student.{key}={value}",) for key, value in OF_STUDENT.items()},
    "rope_theta": ("student.rope=true", "student.rope_theta=500.0"),
    "rope_thetas": ("student.rope=true", "student.rope_thetas=[500.0, 0.0]"),
    "rope_channels": ("student.rope=true", "student.rope_channels=2"),
    "shift_rank": ("student.variant='rwkv6'", "student.shift_rank=7"),
    "inner_steps": ("student.start='scratch'", "student.preset='spikebert'",
                    "student.inner_steps=3"),
}  # fmt: skip
"""The same of the student's own settings."""

FOR_EVAL = {
    "eval.window": "eval.window=32",
    "eval.tokens": "eval.tokens=96",
    "data.out_of_domain": "data.out_of_domain=['{more}']",
}
NAMES_ALONE = {"name"}


def keys(table: type[Table], place: str = "") -> Iterator[str]:
    """Every key of a recipe that holds a value, without the numbers of lists."""
    for name, field in table.model_fields.items():
        inner = list(tables_in(field.annotation))
        if not inner:
            yield f"{place}{name}"
        for one in inner:
            yield from keys(one, f"{place}{name}.")


def tables_in(annotation: Any) -> Iterator[type[Table]]:
    """The tables of an annotation such as tuple[StageTable, ...] or EndTable | None."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    for inner in get_args(annotation):
        yield from tables_in(inner)


def test_no_key_is_left_out() -> None:
    mine = {f"student.{name}" for name in FIELDS}
    assert set(keys(Recipe)) == {*CHANGES, *mine, *FOR_EVAL, *NAMES_ALONE}
    assert set(STUDENT) == set(FIELDS)


@cache
def seen(file: Path, settings: tuple[str, ...]) -> Any:
    """All that decides what is trained, down to the gradients of each stage's first batch."""
    try:
        plan = build_run(load_recipe(file, settings), tell=lambda text: None)
        stages = [seen_of(stage) for stage in plan.stages]
    except REFUSALS as error:
        return str(error)
    student = plan.student
    config = {name: getattr(student.config, name) for name in FOR_OTHERS}
    switched = bool(getattr(student, "gradient_checkpointing", False))
    weights = {name: digest(x) for name, x in student.state_dict().items()}
    return plan.settings, config, switched, weights, stages, plan.accelerator.log_with


FOR_OTHERS = ("bos_token_id", "eos_token_id", "pad_token_id", "use_cache", "real_vocab_size")
"""What a student is given for those who let it write."""


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().float().numpy().tobytes()).hexdigest()


def seen_of(plan: StagePlan) -> Any:
    if plan.pool is not None:
        plan.pool.order = list(range(len(plan.pool.places)))
    end = plan.end and replace(plan.end, validation=None)
    held_out = plan.end and plan.end.validation and plan.end.validation.batches
    plain = (
        plan.name, type(plan.stage), plan.accumulate, plan.tokens_per_step, plan.lr, plan.seed,
        plan.lr_scale, plan.schedule, plan.precision, plan.starts, plan.rule, plan.watch, end,
        plan.average, plan.freeze, held_out, plan.trained(), plan.stage.resets,
        plan.stage.objective.chunk, plan.pool and plan.pool.places,
        getattr(plan.stage, "stride", None), plan.loader.state(),
    )  # fmt: skip
    return plain, first_step(plan)


def first_step(plan: StagePlan) -> Any:
    """The first batch, its loss and every gradient."""
    torch.manual_seed(0)
    batch = plan.loader.next(0.0)
    plan.stage.introduce()
    student = plan.stage.train().student
    student.zero_grad()
    terms = plan.stage(batch)
    sum(terms.values()).backward()
    grads = {n: digest(p.grad) for n, p in student.named_parameters() if p.grad is not None}
    return digest(batch.tokens_BT), {name: float(x.detach()) for name, x in terms.items()}, grads


def check(file: Path, places: dict[str, Path], settings: tuple[str, ...]) -> None:
    named = tuple(setting.format(**places) for setting in settings)
    without, with_it = seen(file, named[:-1]), seen(file, named)
    assert without != with_it


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_it_changes_what_is_trained(key: str, one_recipe: Path, places: dict[str, Path]) -> None:
    check(one_recipe, places, CHANGES[key])


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_it_changes_the_student(key: str, one_recipe: Path, places: dict[str, Path]) -> None:
    check(one_recipe, places, STUDENT[key])


@pytest.mark.parametrize("key", sorted(FOR_EVAL))
def test_it_changes_what_is_scored(key: str, one_recipe: Path, places: dict[str, Path]) -> None:
    request = Request(model="run")
    setting = FOR_EVAL[key].format(**places)
    recipes = [load_recipe(one_recipe, settings) for settings in ((), (setting,))]
    before, after = ((protocol_of(request, r), request.texts(r)) for r in recipes)
    assert before != after


def test_the_same_recipe_is_seen_the_same(one_recipe: Path) -> None:
    """Else every other test of this file would pass whatever a key does."""
    assert seen.__wrapped__(one_recipe, ()) == seen(one_recipe, ())
    assert not isinstance(seen(one_recipe, ()), str)
