"""Which models and texts a study is asked about, and what they are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.texts import IN_DOMAIN, OUT_OF_DOMAIN, Text, detokenised_text, text_named
from asnn_goose.places import SubjectError, run_recipe
from asnn_goose.recipe import Recipe, load_recipe
from asnn_goose.recipe.read_texts import trained_hashes
from asnn_goose.subject.readers import reader_of, torch_reader
from asnn_goose.subject.torch_model import load_tokenizer

TEACHER, STUDENT, MODEL = "teacher", "student", "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to score; None and () mean what the run's recipe says, else the default.

    beside      more models, such as a control or other students
    detokenise  files of WikiText also as people write
    """

    model: str
    on: tuple[str, ...] = ()
    window: int | None = None
    tokens: int | None = None
    teacher: str | None = None
    beside: tuple[str, ...] = ()
    detokenise: bool = False

    def recipe(self) -> Recipe | None:
        """The recipe of a run; None for any other model."""
        file = run_recipe(self.model)
        return load_recipe(file) if file else None

    def texts(self, recipe: Recipe | None) -> list[Text]:
        """The texts asked for, each once, in the order asked for."""
        names = dict.fromkeys(self.on or (IN_DOMAIN, OUT_OF_DOMAIN))
        options: dict[str, Any] = {"hashes": trained_hashes(self.model)}
        if recipe is not None:
            data = recipe.data
            options |= {"trained_on": data.train, "weights": data.weights}
            options["out_of_domain"] = data.out_of_domain
        found = [text_named(name, **options) for name in names]
        return found + ([detokenised_text(name) for name in names] if self.detokenise else [])

    def models(self, recipe: Recipe | None) -> dict[str, str]:
        """Role -> name of every model to score: the teacher first, if there is one."""
        teacher = self.teacher or (recipe.teacher[0].model if recipe else None)
        beside = {name: name for name in self.beside}
        if teacher is None:
            return {MODEL: self.model} | beside
        return {TEACHER: teacher, STUDENT: self.model} | beside

    def tokenizer(self, models: Mapping[str, str]) -> PreTrainedTokenizerBase:
        """The tokenizer of all models. Raises SubjectError where one has another."""
        tokenizer = load_tokenizer(self.model)
        for name in models.values():
            check_vocabulary(self.model, tokenizer, name, load_tokenizer(name))
        return tokenizer


def check_vocabulary(
    model: str, tokenizer: PreTrainedTokenizerBase, other: str, others: PreTrainedTokenizerBase
) -> None:
    """Raise SubjectError where two models would read one list of ids as different texts."""
    if tokenizer.get_vocab() != others.get_vocab():
        raise SubjectError(
            f"{model} and {other} have different vocabularies, so they cannot be scored on the same"
            " tokens: score each on its own and compare bits per byte"
        )


def reader_for(role: str, name: str, *, engine: str | None, tell: Callable[[str], None]) -> Reader:
    """The model of a role on what runs it."""
    # Even a teacher that is a student: beside the same on the engine it shows whether both agree.
    if role == TEACHER:
        return torch_reader(name)
    return reader_of(name, engine=engine, tell=tell)
