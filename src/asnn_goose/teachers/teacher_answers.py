"""Answers that a teacher gives to questions, alone or beside a weaker student's.

Alone they are instructions (sequence-level distillation, Kim and Rush 2016, arXiv 1606.07947, with
a prompt that is not learned); beside a student's own answers they are preferences, in which the
teacher's is the chosen one whatever either says. No one judges them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from asnn_goose.data.document import DataError, Split
from asnn_goose.data.example_sets import ExampleSets, check_example_set
from asnn_goose.data.examples import read_examples
from asnn_goose.data.instructions import INSTRUCTIONS
from asnn_goose.data.records import Record
from asnn_goose.model import Teacher, TeacherError, load_teacher
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.teachers.teacher_texts import NO_CHARACTER, batch_seed, ends_of
from asnn_goose.teachers.text_file import TextFile
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
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature = {self.temperature}: must be above 0")
        for name in self.examples:
            check_example_set(name)


class Answerer:
    """Answers questions a batch at a time; a batch depends on its number alone.

    Raises TeacherError, or what data and sources raise.
    """

    def __init__(self, answering: Answering, *, tell: Callable[[str], None]) -> None:
        self.answering = answering
        tell(f"loading the teacher {answering.model}")
        self.teacher = load_teacher(answering.model)
        if self.teacher.tokenizer is None:
            raise TeacherError(f"teacher {answering.model!r} has no tokenizer: add its files")
        self.tokenizer = self.teacher.tokenizer
        sets = ExampleSets(self.tokenizer)
        self.ends = sets.ends | ends_of(self.teacher, sets.padding)
        self._padding = sets.padding
        self._student = self._loaded(answering.against, self.teacher)
        self._questions = self._drawn_questions(sets)
        tell(f"{len(self._questions):,} questions of {', '.join(answering.examples)}")

    def batches(self, *, start: int) -> Iterator[list[Record]]:
        """Batches of records from number `start` on, the last one shorter."""
        size = self.answering.batch
        for number in range(start, math.ceil(len(self._questions) / size)):
            questions = self._questions[number * size : (number + 1) * size]
            torch.manual_seed(batch_seed(self.answering.seed, number))
            yield self._answered(questions)

    def _answered(self, questions: Sequence[tuple[Record, Tensor]]) -> list[Record]:
        prompts = [prompt for _, prompt in questions]
        chosen = self._of_teacher(prompts)
        if self._student is None:
            rows = zip(questions, chosen, strict=True)
            return [_record(question, completion=text) for (question, _), text in rows]
        rejected = map(
            self._text,
            drawn(
                self._student,
                prompts,
                tokens=self.answering.tokens,
                temperature=1.0,
                ends=self.ends,
            ),
        )
        pairs = zip(questions, chosen, rejected, strict=True)
        return [_record(q, chosen=better, rejected=worse) for (q, _), better, worse in pairs]

    def _of_teacher(self, prompts: Sequence[Tensor]) -> list[str]:
        ids_BP, mask_BP = padded(prompts)
        model: Any = self.teacher.model
        ids_BT = model.generate(
            ids_BP, attention_mask=mask_BP, generation_config=self._generation()
        )
        return [self._text(ids_T) for ids_T in ids_BT[:, ids_BP.shape[1] :]]

    def _text(self, ids_T: Tensor) -> str:
        ids = ids_T.tolist()
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        text = self.tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).strip(NO_CHARACTER).strip() or NOTHING

    def _generation(self) -> GenerationConfig:
        answering, rows = self.answering, self.teacher.model.get_output_embeddings().weight.shape[0]
        return GenerationConfig(
            do_sample=True,
            temperature=answering.temperature,
            top_k=0,
            max_new_tokens=answering.tokens,
            eos_token_id=sorted(self.ends),
            pad_token_id=self._padding,
            suppress_tokens=list(range(self.teacher.words, rows)) or None,
        )

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

    @staticmethod
    def _loaded(name: str | None, teacher: Teacher) -> GooseForCausalLM | None:
        if name is None:
            return None
        student = load_student(name)
        rows = student.config.vocab_size
        if rows != teacher.model.get_input_embeddings().weight.shape[0]:
            raise TeacherError(f"against = {name!r}: it has {rows} words, and the teacher others")
        return student


def write_answers(answerer: Answerer, file: TextFile, *, advance: Callable[[int], None]) -> int:
    """Fill the file; returns how many records it has. `advance` is told how many are written.

    Raises TextFileError where the file cannot be written.
    """
    batch = answerer.answering.batch
    with file.growing(batch=batch) as kept:
        count = len(kept)
        advance(count)
        for records in answerer.batches(start=count // batch):
            file.append(records)
            count += len(records)
            advance(count)
    return count


def _asked(place: str, record: Record) -> Record:
    """A record with one question: of a conversation what stands before its first answer."""
    if "messages" not in record:
        return record
    messages = record["messages"]
    first = next((n for n, m in enumerate(messages) if m.get("role") == "assistant"), 0)
    if first == 0:
        raise DataError(f"{place}: no question before an answer")
    return {"prompt": messages[:first], "completion": messages[first : first + 1]}


def _record(question: Record, **answers: str) -> Record:
    """The question with other answers, in its own form."""
    as_text = isinstance(question["prompt"], str)

    def formed(text: str) -> str | list[Mapping[str, str]]:
        return text if as_text else [{"role": "assistant", "content": text}]

    return {"prompt": question["prompt"]} | {key: formed(text) for key, text in answers.items()}
