"""What every stage is: a student and an objective behind one forward pass."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor, nn

from asnn_goose.losses import Objective
from asnn_goose.trace import Batch, Trace


class Tracing(Protocol):
    """A model whose forward pass can be looked into."""

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, documents_BT: Tensor | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names, anew in each document if given."""


def kind_of(stage: type[Stage]) -> str:
    """What a recipe calls a kind of stage: AlignBlocks is align_blocks."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", stage.__name__).lower()


class Stage(nn.Module, ABC):
    """Turns a batch into named loss terms; this module is what accelerate wraps.

    Its parameters are those of the student and of the objective. The teacher stays outside the
    module tree: it is neither trained, saved nor synchronised.

    gives    what a student's pass can hold in this kind of stage (trace.NEEDS)
    trains   values of a recipe's `train` that make sense in it
    resets   whether every document of a window begins with an empty state

    Raises ValueError where the objective needs more than the stage gives.
    """

    gives: ClassVar[frozenset[str]]
    trains: ClassVar[frozenset[str]]
    teacher: Tracing

    def __init__(
        self, *, student: nn.Module, teacher: Tracing, objective: Objective, resets: bool = False
    ) -> None:
        super().__init__()
        self.resets = resets
        self.check(objective)
        self.student = student
        self.objective = objective
        object.__setattr__(self, "teacher", teacher)

    @classmethod
    def check(cls, objective: Objective) -> None:
        """Raise ValueError where the objective needs more than the stage gives."""
        beyond = sorted(objective.needs - cls.gives)
        if beyond:
            raise ValueError(
                f"{kind_of(cls)} cannot give {', '.join(beyond)} to its losses: "
                f"use losses that need only {', '.join(sorted(cls.gives))}"
            )

    def anneal(self, batch: Batch) -> None:
        """Let a student whose precision falls within a stage know how far the stage is."""
        tell = getattr(self.student, "anneal", None)
        if tell is not None:
            tell(batch.progress)

    def documents(self, batch: Batch) -> dict[str, Tensor]:
        """What both passes are told of documents: nothing, unless their states are to be reset."""
        return {"documents_BT": batch.documents_BT} if self.resets else {}

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name; their sum is the loss."""
