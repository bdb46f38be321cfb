"""Answers that a teacher gives to questions, alone or beside a weaker student's.

Alone they are instructions (sequence-level distillation, Kim and Rush 2016, arXiv 1606.07947, with
a prompt that is not learned); beside a student's own answers they are preferences, in which the
teacher's is the chosen one whatever either says. No one judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.document import DataError, Split
from asnn_goose.data.example_sets import ExampleSets, check_example_set
from asnn_goose.data.examples import read_examples
from asnn_goose.data.instructions import INSTRUCTIONS
from asnn_goose.data.records import Record
from asnn_goose.losses.kinds import check_temperature
from asnn_goose.model import TeacherError
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.teachers.author import Author, batch_seed
from asnn_goose.train.sampling import drawn, padded

NOTHING = "..."
"""Stands for an answer of no characters, which no example may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What answers depend on.

    model        the teacher: a built-in name, a folder or a Hub id
    examples     sets whose questions are answered; of built-in sets those of the training split
    count        questions, drawn by the seed
    against      a student's run, whose answers are the rejected ones; None for instructions
    tokens       longest answer
    batch        questions answered at a time, which share a seed
    temperature  of the teacher; the student draws at 1

    Raises ValueError for settings that give no answer, DataError for examples that there cannot be.
    """

    model: str
    examples: tuple[str, ...]
    count: int
    against: str | None = None
    tokens: int = 128
    batch: int = 8
    temperature: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        for name in self.examples:
            check_example_set(name)


@final
class Answerer(Author):
    """Answers questions; their size is the number of records. Raises what `Author` does."""

    def __init__(self, answering: Answering, *, tell: Callable[[str], None]) -> None:
        super().__init__(answering.model, batch=answering.batch, total=answering.count, tell=tell)
        self.answering = answering
        self._model = self.draw_with(temperature=answering.temperature, tokens=answering.tokens)
        self._student = None if answering.against is None else self._opponent(answering.against)
        self._questions = self._drawn_questions(ExampleSets(self.tokenizer))
        self.total = len(self._questions)  # sets may hold fewer than were asked for
        tell(f"{self.total:,} questions of {', '.join(answering.examples)}")

    def batches(self, *, start: int) -> Iterator[list[Record]]:
        """Batches of records from number `start` on, the last one shorter."""
        for first in range(start * self.batch, self.total, self.batch):
            torch.manual_seed(batch_seed(self.answering.seed, first // self.batch))
            yield self._answered(self._questions[first : first + self.batch])

    def size(self, records: Sequence[Record]) -> int:
        """How many they are."""
        return len(records)

    def _answered(self, questions: Sequence[tuple[Record, Tensor]]) -> list[Record]:
        prompts = [prompt for _, prompt in questions]
        ids_BP, mask_BP = padded(prompts)
        ids_BT = self._model.generate(ids_BP, attention_mask=mask_BP)
        sides = {"completion": list(ids_BT[:, ids_BP.shape[1] :])}
        if self._student is not None:
            tokens = self.answering.tokens
            rejected = drawn(self._student, prompts, tokens=tokens, temperature=1.0, ends=self.ends)
            sides = {"chosen": sides["completion"], "rejected": rejected}
        texts = {key: [self.text(row).strip() for row in rows] for key, rows in sides.items()}
        return [
            _record(question, {key: said[n] or NOTHING for key, said in texts.items()})
            for n, (question, _) in enumerate(questions)
        ]

    def _drawn_questions(self, sets: ExampleSets) -> list[tuple[Record, Tensor]]:
        """Questions in the order of the seed, each with the ids of its prompt."""
        found = []
        for name in self.answering.examples:
            split: Split = "train" if name in INSTRUCTIONS else "all"
            records = [(place, _asked(place, r)) for place, r in sets.records(name, split)]
            examples = read_examples(records, self.tokenizer, split="all")
            for (_, record), example in zip(records, examples, strict=True):
                prompt_N = example.ids_N[: int(example.answer_N.argmax())]
                found.append((record, torch.from_numpy(prompt_N)))
        order = np.random.default_rng(self.answering.seed).permutation(len(found))
        return [found[number] for number in order[: self.answering.count]]

    def _opponent(self, name: str) -> GooseForCausalLM:
        student = load_student(name)
        rows = student.config.vocab_size
        if rows != self.teacher.model.get_input_embeddings().weight.shape[0]:
            raise TeacherError(f"against = {name!r}: it has {rows} words, and the teacher others")
        return student


def _asked(place: str, record: Record) -> Record:
    """A record with one question: of a conversation what stands before its first answer."""
    if "messages" not in record:
        return record
    messages = record["messages"]
    first = next((n for n, m in enumerate(messages) if m.get("role") == "assistant"), 0)
    if first == 0:
        raise DataError(f"{place}: no question before an answer")
    return {"prompt": messages[:first], "completion": messages[first : first + 1]}


def _record(question: Record, answers: Mapping[str, str]) -> Record:
    """The question with other answers, in its own form."""
    if isinstance(question["prompt"], str):
        return {"prompt": question["prompt"], **answers}
    said = {key: [{"role": "assistant", "content": text}] for key, text in answers.items()}
    return {"prompt": question["prompt"], **said}
