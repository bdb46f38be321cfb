"""A teacher that fills a file with what it draws, a batch of records at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from asnn_goose.data.records import Record
from asnn_goose.data.shards import separator_id
from asnn_goose.model import Teacher, TeacherError, load_teacher
from asnn_goose.teachers.text_file import TextFile

NO_CHARACTER = "\ufffd"
"""What a decoder gives for bytes that are no character, such as half of one at a cut."""


class Author(ABC):
    """Draws records from a teacher; a batch depends on its number alone.

    batch  records of a batch
    total  how much is to be written, as `size` counts it

    Raises TeacherError, or what data and sources raise.
    """

    def __init__(self, model: str, *, batch: int, total: int, tell: Callable[[str], None]) -> None:
        self.batch, self.total = batch, total
        self.teacher, self.tokenizer = teacher_with_words(model, tell=tell)
        self.separator = separator_id(self.tokenizer)
        self.ends = ends_of(self.teacher, self.separator)

    @abstractmethod
    def batches(self, *, start: int) -> Iterator[Sequence[Record]]:
        """Batches of records from number `start` on."""

    @abstractmethod
    def size(self, records: Sequence[Record]) -> int:
        """How much of `total` some records are."""

    def follow(self, records: Sequence[Record]) -> None:
        """Hear of records that are in the file, in their order; those of a resumed one too."""
        return

    def said_of(self, file: Path) -> Iterator[str]:
        """What there is to say of the whole file."""
        return iter(())

    def text(self, ids_T: Tensor) -> str:
        """Text up to the token that ends it."""
        ids = ids_T.tolist()
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        text = self.tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        # A cut may fall within a character, whose half is nothing to learn.
        return str(text).strip(NO_CHARACTER)

    def draw_with(self, *, temperature: float, tokens: int, top_p: float = 1.0) -> Any:
        """The teacher's model, set to draw so many tokens at most from its own distribution."""
        model: Any = self.teacher.model
        rows = model.get_output_embeddings().weight.shape[0]
        # In place of the model's own, which would add settings of its publisher to ours.
        model.generation_config = GenerationConfig(
            do_sample=True,
            temperature=temperature,
            top_p=top_p,
            # Switched off in so many words: Transformers would cut at fifty.
            top_k=0,
            max_new_tokens=tokens,
            eos_token_id=sorted(self.ends),
            pad_token_id=self.separator,
            # Padded rows of the head have logits too, and no word.
            suppress_tokens=list(range(self.teacher.words, rows)) or None,
        )
        return model


def fill(author: Author, file: TextFile, *, advance: Callable[[int], None]) -> int:
    """Fill the file up to the author's total, whole batches; returns how much it has.

    `advance` is told how much is written, at first and after every batch. Raises TextFileError
    where the file cannot be written.
    """
    with file.growing(batch=author.batch) as kept:
        done = author.size(kept)
        author.follow(kept)
        advance(done)
        batches = author.batches(start=len(kept) // author.batch)
        while done < author.total:
            records = next(batches)
            file.append(records)
            author.follow(records)
            done += author.size(records)
            advance(done)
    return done


def teacher_with_words(
    model: str, *, tell: Callable[[str], None]
) -> tuple[Teacher, PreTrainedTokenizerBase]:
    """A teacher and its tokenizer. Raises TeacherError where it has none."""
    tell(f"loading the teacher {model}")
    teacher = load_teacher(model)
    if teacher.tokenizer is None:
        raise TeacherError(f"teacher {model!r} has no tokenizer: add its files")
    return teacher, teacher.tokenizer


def ends_of(teacher: Teacher, separator: int) -> frozenset[int]:
    """Tokens after which a text of the teacher is over: the separator, and its own ends."""
    own = getattr(teacher.model.generation_config, "eos_token_id", None)
    more = own if isinstance(own, list) else [own]
    eos = None if teacher.tokenizer is None else teacher.tokenizer.eos_token_id
    return frozenset(end for end in (separator, eos, *more) if end is not None)


def batch_seed(seed: int, number: int) -> int:
    """A seed for each batch, so that any of them can be drawn without those before it."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
