"""The weighted sum of losses that a stage trains on, as named terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asnn_goose.losses.chunked_head import head_terms
from asnn_goose.losses.kinds import Chunk, TraceLoss, VocabLoss
from asnn_goose.trace import Batch, Trace


class Term(NamedTuple):
    """One loss of an objective: its name in metrics, its weight, the loss itself."""

    name: str
    weight: float
    loss: TraceLoss | VocabLoss


class Objective(nn.Module):
    """Named, weighted terms; their plain sum is what is minimised.

    `needs` is what the student's pass must keep and `teacher_needs` the teacher's (empty where
    no loss looks at it). `chunk` is the number of tokens whose logits exist at one time.
    """

    def __init__(self, terms: Sequence[Term], *, chunk: int = 256) -> None:
        super().__init__()
        names = [term.name for term in terms]
        if not terms or len(set(names)) != len(names):
            raise ValueError(f"losses {names}: give at least one, each under a name of its own")
        if chunk < 1:
            raise ValueError(f"chunk = {chunk}: must be at least 1 token")
        self.chunk = chunk
        self.weights = {term.name: float(term.weight) for term in terms}
        self.losses = nn.ModuleDict({term.name: term.loss for term in terms})

    @property
    def needs(self) -> frozenset[str]:
        """What the student's Trace must hold."""
        vocab = frozenset({"vocab"}) if self._vocab_losses else frozenset()
        return self._trace_needs() | vocab

    @property
    def teacher_needs(self) -> frozenset[str]:
        """What the teacher's Trace must hold."""
        looks = any(loss.uses_teacher for loss in self._vocab_losses.values())
        return self._trace_needs() | (frozenset({"vocab"}) if looks else frozenset())

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> dict[str, Tensor]:
        """Every term, already weighted: differentiate their plain sum."""
        terms = {
            name: self.weights[name] * loss(student, teacher, batch)
            for name, loss in self._trace_losses.items()
        }
        vocab = self._vocab_losses
        if vocab:
            terms.update(self._vocab_terms(vocab, student, teacher, batch))
        return terms

    @property
    def _trace_losses(self) -> dict[str, TraceLoss]:
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, TraceLoss)}

    @property
    def _vocab_losses(self) -> dict[str, VocabLoss]:
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, VocabLoss)}

    def _trace_needs(self) -> frozenset[str]:
        return frozenset().union(*(loss.needs for loss in self._trace_losses.values()))

    def _vocab_terms(
        self, losses: dict[str, VocabLoss], student: Trace, teacher: Trace, batch: Batch
    ) -> dict[str, Tensor]:
        if student.final_BTD is None or student.head_VD is None:
            raise ValueError("the student's Trace has no logits: capture 'vocab'")
        labels_n, mask_n = batch.labels_BT.flatten(), batch.mask_BT.flatten()
        count = mask_n.sum().clamp_min(1)
        looks = any(loss.uses_teacher for loss in losses.values())

        def compute(tokens: slice, z_student_nV: Tensor) -> Tensor:
            chunk = Chunk(labels_n=labels_n[tokens], mask_n=mask_n[tokens], progress=batch.progress)
            with torch.no_grad():
                z_teacher_nV = teacher.vocab(tokens) if looks else None
            values = [
                self.weights[name] * loss(z_student_nV.float(), z_teacher_nV, chunk)
                for name, loss in losses.items()
            ]
            return torch.stack([(v * chunk.mask_n).sum() / count for v in values])

        parameters = tuple(p for loss in losses.values() for p in loss.parameters())
        terms_k = head_terms(
            compute, student.final_BTD.flatten(0, 1), student.head_VD, parameters, chunk=self.chunk
        )
        return dict(zip(losses, terms_k.unbind(), strict=True))
