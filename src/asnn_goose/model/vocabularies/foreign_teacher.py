"""Teachers whose tokenizer is not the student's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from asnn_goose.model.families import TeacherError
from asnn_goose.model.teacher_mixture import MixedTeacher
from asnn_goose.model.vocabularies.aligned import SILENT, Aligned, Aligner
from asnn_goose.model.vocabularies.byte_vocabulary import ByteVocabulary
from asnn_goose.trace import Reading, Trace, Window


def same_words(one: PreTrainedTokenizerBase | None, other: PreTrainedTokenizerBase | None) -> bool:
    """Whether two tokenizers give every word the same number; True where one is not known."""
    return one is None or other is None or one.get_vocab() == other.get_vocab()


class ForeignTeacher:
    """A teacher that reads the student's tokens as text, with its own tokenizer.

    Its Trace says which of its positions have read the same bytes as the student's, and over which
    spans of the text both can be compared (`trace.Reading`). It gives logits only.

    Raises TeacherError where one of the tokenizers does not keep the bytes of a text.
    """

    signals: frozenset[str] = frozenset()
    words_differ = True

    def __init__(self, teacher: MixedTeacher, tokenizer: PreTrainedTokenizerBase) -> None:
        if teacher.tokenizer is None:
            raise TeacherError(f"teacher {teacher.name!r} comes without a tokenizer: add its files")
        self.teacher, self.name, self.tokenizer = teacher, teacher.name, teacher.tokenizer
        self.aligner = Aligner(
            ByteVocabulary(tokenizer, name="of the student"),
            ByteVocabulary(teacher.tokenizer, name=teacher.name),
        )

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens and no sizes: nothing of its inside is compared."""
        return Trace()

    @torch.no_grad()
    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Read the text of tokens (B,T). Raises ValueError where more than 'vocab' is needed."""
        if beyond := sorted(needs - {"vocab"}):
            raise ValueError(
                f"needs {', '.join(beyond)}: teacher {self.name!r} has another tokenizer and gives"
                " only 'vocab'"
            )
        if not needs:
            return Trace()
        documents_BT = None if window is None else window.documents_BT
        rows = [
            self.aligner.align(ids, None if documents_BT is None else documents_BT[row].tolist())
            for row, ids in enumerate(tokens_BT.tolist())
        ]
        ids_BM, theirs_BM = _filled(rows, device=tokens_BT.device)
        own = Window() if documents_BT is None else Window(documents_BT=theirs_BM)
        found = self.teacher.trace(ids_BM, needs, window=own)
        return replace(found, reading=_reading(rows, ids_BM))


def _filled(rows: Sequence[Aligned], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and documents (B,M) of all rows, filled up on the right, which no token looks at."""
    length = max(1, *(len(row.ids) for row in rows))
    ids_BM = torch.zeros(len(rows), length, dtype=torch.int64, device=device)
    documents_BM = torch.full_like(ids_BM, SILENT)
    for number, row in enumerate(rows):
        ids_BM[number, : len(row.ids)] = torch.tensor(row.ids, device=device)
        documents_BM[number, : len(row.ids)] = torch.tensor(row.documents, device=device)
    return ids_BM, documents_BM


def _reading(rows: Sequence[Aligned], ids_BM: Tensor) -> Reading:
    """Places and spans of all rows, counted over the flattened axes."""
    length, device = ids_BM.shape[1], ids_BM.device
    places, ours, theirs, spans = [], [], [], 0
    for number, row in enumerate(rows):
        places += [SILENT if p == SILENT else p + number * length for p in row.places]
        ours += [SILENT if s == SILENT else s + spans for s in row.spans]
        own = [SILENT if s == SILENT else s + spans for s in row.their_spans]
        theirs += own + [SILENT] * (length - len(own))
        spans += row.count
    following_BM = ids_BM.roll(-1, dims=1)
    return Reading(
        places_n=torch.tensor(places, device=device),
        spans_n=torch.tensor(ours, device=device),
        next_m=following_BM.flatten(),
        spans_m=torch.tensor(theirs, device=device),
        spans=spans,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateTrace(Trace):
    """Passes of several teachers that do not share their words, each with its weight."""

    parts: tuple[tuple[float, Trace], ...]


class SeparateTeachers:
    """Several teachers of different tokenizers: every loss is their weighted mean.

    Probabilities of different words cannot be mixed as `TeacherMixture` does; what each says is
    compared by itself. `weights` are "uniform" or one each, and are made to sum to 1.
    """

    signals: frozenset[str] = frozenset()
    words_differ = True

    def __init__(
        self,
        teachers: Sequence[MixedTeacher],
        tokenizer: PreTrainedTokenizerBase,
        *,
        weights: str | Sequence[float] = "uniform",
    ) -> None:
        if isinstance(weights, str) and weights != "uniform":
            raise ValueError(
                f"mix = {weights!r}: it weighs probabilities of one vocabulary, and the teachers"
                " have several: take uniform, or a list of weights"
            )
        given = [1.0] * len(teachers) if isinstance(weights, str) else list(weights)
        self.weights = [weight / sum(given) for weight in given]
        self.teachers = [
            teacher
            if same_words(teacher.tokenizer, tokenizer)
            else ForeignTeacher(teacher, tokenizer)
            for teacher in teachers
        ]
        self.name = " + ".join(teacher.name for teacher in teachers)
        self.tokenizer = tokenizer

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens and no sizes."""
        return Trace()

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run every teacher on the text of tokens (B,T)."""
        passes = [teacher.trace(tokens_BT, needs, window=window) for teacher in self.teachers]
        return SeparateTrace(parts=tuple(zip(self.weights, passes, strict=True)))
