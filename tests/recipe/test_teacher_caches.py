"""Caches in a recipe: what they cannot give is refused early, what they give trains as live."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import GooseForCausalLM, Teacher
from asnn_goose.recipe import build_run, estimate, load_recipe
from asnn_goose.trace import Window
from asnn_goose.train.fill_cache import cached_stages, fill, tokens_of
from asnn_goose.train.plan import StagePlan

CACHE = "teacher.0.cache={ top = 8 }"
FIXED = "data.windows='fixed'"
FEATURES = "teacher.0.cache={ top = 8, features = 'fp16' }"
SAME = (FIXED, "stage.0.window=16", "stage.1.tokens=192")


@pytest.fixture(autouse=True)
def no_window_twice(recipe_file: Path) -> None:
    """Words in an order of their own, so that no two windows of a test are the same."""
    (text,) = recipe_file.parent.glob("text.txt")
    words = sorted(set(text.read_text().split()))
    random = Random(0)
    text.write_text("\n\n".join(" ".join(random.choices(words, k=160)) for _ in range(80)))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The windows that the live teacher reads."""
    found: list[Tensor] = []
    trace = Teacher.trace

    def noted(
        self: Teacher, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> object:
        found.append(tokens_BT)
        return trace(self, tokens_BT, needs, window=window)

    monkeypatch.setattr(Teacher, "trace", noted)
    return found


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ((CACHE,), r"teacher\.0\.cache: windows that move are never met again"),
        (
            (CACHE, FIXED, "stage.1.losses=[{ name = 'kl' }, { name = 'hidden' }]"),
            r"0\.cache: in stage\.1, hidden of the teacher 'somewhere' .* set its features",
        ),
        ((CACHE, FIXED, "stage.1.losses=[{ name = 'reverse_kl' }]"), "reverse_kl asks for more"),
        (
            (CACHE, FIXED, "stage.1.losses=[{ name = 'kl', temperature = 2 }]"),
            r"kl has a temperature of 2, and the cache .* keeps 1",
        ),
        ((FEATURES, FIXED, "stage.1.losses=[{ name = 'fdd' }]"), "fdd asks for the head"),
        ((FEATURES, FIXED, "stage.1.losses=[{ name = 'kl' }, { name = 'minilm' }]"), "queries"),
        (
            (CACHE, FIXED, "stage.1.losses=[{ name = 'kl' }]", "stage.1.curriculum={ pool = 64 }"),
            r"kl has a temperature of 1\.33",
        ),
        (
            (
                "teacher=[{ model = 'a', cache = {} }, { model = 'b' }]",
                FIXED,
                "stage.1.teachers=['a', 'b']",
            ),
            "several teachers are mixed, of which 'a' is cached",
        ),
        (("teacher.0.cache={ topp = 8 }",), "topp"),
        (("teacher.0.cache={ top = 0 }",), "top"),
        (("teacher.0.cache={ features = 'int4' }",), "features"),
        (("teacher.0.cache={ temperatures = [] }",), "temperatures"),
        (("data.windows='still'",), "windows"),
    ],
)
def test_what_a_cache_cannot_give_is_refused_before_anything_is_loaded(
    error_of: Callable[..., str], settings: tuple[str, ...], told: str
) -> None:
    assert re.search(told, error_of(*settings))


def test_a_stage_trains_on_the_cache_as_on_the_teacher(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None], read: list[Tensor]
) -> None:
    students = {}
    for name, keys in {
        "live": (),
        "filled": ("teacher.0.cache={ top = 16 }",),
        "read": ("teacher.0.cache={ top = 16 }",),
    }.items():
        read.clear()
        carry_out(recipe_file, tmp_path / name, *SAME, *keys)
        students[name] = GooseForCausalLM.from_pretrained(tmp_path / name / "model").state_dict()
        counted = len(read)
        # Stage 0 has no features in the cache and runs live: 2 steps of 2 windows of 16.
        assert counted == {"live": 2 + 6, "filled": 2 + 12, "read": 2}[name]
    assert all(map(torch.equal, students["filled"].values(), students["read"].values()))
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in students]
    live, _, cached = ([json.loads(line)["loss"] for line in one] for one in lines)
    assert cached == pytest.approx(live, rel=5e-3)
    assert cached != live


def test_what_is_filled_before_is_what_the_run_reads(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None], read: list[Tensor]
) -> None:
    plan = build_run(load_recipe(recipe_file, (*SAME, FEATURES)), tell=lambda text: None)
    stages, done = cached_stages(plan), list[int]()
    assert [stage.name for stage in stages] == ["align", "distill"]
    for stage in stages:
        found = fill(stage, advance=done.append)
        assert found.tokens == tokens_of(stage) == done[-1]
    # One order for all stages: the second begins with the windows of the first.
    assert [len(x) for x in read] == [1] * (4 + 12)
    assert torch.equal(torch.cat(read[:4]), torch.cat(read[4:8]))
    assert fill(stages[1], advance=done.append).read == 0
    read.clear()
    carry_out(recipe_file, tmp_path / "run", *SAME, FEATURES)
    assert not read


def test_a_broken_fill_goes_on_where_it_was(recipe_file: Path, read: list[Tensor]) -> None:
    def plan() -> StagePlan:
        recipe = load_recipe(recipe_file, (*SAME, CACHE))
        return cached_stages(build_run(recipe, tell=lambda text: None))[0]

    def stop(tokens: int) -> None:
        if tokens >= 96:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(plan(), advance=stop)
    assert len(read) == 6
    assert fill(plan(), advance=lambda tokens: None).read == 96


def test_resuming_beside_a_cache_changes_no_bit(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    settings = (*SAME, "teacher.0.cache={ top = 4 }", "train.checkpoint_minutes=0")
    carry_out(recipe_file, tmp_path / "whole", *settings)
    carry_out(recipe_file, tmp_path / "again", *settings)
    whole, again = (
        GooseForCausalLM.from_pretrained(tmp_path / name / "model").state_dict()
        for name in ("whole", "again")
    )
    assert all(map(torch.equal, whole.values(), again.values()))


@pytest.mark.parametrize("seeds", [(), ("stage.0.seed=3", "stage.1.seed=3")])
def test_the_order_of_fixed_windows_is_that_of_a_stages_own_seed(
    recipe_file: Path, seeds: tuple[str, ...]
) -> None:
    def first(*settings: str) -> Tensor:
        plan = build_run(load_recipe(recipe_file, (*SAME, *settings)), tell=lambda text: None)
        batches = [stage.loader.next(0.0).tokens_BT for stage in plan.stages]
        assert torch.equal(*batches)
        return batches[0]

    assert torch.equal(first(*seeds), first(*seeds, "seed=5"))
    assert not torch.equal(first(*seeds), first("stage.0.seed=4", "stage.1.seed=4"))


def test_an_estimate_tells_the_size_and_what_is_there(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, (*SAME, FEATURES))
    assert not estimate(load_recipe(recipe_file)).caches
    (before,) = estimate(recipe).caches
    # 8 words of 4 bytes and one mass; inputs and outputs of two mixers of 32 channels.
    assert before.token_bytes == 8 * 4 + 4 + 2 * 2 * 2 * 32
    assert before.tokens == 64 + 192
    assert before.there_bytes == 0
    assert before.most_bytes == 192 * 36 + 64 * 256
    assert before.saved_s > 0
    for stage in cached_stages(build_run(recipe, tell=lambda text: None)):
        fill(stage, advance=lambda tokens: None)
    (after,) = estimate(recipe).caches
    assert after.there_bytes == before.most_bytes


def test_teachers_of_other_weights_share_nothing(
    recipe_file: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(teacher_folder)
    model.model.norm.weight.data.mul_(1.01)
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(teacher_folder).save_pretrained(tmp_path / "other")
    folders = []
    for settings in ((), (f"teacher.0.model='{tmp_path / 'other'}'",)):
        recipe = load_recipe(recipe_file, (*SAME, CACHE, *settings))
        teacher = build_run(recipe, tell=lambda text: None).stages[1].stage.teacher
        assert isinstance(teacher, CachedTeacher)
        folders.append(teacher.kept("vocab").folder)
    assert folders[0] != folders[1]
