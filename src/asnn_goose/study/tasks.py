"""A student beside its teacher on standard tasks and in what they write, one model at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asnn_goose.data.chat_tokens import template_of
from asnn_goose.eval import generation
from asnn_goose.eval.comparison import Protocol, finite
from asnn_goose.eval.instructions import Obedience, asked_in_all, obey
from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.tasks.task_files import TaskError, load_tasks, named
from asnn_goose.eval.tasks.task_scores import Relative, TaskScore, relative
from asnn_goose.eval.texts import windows_of
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.recipe import Recipe
from asnn_goose.study.findings import Findings
from asnn_goose.study.request import STUDENT, TEACHER, Request, reader_for
from asnn_goose.subject.torch_model import load_tokenizer

LIMIT = 100
"""Items of a task at most, unless told otherwise."""

SHOWN = 4
"""Continuations that are kept as text."""

GENERATION, INSTRUCTIONS = "generation", "instructions"
"""What is measured here beside lm-eval's tasks, by the names that `--tasks` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """What to ask whom.

    tasks   names of tasks, "default", "generation" and "instructions"
    folder  of the items; None: lm-eval's own, from the Hub
    limit   items of a task at most; None: all
    engine  what runs a student: native or torch
    on      the text whose continuations are compared
    """

    model: str
    tasks: tuple[str, ...] = ("default",)
    folder: Path | None = None
    limit: int | None = LIMIT
    teacher: str | None = None
    engine: str | None = None
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvaluation(Findings):
    """Everything that came out, by role."""

    request: TaskRequest
    models: Mapping[str, str]
    scores: Mapping[str, Sequence[TaskScore]]
    continuations: Mapping[str, Sequence[Sequence[int]]]
    instructions: Mapping[str, Obedience]
    samples: Sequence[Mapping[str, str]]

    def relatives(self) -> dict[str, Relative | None]:
        """Task -> what the student keeps of its teacher; empty where there is no teacher."""
        teacher = {score.task: score for score in self.scores.get(TEACHER, ())}
        return {
            score.task: relative(score, teacher[score.task])
            for score in self.scores.get(STUDENT, ())
            if score.task in teacher
        }

    def agreement(self) -> generation.Agreement | None:
        """The student's continuations beside the teacher's; None unless both drew."""
        drawn, wanted = (self.continuations.get(role) for role in (STUDENT, TEACHER))
        return generation.agreement(drawn, wanted) if drawn and wanted else None

    def varieties(self) -> dict[str, generation.Variety]:
        """Role -> of its continuations."""
        return {role: generation.variety(drawn) for role, drawn in self.continuations.items()}

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        alike = self.agreement()
        return {
            "models": dict(self.models),
            "protocol": Protocol(limit=None).as_dict()["versions"]
            | {"limit": self.request.limit, "engine": self.request.engine},
            "tasks": {
                role: {score.task: finite(score.as_dict()) for score in scores}
                for role, scores in self.scores.items()
            },
            "relative": {
                task: finite(asdict(found)) if found else None
                for task, found in self.relatives().items()
            },
            "agreement": finite(asdict(alike)) if alike else None,
            "variety": {role: asdict(found) for role, found in self.varieties().items()},
            "instructions": {
                role: finite(asdict(found)) for role, found in self.instructions.items()
            },
            "samples": [dict(sample) for sample in self.samples],
        }


def ask_models(
    request: TaskRequest, *, watch: Watch = unwatched, tell: Callable[[str], None] = lambda t: None
) -> TaskEvaluation:
    """Ask a run, a student or a teacher, and the run's teacher beside it.

    Raises TaskError, SubjectError, DataError, or what loading a model raises.
    """
    keep_freed_memory()
    names = named(request.tasks)
    scored = [name for name in names if name not in {GENERATION, INSTRUCTIONS}]
    if scored:
        load_tasks(scored, folder=request.folder)  # a missing file ends here
    asked = Request(model=request.model, teacher=request.teacher)
    recipe = asked.recipe()
    models = asked.models(recipe)
    prompts = prompts_of(request, models, recipe) if GENERATION in names else []
    scores, drawn, obeyed = {}, {}, {}
    texts: dict[str, list[str]] = {"prompt": []}
    for role, name in models.items():
        reader = reader_for(role, name, engine=request.engine, tell=tell)
        if scored:
            scores[role] = _ask(reader, scored, request, watch, role)
        if prompts:
            with watch(f"{role}: continuations", len(prompts)) as advance:
                drawn[role] = generation.drawn_after(reader, prompts, advance=advance)
            texts[role] = _texts(reader, prompts, drawn[role])
            texts["prompt"] = _texts(reader, [[]] * SHOWN, prompts)
        if INSTRUCTIONS in names:
            obeyed[role] = _obey(reader, role, watch)
    return TaskEvaluation(
        request=request,
        models=models,
        scores=scores,
        continuations=drawn,
        instructions=obeyed,
        samples=[dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=False)],
    )


def _ask(
    reader: Reader, names: Sequence[str], request: TaskRequest, watch: Watch, role: str
) -> list[TaskScore]:
    from asnn_goose.eval.tasks.harness import HarnessLM, ask

    def watched(label: str, total: int) -> Any:
        return watch(f"{role} {label}", total)

    tasks = load_tasks(names, folder=request.folder)
    return ask(HarnessLM(reader, watch=watched), tasks, limit=request.limit)


def _obey(reader: Reader, role: str, watch: Watch) -> Obedience:
    template = template_of(load_tokenizer(reader.name))
    if template is None:
        raise TaskError(f"{reader.name} has no chat template: leave out --tasks {INSTRUCTIONS}")
    with watch(f"{role}: instructions", asked_in_all()) as advance:
        return obey(reader, template, advance=advance)


def prompts_of(
    request: TaskRequest, models: Mapping[str, str], recipe: Recipe | None
) -> list[list[int]]:
    """Beginnings of windows of held-out text, evenly spaced over it."""
    on = Request(model=request.model, on=request.on[:1] or ("out-of-domain",))
    tokenizer = on.tokenizer(models)
    (text,) = on.texts(recipe)
    protocol = Protocol(window=generation.PROMPT, limit=generation.PROMPT * generation.PROMPTS)
    windows = [
        window
        for held in windows_of(text, tokenizer, protocol=protocol).values()
        for window in held
    ]
    return [tokens_1T[0].tolist() for tokens_1T, _ in windows[: generation.PROMPTS]]


def _texts(
    reader: Reader, before: Sequence[Sequence[int]], drawn: Sequence[Sequence[int]]
) -> list[str]:
    """The first SHOWN of some texts that go on from others."""
    pairs = list(zip(before, drawn, strict=False))[:SHOWN]
    return ["".join(reader.vocabulary.pieces(prompt, tokens)) for prompt, tokens in pairs]
