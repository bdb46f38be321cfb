"""Every key of a recipe changes what is trained, or is an error: none is accepted and ignored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoModelForCausalLM

from asnn_goose.model import TeacherError
from asnn_goose.model.parts.config import FIELDS
from asnn_goose.recipe import RecipeError, build_run, load_recipe
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.table import Table
from asnn_goose.sources import SourceError
from asnn_goose.study.evaluate import Request, protocol_of, texts_of
from asnn_goose.train.plan import RunPlan, StagePlan
from asnn_goose.train.trackers import TrackerError

REFUSALS = (RecipeError, TeacherError, SourceError, TrackerError, ValueError)
TWO = "teacher=[{{ model='{teacher}', name='a' }}, {{ model='{other}', name='b' }}]"
BOTH = "stage.1.losses=[{{ name = 'kl' }}, {{ name = 'ce' }}]"
POOL = "stage.1.curriculum={{ pool = 64 }}"
REPEATS = "stage.1.repeats={{ share = 0.5, distance = 8 }}"
ENDS = "stage.1.end={{ by = 'plateau' }}"
AVERAGE = "stage.1.average={{}}"
CACHED = ("teacher.0.cache={{ top = 8 }}", "data.windows='fixed'")
TERNARY = "stage.1.precision={{ '*' = {{ planes = 1 }} }}"
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
START = "student.start='{student}'"

CHANGES: dict[str, tuple[str, ...]] = {
    "seed": ("seed=1",),
    "teacher.model": ("teacher.0.model='{other}'",),
    "teacher.name": ("stage.1.teacher='x'", "teacher.0.name='x'"),
    "teacher.dtype": ("stage.0={{ kind = 'distill', name = 'first', train = 'all', tokens = 64, "
                      "window = 8, batch = 2, lr = 1e-3, losses = [{{ name = 'kl' }}] }}",
                      "teacher.0.dtype='bf16'"),
    "student.start": (START,),
    "student.embedding": (START, "student.embedding='teacher'"),
    "student.variant": ("student.variant='goose'",),
    "student.preset": ("student.start='scratch'", "student.preset='rwkv6'"),
    "data.train": ("data.train=['{text}', '{more}']",),
    "data.weights": ("data.train=['{text}', '{more}']", "data.weights=[3, 1]"),
    "data.resets": ("data.resets=true",),
    "data.windows": ("data.windows='fixed'",),
    "teacher.cache.top": (*CACHED, "teacher.0.cache.top=5"),
    "teacher.cache.temperatures": (*CACHED, "teacher.0.cache.temperatures=[2]"),
    "teacher.cache.features": (*CACHED, "teacher.0.cache.features='int8'"),
    "data.decontaminate": ("data.train=['{more}']", "data.decontaminate=['{text}']"),
    "stage.repeats.share": (REPEATS, "stage.1.repeats.share=0.9"),
    "stage.repeats.distance": (REPEATS, "stage.1.repeats.distance=4"),
    "stage.repeats.kinds": (REPEATS, "stage.1.repeats.kinds=['other']"),
    "stage.examples": (*TUNED, "stage.1.examples=['{examples}']"),
    "stage.samples.share": (*DRAWN, "stage.1.samples.share=0.01"),
    "stage.samples.tokens": (*DRAWN, "stage.1.samples.tokens=2"),
    "stage.samples.temperature": (*DRAWN, "stage.1.samples.temperature=0.01"),
    "stage.span": (*SLIDING, "stage.1.span=2"),
    "stage.time_steps": (*SETTLED, "stage.1.time_steps=9"),
    "train.threads": ("train.threads=2",),
    "train.precision": ("train.precision='bf16'",),
    "train.checkpointing": ("train.checkpointing=true",),
    "train.clip": ("train.clip=2",),
    "train.clip_by": ("train.clip_by='group'",),
    "train.betas": ("train.betas=[0.8, 0.95]",),
    "train.eps": ("train.eps=1e-18",),
    "train.weight_decay": ("train.weight_decay=0.1",),
    "train.checkpoint_minutes": ("train.checkpoint_minutes=1",),
    "train.keep": ("train.keep=3",),
    "log.every": ("log.every=7",),
    "log.trackers": ("log.trackers=['tensorboard']",),
    "stage.kind": ("stage.1.losses=[{{ name = 'ce' }}]", "stage.1.kind='pretrain'"),
    "stage.name": ("stage.1.name='x'",),
    "stage.teacher": (TWO, "stage.1.teacher='b'"),
    "stage.teachers": (TWO, "stage.1.teachers=['a', 'b']"),
    "stage.mix": (TWO, "stage.1.teachers=['a', 'b']", "stage.1.mix='per_token'"),
    "stage.precision": (TERNARY,),
    "stage.balance": ("stage.1.balance=32",),
    "stage.balance_strength": ("stage.1.balance=32", "stage.1.balance_strength=0.9"),
    "stage.calibrate": (TERNARY, "stage.1.calibrate=32"),
    "stage.least_squares": ("stage.1.least_squares=32",),
    "stage.train": ("stage.1.train='body'",),
    "stage.tokens": ("stage.1.tokens=128",),
    "stage.window": ("stage.1.window=8",),
    "stage.batch": ("stage.1.batch=1",),
    "stage.accumulate": ("stage.1.accumulate=2",),
    "stage.lr": ("stage.1.lr=1e-2",),
    "stage.warmup": ("stage.1.warmup=1",),
    "stage.schedule": ("stage.1.schedule='constant'",),
    "stage.floor": ("stage.1.floor=0.1",),
    "stage.losses.name": ("stage.1.losses.0.name='reverse_kl'",),
    "stage.losses.weight": ("stage.1.losses.0.weight=2",),
    "stage.chunk": ("stage.1.chunk=8",),
    "stage.seed": ("stage.1.seed=5",),
    "stage.watch.every": ("stage.1.watch={{}}", "stage.1.watch.every=3"),
    "stage.end.by": (ENDS,),
    "stage.end.every": (ENDS, "stage.1.end.every=3"),
    "stage.end.patience": (ENDS, "stage.1.end.patience=9"),
    "stage.end.min_delta": (ENDS, "stage.1.end.min_delta=0.5"),
    "stage.end.smoothing": (ENDS, "stage.1.end.smoothing=0.5"),
    "stage.average.since": (AVERAGE, "stage.1.average.since=0.25"),
    "stage.average.decay": (AVERAGE, "stage.1.average.decay=0.5"),
    "stage.end.tokens": ("data.train=['{more}']", "stage.1.end={{ by = 'validation' }}",
                         "stage.1.end.tokens=64"),
    "stage.curriculum.kind": (POOL, "stage.1.curriculum.kind='other'"),
    "stage.curriculum.preset": (POOL, "stage.1.curriculum.preset='seed'"),
    "stage.curriculum.shares": (POOL, "stage.1.curriculum.shares=[0.5, 0.6, 0.7, 1.0]"),
    "stage.curriculum.temperatures": (POOL, "stage.1.curriculum.temperatures=[2, 3, 4, 5]"),
    "stage.curriculum.kd_weights": (POOL, "stage.1.curriculum.kd_weights=[0.1, 0.2, 0.3, 1.0]"),
    "stage.curriculum.parts": (POOL, "stage.1.curriculum.parts=[4, 1, 1, 1]"),
    "stage.curriculum.pool": (POOL, "stage.1.curriculum.pool=128"),
    "stage.dot.delta": (BOTH, "stage.1.dot={{}}", "stage.1.dot.delta=0.01"),
    "stage.dot.task": (BOTH, "stage.1.dot={{}}", "stage.1.dot.task=['kl']"),
    "stage.dot.optimiser": (BOTH, "stage.1.dot={{}}", "stage.1.dot.optimiser='sgd'"),
    "stage.project.task": (BOTH, "stage.1.project={{}}", "stage.1.project.task=['kl']"),
    **{
        f"stage.lr_scale.{group}": (f"stage.1.lr_scale.{group}=2",)
        for group in ("matrix", "vector", "decay", "norm", "embedding", "quantiser", "loss")
    },
}  # fmt: skip
"""By key: settings that make it matter, and last the one that sets it."""

SHAPES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_size")
STUDENT: dict[str, tuple[str, ...]] = {
    **{name: (f"student.{name}=48",) for name in (*SHAPES, "n_positions")},
    "intermediate_size": ("student.intermediate_size=40",),
    "mixer": ("student.mixer='rwkv6000'",),
    "rope_theta": ("student.rope=true", "student.rope_theta=500.0"),
    "rope_thetas": ("student.rope=true", "student.rope_thetas=[500.0, 0.0]"),
    "rope_channels": ("student.rope=true", "student.rope_channels=2"),
    "qk_norm_over": ("student.qk_norm_over='all'",),
    "norm_place": ("student.norm_place='both'",),
    "logit_cap": ("student.logit_cap=1.0",),
    "norm_eps": ("student.norm_eps=1e-2",),
    "gate": ("student.gate='one_plus'",),
    "v_first": ("student.v_first='detached'",),
    "mlp": ("student.mlp='plain'",),
    "hidden_act": ("student.hidden_act='gelu'",),
    "norm": ("student.norm='layer'",),
    "dropout": ("student.dropout=0.1",),
    "feedback": ("student.feedback=true",),
    "shift_rank": ("student.variant='rwkv6'", "student.shift_rank=7"),
    "inner_steps": (
        "student.start='scratch'",
        "student.preset='spikebert'",
        "student.inner_steps=3",
    ),
    "real_vocab_size": ("student.real_vocab_size=15",),
    "precision": ("student.precision={{ '*' = {{ planes = 1 }} }}",),
    **{f"{name}_rank": (f"student.{name}_rank=7",) for name in ("decay", "rate", "value", "gate")},
    **{f"{name}_token_id": (f"student.{name}_token_id=3",) for name in ("bos", "eos", "pad")},
}
"""The same of the student's own settings; a switch that is not here is thrown."""

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


def student_settings(key: str) -> tuple[str, ...]:
    return STUDENT.get(key) or (f"student.{key}={str(not SWITCHES[key]).lower()}",)


SWITCHES = {
    "token_shift": False, "removal_key": True, "key_replacement": True, "bonus": False,
    "group_norm": True, "rope": True, "qk_norm": False, "qkv_bias": False, "output_bias": False,
    "mlp_bias": False, "embedding_norm": False, "tie_word_embeddings": True, "use_cache": True,
    "value_shift": False, "parallel": False,
}  # fmt: skip
"""What a converted student of the default variant has."""


def test_no_key_is_left_out() -> None:
    mine = {f"student.{name}" for name in FIELDS}
    assert set(keys(Recipe)) == {*CHANGES, *mine, *FOR_EVAL, *NAMES_ALONE}
    assert {*STUDENT, *SWITCHES} == set(FIELDS)


@pytest.fixture(scope="module")
def file(
    teacher_folder: Path, recipe_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """One recipe, with one cache for its texts."""
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        yield recipe_of(folder, teacher_folder)


@pytest.fixture(scope="module")
def places(file: Path, teacher_folder: Path) -> dict[str, Path]:
    """What the settings above may name: texts, another teacher, a student to go on from."""
    folder = file.parent
    text, other = folder / "text.txt", folder / "other"
    words = text.read_text().split()
    lines = (" ".join(words[number % 97 :: number + 1]) for number in range(400))
    (folder / "more.txt").write_text("\n\n".join(lines))
    model = AutoModelForCausalLM.from_pretrained(teacher_folder)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
        model.get_input_embeddings().weight.mul_(1.5)
    model.save_pretrained(other)
    student = build(file, ("student.variant='goose'",)).student
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.1)
    student.save_pretrained(folder / "student")
    for part in teacher_folder.glob("tokenizer*"):
        for copy in (other, folder / "student"):
            (copy / part.name).write_bytes(part.read_bytes())
    with (folder / "examples.jsonl").open("w") as stream:
        for n in range(60):
            record = {"prompt": " ".join(words[n : n + 3]) + " ", "completion": words[n % 7]}
            stream.write(json.dumps(record) + "\n")
    found = {"text": text, "more": folder / "more.txt", "teacher": teacher_folder}
    found["examples"] = folder / "examples.jsonl"
    return found | {"other": other, "student": folder / "student"}


def build(file: Path, settings: tuple[str, ...]) -> RunPlan:
    return build_run(load_recipe(file, settings), tell=lambda text: None)


@cache
def seen(file: Path, settings: tuple[str, ...]) -> Any:
    """All that decides what is trained, down to the gradients of each stage's first batch."""
    try:
        plan = build(file, settings)
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
        plan.average, held_out, plan.trained(), plan.stage.resets, plan.stage.objective.chunk,
        plan.pool and plan.pool.places,
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
def test_it_changes_what_is_trained(key: str, file: Path, places: dict[str, Path]) -> None:
    check(file, places, CHANGES[key])


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_it_changes_the_student(key: str, file: Path, places: dict[str, Path]) -> None:
    check(file, places, student_settings(key))


@pytest.mark.parametrize("key", sorted(FOR_EVAL))
def test_it_changes_what_is_scored(key: str, file: Path, places: dict[str, Path]) -> None:
    request = Request(model="run")
    recipes = [load_recipe(file, settings) for settings in ((), (FOR_EVAL[key].format(**places),))]
    before, after = ((protocol_of(request, r), texts_of(request, r)) for r in recipes)
    assert before != after


def test_the_same_recipe_is_seen_the_same(file: Path) -> None:
    """Else every other test of this file would pass whatever a key does."""
    assert seen.__wrapped__(file, ()) == seen(file, ())
    assert not isinstance(seen(file, ()), str)
