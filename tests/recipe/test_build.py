from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.model import GooseForCausalLM, TeacherError
from asnn_goose.recipe import RecipeError, build_run, estimate, load_recipe
from asnn_goose.recipe.load import check_recipe
from asnn_goose.sources import SourceError
from asnn_goose.train.run_errors import CheckpointError

WORDS = ["goose", "lake", "teacher", "letter", "home"]


def test_a_recipe_becomes_a_student(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    carry_out(recipe_file, tmp_path / "run")
    student = GooseForCausalLM.from_pretrained(tmp_path / "run" / "model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "run" / "model")
    ids = tokenizer("the goose flies", return_tensors="pt").input_ids
    assert student(ids).logits.isfinite().all()
    assert load_recipe(tmp_path / "run" / "recipe.toml") == load_recipe(recipe_file)


def test_build_is_the_same_every_time_and_follows_the_seed(recipe_file: Path) -> None:
    def weights(*settings: str) -> list[torch.Tensor]:
        plan = build_run(load_recipe(recipe_file, settings), tell=lambda text: None)
        return [parameter.detach() for parameter in plan.student.parameters()]

    first = weights()
    torch.rand(3)
    assert all(map(torch.equal, first, weights()))
    assert not all(map(torch.equal, first, weights("seed=1")))


def test_settings_arrive_in_the_plan(recipe_file: Path) -> None:
    settings = ("stage.1.accumulate=2", "stage.1.lr_scale.norm=0.5", "train.checkpointing=true")
    plan = build_run(load_recipe(recipe_file, (*settings, "log.every=7")), tell=lambda text: None)
    assert plan.settings.log_every == 7
    assert plan.settings.betas == (0.9, 0.95)
    assert plan.student.gradient_checkpointing
    align, distill = plan.stages
    assert (align.name, align.steps, align.tokens_per_step) == ("align", 4, 16)
    assert (distill.steps, distill.tokens_per_step, distill.accumulate) == (1, 64, 2)
    assert distill.lr_scale["norm"] == 0.5
    assert set(align.trained()) < set(distill.trained())
    assert len(distill.trained()) == len(list(plan.student.parameters()))
    assert align.trained()["blocks.0.mixer.key.weight"] == "matrix"
    batch = distill.loader.next(0.0)
    assert batch.tokens_BT.shape == (2, 16)


def test_resume_allows_free_settings_and_names_others(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    out = tmp_path / "run"
    carry_out(recipe_file, out)
    free = ("log.every=9", "train.checkpoint_minutes=3", "train.keep=4", "eval.window=64", "name=b")
    carry_out(recipe_file, out, *free, resume=True)
    with pytest.raises(CheckpointError, match=r"stage\.1\.lr was 0\.001 .* 0\.002 now"):
        carry_out(recipe_file, out, "stage.1.lr=0.002", resume=True)
    with pytest.raises(CheckpointError, match="seed was 0"):
        carry_out(recipe_file, out, "seed=1", resume=True)


def test_a_learned_temperature_is_in_every_line_of_the_metrics(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    loss = "stage.1.losses=[{ name = 'ctkd', preset = 'reference', warmup = 0.5 }]"
    settings = (loss, "stage.1.tokens=256")
    carry_out(recipe_file, tmp_path / "run", *settings)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if line["stage"] == "distill"]
    found = [step["readings"]["ctkd.temperature"] for step in steps]
    assert len(found) == 8
    assert found[0] == pytest.approx(2.0)
    assert len(set(found)) > 4
    assert all(1 < temperature < 5 for temperature in found)


def test_changed_text_is_noticed(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    carry_out(recipe_file, tmp_path / "run")
    with (tmp_path / "text.txt").open("a") as file:
        file.write("\n\nthe old goose\n\n" * 200)
    with pytest.raises(CheckpointError, match=r"text of data\.train\.0"):
        carry_out(recipe_file, tmp_path / "run", resume=True)


def test_a_student_that_does_not_fit_is_an_error(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["student.hidden_size=64"])
    with pytest.raises(RecipeError, match="student: hidden_size = 64"):
        build_run(recipe, tell=lambda text: None)


def test_a_run_goes_on_from_a_student_and_learns_from_it(
    recipe_file: Path, teacher_folder: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    carry_out(recipe_file, tmp_path / "dense")
    raw = tomllib.loads(recipe_file.read_text())
    shared = raw["stage"][1] | {"precision": {"*": {"planes": 1, "steps": 3, "threshold": 4.0}}}
    local = {"kind": "align_blocks", "train": "blocks", "teacher": "dense"}
    local["losses"] = [{"name": "attention_output"}, {"name": "mlp_output"}]
    raw["teacher"].append({"model": str(tmp_path / "dense"), "name": "dense"})
    raw["student"] = {"start": str(tmp_path / "dense"), "embedding": "teacher"}
    raw["stage"] = [shared | local, raw["stage"][1] | {"train": "body"}]
    rung = tmp_path / "rung.toml"
    rung.write_text(check_recipe(raw, source="").to_toml())
    estimate(load_recipe(rung))

    carry_out(rung, tmp_path / "rung")
    student = GooseForCausalLM.from_pretrained(tmp_path / "rung" / "model")
    teacher = LlamaForCausalLM.from_pretrained(teacher_folder)
    assert student.config.precision["*"]["steps"] == 3
    assert torch.equal(student.embedding.weight, teacher.get_input_embeddings().weight)
    before = GooseForCausalLM.from_pretrained(tmp_path / "dense" / "model").state_dict()
    moved = {name for name, new in student.state_dict().items() if not new.equal(before[name])}
    assert "blocks.0.mlp.down.weight" in moved


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["student.start=nowhere"], "nowhere is no student"),
        (["student.start=DENSE", "student.gate=none"], "gate = 'none': the student to start from"),
        (["teacher.0.model=DENSE"], "a student cannot be converted"),
    ],
)
def test_starts_that_cannot_be(
    recipe_file: Path,
    tmp_path: Path,
    settings: list[str],
    words: str,
    carry_out: Callable[..., None],
) -> None:
    carry_out(recipe_file, tmp_path / "dense", "stage.0.tokens=16", "stage.1.tokens=16")
    settings = [s.replace("DENSE", f"'{tmp_path / 'dense'}'") for s in settings]
    with pytest.raises((RecipeError, TeacherError), match=words):
        build_run(load_recipe(recipe_file, settings), tell=lambda text: None)


def test_several_teachers_are_one(
    recipe_file: Path, teacher_folder: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    raw = tomllib.loads(recipe_file.read_text())
    raw["teacher"].append({"model": str(teacher_folder), "name": "other"})
    names = [str(teacher_folder), "other"]
    raw["stage"][1] |= {"teachers": names, "losses": [{"name": "kl"}, {"name": "multi_teacher"}]}
    recipe_file.write_text(check_recipe(raw, source="").to_toml())
    for mix in ("uniform", "per_token", "selected", "[1, 3]"):
        load_recipe(recipe_file, [f"stage.1.mix={mix}"])
    carry_out(recipe_file, tmp_path / "run", "stage.1.mix=[1, 3]")
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(last["terms"]) == {"kl", "multi_teacher"}
    assert {"multi_teacher.weight_0", "multi_teacher.weight_1"} <= set(last["readings"])


def test_weights_resets_and_a_start_from_scratch(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(" ".join(WORDS[i % 5 :] * 9) for i in range(60)))
    raw = tomllib.loads(recipe_file.read_text())
    raw["data"] |= {"train": [*raw["data"]["train"], str(other)], "weights": [1, 3], "resets": True}
    raw["student"] = {"start": "scratch"}
    raw["stage"][1] |= {"kind": "pretrain", "losses": [{"name": "ce"}], "tokens": 320}
    recipe_file.write_text(check_recipe(raw, source="").to_toml())
    plan = build_run(load_recipe(recipe_file), tell=lambda text: None)
    assert isinstance(plan.stages[0].loader, MixtureLoader)
    state = plan.stages[0].loader.state()
    assert [state[f"{n}.weight_in_millionths"] for n in (0, 1)] == [250_000, 750_000]
    assert all(stage.stage.resets for stage in plan.stages)
    assert plan.student.blocks[0].mixer.output.weight.abs().sum() == 0  # the published start
    carry_out(recipe_file, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"weights = \[1.0\]: give one to each of the 2 texts"):
        load_recipe(recipe_file, ["data.weights=[1]"])


def test_texts_of_evaluation_are_kept_out_of_training(recipe_file: Path, tmp_path: Path) -> None:
    secret = "nobody must ever train on these thirteen words that were said right here"
    own = tmp_path / "own.jsonl"
    texts = [f"{' '.join(WORDS)} number {n} {secret if n % 3 == 0 else ''}" for n in range(90)]
    own.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    evaluated = tmp_path / "evaluated.txt"
    evaluated.write_text(f"He said: Nobody must ever train on these {secret[32:]}, and left.")
    raw = tomllib.loads(recipe_file.read_text())
    raw["data"] = {"train": [str(own)], "out_of_domain": [str(evaluated)]}

    def read(**data: Any) -> tuple[int, list[str]]:
        said: list[str] = []
        recipe = check_recipe(raw | {"data": raw["data"] | data}, source="")
        loader = build_run(recipe, tell=said.append).stages[0].loader
        return loader.state()["data_tokens"], [line for line in said if "thirteen" not in line]

    clean, said = read()
    every, silent = read(decontaminate=[])
    assert clean < every
    assert any("share 13 words in a row with" in line and "left out" in line for line in said)
    assert not any("left out" in line for line in silent)


def test_text_that_cannot_be_had_is_said_unless_it_was_asked_for(recipe_file: Path) -> None:
    raw = tomllib.loads(recipe_file.read_text())
    raw["data"] = {"train": raw["data"]["train"], "out_of_domain": ["austen"]}
    said: list[str] = []
    build_run(check_recipe(raw, source=""), tell=said.append)
    assert any(line.startswith("not checked against austen: tests fetch nothing") for line in said)
    raw["data"]["decontaminate"] = ["austen"]
    with pytest.raises(SourceError, match="tests fetch nothing"):
        build_run(check_recipe(raw, source=""), tell=said.append)


def test_resets_keep_documents_apart(recipe_file: Path) -> None:
    """What a stage computes of a document does not depend on the one packed before it."""
    recipe = load_recipe(recipe_file, ["data.resets=true", "stage.1.window=48", "stage.1.batch=1"])
    plan = build_run(recipe, tell=lambda text: None)
    stage, loader = plan.stages[1].stage.train(False), plan.stages[1].loader
    batch, start = loader.next(0.0), 20
    batch = replace(batch, documents_BT=(torch.arange(48) >= start).long().view(1, -1))
    labels = batch.labels_BT.clone()
    labels[:, :start] = -100
    tokens = batch.tokens_BT.clone()
    tokens[:, :start] = tokens[:, :start].flip(1)
    one, two = (replace(batch, tokens_BT=t, labels_BT=labels) for t in (batch.tokens_BT, tokens))
    with torch.no_grad():
        torch.testing.assert_close(stage(one)["kl"], stage(two)["kl"], atol=1e-6, rtol=1e-5)
        stage.resets = False
        assert abs(stage(one)["kl"] - stage(two)["kl"]) > 1e-5


def test_estimate_counts_exactly_and_measures(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    found = estimate(recipe)
    plan = build_run(recipe, tell=lambda text: None)
    assert found.student == sum(p.numel() for p in plan.student.parameters())
    sizes = {name: p.numel() for name, p in plan.student.named_parameters()}
    assert [s.trained for s in found.stages] == [
        sum(sizes[n] for n in p.trained()) for p in plan.stages
    ]
    assert [s.steps for s in found.stages] == [p.steps for p in plan.stages]
    assert found.tokens == plan.tokens
    assert found.matrix_flops > 1e7
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_estimate_measures_the_products_that_will_run(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    seen: list[torch.dtype] = []

    def measured(student: object, *, tokens: int, dtype: torch.dtype) -> float:
        seen.append(dtype)
        return 1e9

    # The package's `estimate` is the function; its module is found by name.
    monkeypatch.setattr(sys.modules["asnn_goose.recipe.estimate"], "matrix_flops", measured)
    estimate(load_recipe(recipe_file, [f"train.precision={precision}"]))
    assert seen == [dtype]


def test_estimate_grows_with_what_costs(recipe_file: Path) -> None:
    def of(*settings: str) -> Any:
        return estimate(load_recipe(recipe_file, settings))

    base = of()
    longer = of("stage.1.tokens=64k")
    assert longer.seconds > 100 * base.stages[1].seconds
    wider = of("stage.1.window=400", "stage.1.batch=64")
    assert wider.memory_bytes > base.memory_bytes
    saving = of("stage.1.window=400", "stage.1.batch=64", "train.checkpointing=true")
    assert saving.memory_bytes < wider.memory_bytes
