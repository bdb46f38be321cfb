"""The two kinds of objective, and the chunk of tokens that the second kind sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from asnn_goose.trace import Batch, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A few tokens of a batch, flattened.

    labels_n next tokens (IGNORED_LABEL where none), mask_n True where a token counts,
    progress share of the stage that is done.
    """

    labels_n: Tensor
    mask_n: Tensor
    progress: float


class TraceLoss(nn.Module, ABC):
    """An objective over two Traces; `needs` names what both passes must keep (trace.NEEDS)."""

    needs: ClassVar[frozenset[str]]

    @abstractmethod
    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar: mean over the tokens that count."""


class VocabLoss(nn.Module, ABC):
    """An objective over logits; `uses_teacher` is False where only labels matter."""

    uses_teacher: ClassVar[bool] = True

    @abstractmethod
    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """One value per token (n,), in fp32; masking and averaging are the caller's."""
