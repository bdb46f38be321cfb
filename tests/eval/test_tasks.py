"""Tasks: prompts as in lm-eval, scores with their errors, and what a student keeps."""

from __future__ import annotations

import json
import math
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asnn_goose.eval.readers.engine_reader import EngineReader
from asnn_goose.eval.readers.torch_reader import TorchReader
from asnn_goose.eval.tasks.harness import HarnessLM, ask
from asnn_goose.eval.tasks.task_files import TASKS, TaskError, load_tasks, named, read_items
from asnn_goose.eval.tasks.task_scores import TaskScore, relative, spread_items

QUESTION = {"query": "Question: what flies?\n", "choices": ["a goose", "a stone"], "gold": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three items of every task, the last of three choices where it has some."""
    three = QUESTION | {"choices": ["a goose", "a stone", "lead"], "gold": 2}
    for name, task in TASKS.items():
        items: list[dict[str, Any]] = [QUESTION, QUESTION | {"gold": 1}, three]
        if name == "lambada_openai":
            items = [{"context": "A goose that", "continuation": word} for word in "abc"]
        if name == "winogrande":
            openings = ["the goose saw the fox and she", "the goose saw the fox and it"]
            shared = {"context_options": openings, "continuation": "flew."}
            items = [shared | {"gold": gold} for gold in (0, 1, 1)]
        if name == "blimp":
            items = [
                {"sentence_good": "Geese fly.", "sentence_bad": f"Geese flies {n}."}
                for n in range(3)
            ]
        file = tmp_path / (task.file + "one.jsonl" if task.file.endswith("/") else task.file)
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return tmp_path


def requests(task: Any) -> list[tuple[str, str]]:
    task.build_all_requests(limit=1)
    return [instance.args for instance in task.instances]


def test_prompts_are_those_of_lm_eval(folder: Path) -> None:
    tasks = load_tasks(list(TASKS), folder=folder)
    asked = "Question: what flies?\nAnswer:"
    assert requests(tasks["arc_easy"]) == [(asked, " a goose"), (asked, " a stone")]
    assert (
        requests(tasks["piqa"]) == requests(tasks["arc_challenge"]) == requests(tasks["arc_easy"])
    )
    assert requests(tasks["openbookqa"])[1] == ("Question: what flies?\n", " a stone")
    assert requests(tasks["lambada_openai"]) == [("A goose that", " a")]
    assert requests(tasks["winogrande"]) == [
        ("the goose saw the fox and she", " flew."),
        ("the goose saw the fox and it", " flew."),
    ]
    assert requests(tasks["blimp"]) == [("", " Geese fly."), ("", " Geese flies 0.")]


def test_scores_are_those_of_the_likeliest_choice(
    folder: Path, student_reader: TorchReader, engine_reader: EngineReader
) -> None:
    found = {}
    for name, reader in (("torch", student_reader), ("engine", engine_reader)):
        tasks = load_tasks(["arc_easy", "lambada_openai"], folder=folder)
        found[name] = ask(HarnessLM(reader, batch_size=2), tasks, limit=None)
    arc, lambada = found["torch"]
    context = student_reader.vocabulary.ids("Question: what flies?\nAnswer:")
    choices = [
        student_reader.vocabulary.ids(f" {choice}") for choice in ("a goose", "a stone", "lead")
    ]
    scores = [score.logprob for score in student_reader.score([(context, c) for c in choices])]
    best = [int(np.argmax(scores[:2])), int(np.argmax(scores[:2])), int(np.argmax(scores))]
    assert arc.answers == tuple(best)
    assert arc.values == tuple(float(b == gold) for b, gold in zip(best, (0, 1, 2), strict=True))
    assert arc.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)
    assert (lambada.chance, lambada.metric, set(arc.others)) == (0.0, "acc", {"acc_norm"})
    assert [score.answers for score in found["engine"]] == [arc.answers, lambada.answers]


def test_an_empty_context_is_the_token_that_begins_a_text(student_reader: TorchReader) -> None:
    lm = HarnessLM(student_reader)
    request = SimpleNamespace(args=("", "goose"))
    ((logprob, _),) = lm.loglikelihood([request], disable_tqdm=True)
    ids = student_reader.vocabulary.ids("goose")
    assert logprob == pytest.approx(student_reader.score([([256], ids)])[0].logprob)
    (rolling,) = lm.loglikelihood_rolling([SimpleNamespace(args=("goose",))])
    assert rolling == pytest.approx(logprob, abs=1e-4)


def test_answers_end_at_a_stop_string_or_the_limit(student_reader: TorchReader) -> None:
    lm = HarnessLM(student_reader, batch_size=2)
    ask_for = [SimpleNamespace(args=("A goose", {"max_gen_toks": 12}))]
    (whole,) = lm.generate_until(ask_for)
    assert 3 < len(whole) <= 12  # a token is a byte here, a broken one no more than a character
    stop = whole[3]
    several = [
        SimpleNamespace(args=(said, {"max_gen_toks": 12, "until": [stop]}))
        for said in ("A goose", "The", "A goose")
    ]
    cut = lm.generate_until(several)
    assert cut[0] == cut[2] == whole[: whole.index(stop)]
    assert stop not in cut[1]
    with pytest.raises(ValueError, match="num_beams"):
        lm.generate_until([SimpleNamespace(args=("A", {"num_beams": 4}))])


def score(values: list[float], *, chance: float = 0.25, answers: list[int] | None = None) -> Any:
    return TaskScore(
        task="t",
        metric="acc",
        items=tuple(range(len(values))),
        values=tuple(values),
        chance=chance,
        answers=tuple(answers or [int(v) for v in values]),
        others={},
    )


def test_relative_scores_and_their_errors() -> None:
    draw = np.random.default_rng(0)
    teacher = (draw.random(4000) < 0.7).astype(float)
    student = np.where(draw.random(4000) < 0.8, teacher, 1 - teacher)
    found = relative(score(student.tolist()), score(teacher.tolist()))
    assert found is not None
    assert found.value == pytest.approx((student.mean() - 0.25) / (teacher.mean() - 0.25))
    drawn = [draw.integers(0, 4000, 4000) for _ in range(400)]
    boots = [(student[d].mean() - 0.25) / (teacher[d].mean() - 0.25) for d in drawn]
    assert found.error == pytest.approx(np.std(boots), rel=0.12)
    assert found.same == pytest.approx(float((student == teacher).mean()))
    same = relative(score(teacher.tolist()), score(teacher.tolist()))
    assert same is not None
    assert (same.value, same.error, same.same) == (1.0, 0.0, 1.0)


def test_the_error_is_that_of_a_ratio() -> None:
    teacher, student = np.array([1.0, 1, 1, 0, 1]), np.array([1.0, 0, 1, 1, 0])
    found = relative(score(student.tolist()), score(teacher.tolist()))
    assert found is not None
    assert found.value == pytest.approx(0.35 / 0.55)
    each = (student - 0.35 / 0.55 * teacher) / 0.55
    assert found.error == pytest.approx(each.std(ddof=1) / 5**0.5)


def test_no_relative_score_where_the_teacher_knows_nothing() -> None:
    assert relative(score([1.0, 0.0]), score([0.0, 0.0])) is None
    with pytest.raises(ValueError, match="different items"):
        relative(score([1.0]), score([1.0, 0.0]))


def test_standard_error_of_a_share() -> None:
    values = [1.0] * 30 + [0.0] * 70
    assert score(values).error == pytest.approx(math.sqrt(0.3 * 0.7 / 99))
    assert math.isnan(score([1.0]).error)


def test_items_are_spread_evenly() -> None:
    assert spread_items(3, None) == spread_items(3, 9) == [0, 1, 2]
    found = spread_items(67_000, 201)
    parts = [place // 1000 for place in found]
    assert sorted(set(parts)) == list(range(67))
    assert {parts.count(part) for part in parts} == {3}


def test_names_and_files_that_are_not_there(tmp_path: Path, folder: Path) -> None:
    assert named(["default", "piqa"]) == list(TASKS)
    with pytest.raises(ValueError, match="arc_easy"):
        load_tasks(["arc_esay"], folder=folder)
    with pytest.raises(TaskError, match=r"piqa\.jsonl is not there"):
        load_tasks(["piqa"], folder=tmp_path / "empty")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"query": "x"}\n')
    with pytest.raises(TaskError, match="line 1: must be an object with query, gold"):
        read_items(broken, ("query", "gold"))


def test_entry_points_lead_to_models_of_lm_eval() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    points = tomllib.loads(project.read_text())["project"]["entry-points"]["lm_eval.models"]
    assert set(points) == {"asnn_goose", "asnn_goose_engine"}
    for name, value in points.items():
        entry = EntryPoint(name=name, value=value, group="lm_eval.models")
        assert issubclass(entry.load(), HarnessLM)
