from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.model import GooseForCausalLM, TeacherError
from asnn_goose.recipe import RecipeError, build_run, estimate, load_recipe
from asnn_goose.recipe.identity import flat
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.numbers import parse_count
from asnn_goose.recipe.overrides import override
from asnn_goose.train.errors import CheckpointError
from asnn_goose.train.loop import run

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
RECIPE_FILES = sorted(p for p in RECIPES.rglob("*.toml") if not p.stem.endswith("-grid"))
SENTENCE = "the goose flies over the quiet lake and the old teacher writes a long letter home"
WORDS = SENTENCE.split()


def minimal() -> dict[str, Any]:
    """The shortest recipe with both kinds of stage."""
    shared = {"tokens": "1k", "window": 8, "batch": 2, "lr": 1e-3}
    return {
        "name": "tiny",
        "teacher": [{"model": "somewhere"}],
        "stage": [
            {
                "kind": "align",
                "train": "mixers",
                "losses": [{"name": "attention_output"}],
                **shared,
            },
            {"kind": "distill", "train": "all", "losses": [{"name": "kl"}], **shared},
        ],
    }


def changed(*settings: str) -> dict[str, Any]:
    raw = minimal()
    for setting in settings:
        override(raw, setting)
    return raw


def error_of(*settings: str) -> str:
    with pytest.raises(RecipeError) as wrong:
        check_recipe(changed(*settings), source="a.toml")
    return str(wrong.value)


# numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200k", 200_000),
        ("1.5M", 1_500_000),
        ("1_000", 1000),
        ("2 k", 2000),
        ("3B", 3 * 10**9),
        ("7", 7),
        (7, 7),
        (2e5, 200_000),
        ("1.0005k", None),
        ("-5", None),
        ("12 apples", None),
        ("", None),
        ("k", None),
    ],
)
def test_counts(text: object, value: int | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="whole number"):
            parse_count(text)
    else:
        assert parse_count(text) == value


@given(st.integers(1, 10**9))
def test_every_count_can_be_written_in_thousands(number: int) -> None:
    assert parse_count(f"{number}k") == number * 1000


# errors


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["stage.0.tokenz=5"], ["stage.0.tokenz: unknown key", "'tokens'"]),
        (["sead=5"], ["sead: unknown key", "'seed'"]),
        (["train.precison=bf16"], ["train.precison", "'precision'"]),
        (["student.gatee=none"], ["student.gatee", "'gate'"]),
        (["student.gate=nun"], ["student", "gate = 'nun'", "one_plus"]),
        (["student.variant=radlad"], ["student.variant = 'radlad'", "'radlads'"]),
        (["stage.1.lr_scale.vectr=2"], ["stage.1.lr_scale.vectr", "'vector'"]),
        (["stage.0.kind=aline"], ["stage.0.kind = 'aline'", "'align'"]),
        (["stage.0.schedule=cosin"], ["stage.0.schedule = 'cosin'", "'cosine'"]),
        (["stage.1.losses.0.name=kll"], ["stage.1.losses.0.name = 'kll'", "'kl'"]),
        (["stage.1.losses.0.temprature=2"], ["loss 'kl'", "'temprature'", "'temperature'"]),
        (["stage.1.losses.0.wait=2"], ["loss 'kl'", "'wait'", "'weight'"]),
        (["stage.1.losses.0.temperature=-1"], ["stage.1.losses.0", "temperature = -1"]),
        (["stage.1.losses.0.temperature=hot"], ["stage.1.losses.0", "loss 'kl'"]),
        (["stage.0.tokens=12 apples"], ["stage.0.tokens = '12 apples'", "200k"]),
        (["stage.0.tokens=0"], ["stage.0.tokens = 0", "greater than or equal to 1"]),
        (["stage.0.lr=-1"], ["stage.0.lr = -1"]),
        (["stage.0.train=all"], ["stage.0", "align can train mixers"]),
        (["stage.0.losses.0.name=kl"], ["stage.0", "cannot give vocab"]),
        (["stage.1.warmup=63"], ["stage.1", "warmup = 63", "63 steps"]),
        (["stage.1.schedule=constant", "stage.1.floor=0.1"], ["floor = 0.1", "constant"]),
        (["data.train=['sotuu']"], ["data.train.0 = 'sotuu'", "'sotu'"]),
        (["train.keep=1"], ["train.keep = 1", "2"]),
        (["eval.tokens=0"], ["eval.tokens = 0"]),
        (["stage.0.name=a", "stage.1.name=a"], ["a, a"]),
        (["name=../x"], ["name = '../x'"]),
    ],
)
def test_errors_name_place_value_and_what_is_right(settings: list[str], parts: list[str]) -> None:
    message = error_of(*settings)
    assert message.startswith("a.toml:")
    for part in parts:
        assert part in message


def test_all_errors_come_at_once() -> None:
    message = error_of("stage.0.tokenz=5", "sead=1")
    assert "tokenz" in message
    assert "sead" in message


def test_missing_keys_are_named() -> None:
    raw = minimal()
    del raw["stage"][1]["lr"]
    with pytest.raises(RecipeError, match=r"stage\.1\.lr: missing"):
        check_recipe(raw, source="a.toml")


def test_two_teachers_are_refused() -> None:
    raw = minimal()
    raw["teacher"] *= 2
    with pytest.raises(RecipeError, match="teacher"):
        check_recipe(raw, source="a.toml")


def test_unreadable_toml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(RecipeError, match=r"bad\.toml"):
        load_recipe(tmp_path / "bad.toml")


# overrides


def test_overrides_reach_every_depth() -> None:
    recipe = check_recipe(
        changed(
            "stage.0.tokens=200k",
            "stage.1.losses.0.temperature=2",
            "stage.1.lr_scale.vector=3",
            "train.checkpointing=true",
            'data.train=["sotu"]',
            "student.gate=none",
            "eval.tokens=all",
            "seed=4",
        ),
        source="",
    )
    assert recipe.stage[0].tokens == 200_000
    assert recipe.stage[1].losses[0].term().loss.temperature == 2.0
    assert recipe.stage[1].lr_scale.vector == 3.0
    assert recipe.train.checkpointing is True
    assert recipe.data.train == ("sotu",)
    assert recipe.student.overrides() == {"gate": "none"}
    assert recipe.eval.tokens == -1
    assert recipe.seed == 4


@pytest.mark.parametrize(
    "setting",
    [
        "stage.2.tokens=5",
        "stage.first.tokens=5",
        "stage.0.losses.1=5",
        "seed",
        "=5",
        "name.x=5",
        "stage..x=1",
    ],
)
def test_overrides_that_cannot_be_placed(setting: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        override(minimal(), setting)


# resolved recipe


def test_resolved_recipe_loads_to_the_same(tmp_path: Path) -> None:
    raw = changed("stage.1.losses.0.temperature=2.5", "eval.tokens=all", "student.rope=true")
    recipe = check_recipe(raw, source="")
    (tmp_path / "resolved.toml").write_text(recipe.to_toml())
    again = load_recipe(tmp_path / "resolved.toml")
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()
    written = tomllib.loads(recipe.to_toml())
    assert written["train"]["clip"] == 1.0  # defaults are written out
    assert written["stage"][1]["losses"][0]["temperature"] == 2.5
    assert written["eval"]["tokens"] == "all"


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.name)
def test_recipes_of_the_project_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_stages_get_names_and_seeds() -> None:
    raw = minimal()
    raw["stage"].append(raw["stage"][1])
    recipe = check_recipe(raw, source="")
    assert [recipe.stage_name(i) for i in range(3)] == ["align", "distill-1", "distill-2"]
    seeds = [recipe.stage_seed(i) for i in range(3)]
    assert len(set(seeds)) == 3
    other = check_recipe({**raw, "seed": 1}, source="")
    assert not set(seeds) & {other.stage_seed(i) for i in range(3)}
    own = check_recipe(changed("stage.0.seed=9"), source="")
    assert own.stage_seed(0) == 9


def test_steps_use_up_the_tokens() -> None:
    stage = check_recipe(changed("stage.0.tokens=1k", "stage.0.accumulate=3"), source="").stage[0]
    assert stage.tokens_per_step(2) == 8 * 2 * 3 * 2
    assert stage.steps(1) == 21
    assert stage.steps(2) == 11


def test_flat_names_places_as_overrides_do() -> None:
    assert dict(flat({"a": [{"b": 1}, {"b": "x"}], "c": {}})) == {"a.0.b": "1", "a.1.b": '"x"'}


# objects


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("teacher")
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<unk>", "<|endoftext|>"]
    tokenizer.train_from_iterator([WORDS], trainers.WordLevelTrainer(special_tokens=special))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def recipe_file(teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe over the random teacher and a text file."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(WORDS[i % 7 :] * 12) for i in range(80)))
    raw = check_recipe(
        changed(
            f"teacher.0.model='{teacher_folder}'",
            f"data.train=['{text}']",
            "train.threads=1",
            "stage.0.tokens=64",
            "stage.1.tokens=64",
            "stage.1.window=16",
        ),
        source="",
    )
    path = tmp_path / "recipe.toml"
    path.write_text(raw.to_toml())
    return path


class Quiet:
    def on_step(self, info: object) -> None:
        pass

    def on_message(self, text: str) -> None:
        pass


def carry_out(path: Path, out: Path, *settings: str, resume: bool = False) -> None:
    recipe = load_recipe(path, settings)
    run(build_run(recipe, tell=lambda text: None), out=out, resume=resume, progress=Quiet())


def test_a_recipe_becomes_a_student(recipe_file: Path, tmp_path: Path) -> None:
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


def test_resume_allows_free_settings_and_names_others(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    carry_out(recipe_file, out)
    free = ("log.every=9", "train.checkpoint_minutes=3", "train.keep=4", "eval.window=64", "name=b")
    carry_out(recipe_file, out, *free, resume=True)
    with pytest.raises(CheckpointError, match=r"stage\.1\.lr was 0\.001 .* 0\.002 now"):
        carry_out(recipe_file, out, "stage.1.lr=0.002", resume=True)
    with pytest.raises(CheckpointError, match="seed was 0"):
        carry_out(recipe_file, out, "seed=1", resume=True)


def test_changed_text_is_noticed(recipe_file: Path, tmp_path: Path) -> None:
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
    recipe_file: Path, teacher_folder: Path, tmp_path: Path
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
    recipe_file: Path, tmp_path: Path, settings: list[str], words: str
) -> None:
    carry_out(recipe_file, tmp_path / "dense", "stage.0.tokens=16", "stage.1.tokens=16")
    settings = [s.replace("DENSE", f"'{tmp_path / 'dense'}'") for s in settings]
    with pytest.raises((RecipeError, TeacherError), match=words):
        build_run(load_recipe(recipe_file, settings), tell=lambda text: None)


def test_weights_resets_and_a_start_from_scratch(recipe_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(" ".join(WORDS[i % 5 :] * 9) for i in range(60)))
    raw = tomllib.loads(recipe_file.read_text())
    raw["data"] |= {"train": [*raw["data"]["train"], str(other)], "weights": [1, 3], "resets": True}
    raw["student"] = {"start": "scratch"}
    raw["stage"][1] |= {"kind": "pretrain", "losses": [{"name": "ce"}], "tokens": 320}
    recipe_file.write_text(check_recipe(raw, source="").to_toml())
    plan = build_run(load_recipe(recipe_file), tell=lambda text: None)
    assert isinstance(plan.stages[0].loader, MixtureLoader)
    assert all(stage.stage.resets for stage in plan.stages)
    assert plan.student.blocks[0].mixer.output.weight.abs().sum() == 0  # the published start
    carry_out(recipe_file, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"weights = \[1.0\]: give one to each of the 2 texts"):
        load_recipe(recipe_file, ["data.weights=[1]"])


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


def test_teachers_have_names() -> None:
    raw = minimal()
    raw["teacher"] = [{"model": "a"}, {"model": "b", "name": "bee"}]
    raw["stage"][1]["teacher"] = "bee"
    recipe = check_recipe(raw, source="")
    assert [recipe.teacher_index(i) for i in range(2)] == [0, 1]
    raw["stage"][1]["teacher"] = "bea"
    with pytest.raises(RecipeError, match=r"stage.1.teacher = 'bea': .*'bee'"):
        check_recipe(raw, source="")
    raw["teacher"][0]["name"] = "bee"
    with pytest.raises(RecipeError, match="give each a name of its own"):
        check_recipe(raw, source="")


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


# how a stage is taught


def curriculum(*settings: str) -> Any:
    raw = changed("stage.1.tokens=64k", "stage.1.curriculum.kind=pocl", *settings)
    raw["stage"][1]["losses"].append({"name": "ce", "weight": 2.0})
    return check_recipe(raw, source="")


def test_a_curriculum_becomes_phases() -> None:
    recipe = curriculum()
    tables, shares = zip(*recipe.stage[1].phases(), strict=True)
    assert shares == (0.25, 0.5, 0.75, 1.0)
    weights = [{loss.name: loss.weight for loss in table.losses} for table in tables]
    assert [w["kl"] for w in weights] == [0.7, 0.8, 0.9, 1.0]
    assert [w.get("ce", 0.0) for w in weights] == pytest.approx([0.6, 0.4, 0.2, 0.0])
    taus = [table.losses[0].term().loss.temperature for table in tables]
    assert taus == [1.0, 1.33, 1.67, 2.0]
    assert [table.tokens for table in tables] == [6400, 12800, 19200, 25600]
    names = [name for name, _ in recipe.trained_stages()]
    assert names == ["align", "distill.1", "distill.2", "distill.3", "distill.4"]


def test_a_preset_and_lists_of_one_s_own() -> None:
    seed = curriculum("stage.1.curriculum.preset=seed").stage[1].curriculum.phases()
    assert len(seed) == 3
    assert [phase.kd_weight for phase in seed] == [0.9, 0.8, 0.7]
    own = [f"stage.1.curriculum.{key}=[0.5, 1.0]" for key in ("shares", "kd_weights", "parts")]
    phases = curriculum(*own, "stage.1.curriculum.temperatures=[3, 4]").stage[1].phases()
    assert [table.losses[0].term().loss.temperature for table, _ in phases] == [3.0, 4.0]
    assert phases[0][0].tokens == 21334


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stage.1.curriculum.shares=[0.5, 1.0]"], "2 shares, 4 temperatures"),
        (["stage.1.curriculum.shares=[0.5, 0.2, 0.7, 1.0]"], "must rise"),
        (["stage.1.curriculum.presett=seed"], "'preset'"),
        (["stage.0.curriculum.kind=pocl"], "ranks by logits"),
        (["stage.1.curriculum.kind=pocl", "stage.1.warmup=10"], "phase 1: warmup = 10"),
        (["stage.1.dot.delta=0.05"], "dot.task has 'ce'"),
        (["stage.1.dot.task=['kl']"], "leave a loss for distillation"),
        (["stage.1.watch.evry=3"], "'every'"),
        (["stage.1.end.by=plato"], "stage.1.end.by = 'plato'"),
        (["log.trackers=['wandbb']"], "'wandb'"),
        (["train.clip_by=groups"], "train.clip_by = 'groups'"),
    ],
)
def test_teaching_is_checked_when_loaded(settings: list[str], words: str) -> None:
    assert words in error_of(*settings)


def test_momenta_of_dot_stay_below_one() -> None:
    raw = changed("stage.1.dot.delta=0.3")
    raw["stage"][1]["losses"].append({"name": "ce"})
    with pytest.raises(RecipeError, match=r"delta = 0\.3: .* momentum is 0\.9"):
        check_recipe(raw, source="")


def test_a_curriculum_and_an_early_end_arrive_in_the_plan(recipe_file: Path) -> None:
    settings = ("stage.1.tokens=320", "stage.1.curriculum.pool=160", "stage.1.end.by=plateau")
    plan = build_run(load_recipe(recipe_file, settings), tell=lambda text: None)
    phases = plan.stages[1:]
    assert [phase.name for phase in phases] == [f"distill.{n}" for n in (1, 2, 3, 4)]
    assert len({id(phase.pool) for phase in phases}) == 1
    assert len(phases[0].pool.places) == 10
    assert [phase.end.by for phase in phases] == ["plateau"] * 4
    assert len({phase.seed for phase in phases}) == 4


def test_settings_that_came_later_do_not_stop_a_resumed_run(recipe_file: Path) -> None:
    plan = build_run(load_recipe(recipe_file), tell=lambda text: None)
    assert "train.clip_by" not in plan.identity
    other = build_run(load_recipe(recipe_file, ["train.clip_by=group"]), tell=lambda text: None)
    assert other.identity["train.clip_by"] == '"group"'
