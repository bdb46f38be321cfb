"""What every stage is: a student and an objective behind one forward pass."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Protocol, cast

from torch import Tensor, nn

from asnn_goose.losses import Objective
from asnn_goose.trace import PLACES, Batch, Trace, Window
from asnn_goose.train.span import WHOLE, Span


class Tracing(Protocol):
    """A model whose forward pass can be looked into."""

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) that lie as `window` says, and keep what `needs` names."""


class Known(Tracing, Protocol):
    """A model that says before its first pass what a pass can hold.

    signals  names of what it gives beside trace.PLACES
    outline  a Trace of no tokens, with the sizes
    """

    @property
    def signals(self) -> frozenset[str]:
        """See the class."""

    @property
    def outline(self) -> Trace:
        """See the class."""


def kind_of(stage: type[Stage]) -> str:
    """What a recipe calls a kind of stage: AlignBlocks is align_blocks."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", stage.__name__).lower()


class Stage(nn.Module):
    """Turns a batch into named loss terms; this module is what accelerate wraps.

    Its parameters are those of the student and of the objective. The teacher stays outside the
    module tree: it is neither trained, saved nor synchronised.

    gives    which of trace.PLACES a student's pass can hold in this kind of stage
    gives_signals   whether it holds the signals of the student's mixers too
    drives   what it takes of the teacher to run the student on, whatever the losses ask for
    trains   values of a recipe's `train` that make sense in it
    taught   whether a teacher may run in it
    runs     what of the student runs: its mixers alone, mixers and MLPs, or all from word to word
    ranks    whether a curriculum can order its windows, which takes logits of both models
    reads    windows of running text, rows of examples, examples one a row, or pairs of answers
    folds    whether its end changes weights of the student that it does not train
    resets   whether every document of a window begins with an empty state; examples always do
    anneals  which part of the fall of the student's precision the stage covers

    Raises ValueError where the objective needs more than the stage, the student's mixer or the
    teacher gives.
    """

    gives: ClassVar[frozenset[str]]
    gives_signals: ClassVar[bool] = True
    drives: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[frozenset[str]]
    taught: ClassVar[bool] = True
    runs: ClassVar[Literal["mixers", "blocks", "whole"]] = "whole"
    ranks: ClassVar[bool] = False
    folds: ClassVar[bool] = False
    reads: ClassVar[Literal["windows", "examples", "prompts", "pairs"]] = "windows"
    teacher: Tracing

    def __init__(
        self,
        *,
        student: nn.Module,
        teacher: Tracing,
        objective: Objective,
        resets: bool = False,
        anneals: Span = WHOLE,
    ) -> None:
        super().__init__()
        self.resets, self.anneals = resets or self.reads != "windows", anneals
        self.check(objective)
        self.student = student
        self.objective = objective
        object.__setattr__(self, "teacher", teacher)
        self._check_signals()

    @classmethod
    def check(cls, objective: Objective) -> None:
        """Raise ValueError where the objective needs more than the stage gives."""
        if (cls.reads == "pairs") != bool(objective.pair_losses):
            kinds = ", ".join(objective.pair_losses) or "no loss"
            raise ValueError(
                f"{kind_of(cls)} reads {cls.reads}, and {kinds} of its losses compares two answers:"
                " losses on preferences belong to a stage that reads pairs, such as dpo"
            )
        # Signals are the mixer's affair and are checked once it is known; a recipe is checked
        # before.
        asked = objective.needs & PLACES if cls.gives_signals else objective.needs
        beyond = sorted(asked - cls.gives)
        if beyond:
            raise ValueError(
                f"{kind_of(cls)} cannot give {', '.join(beyond)} to its losses: "
                f"use losses that need only {', '.join(sorted(cls.gives))}"
            )

    def anneal(self, batch: Batch) -> None:
        """Let a student whose precision falls in training know how far that is."""
        tell = getattr(self.student, "anneal", None)
        if tell is not None:
            tell(self.anneals.at(batch.progress))

    def window(self, batch: Batch) -> Window:
        """How a batch's tokens lie for both passes: as one text, unless states are to be reset."""
        return Window(documents_BT=batch.documents_BT) if self.resets else Window()

    @property
    def teacher_needs(self) -> frozenset[str]:
        """What the teacher's pass must hold, with what losses take where a teacher has it."""
        needs, takes = self.objective.teacher_needs, self.objective.teacher_takes
        return needs | (takes & cast(Known, self.teacher).signals) if takes else needs

    @property
    def taught_by_words(self) -> bool:
        """Whether there is a teacher whose words are the student's, so that KL can be taken."""
        other_words = getattr(self.teacher, "words_differ", False)
        return bool(self.objective.teacher_needs) and not other_words

    @property
    def asked(self) -> frozenset[str]:
        """All that a training pass of the teacher must hold; empty where none is made."""
        return self.teacher_needs | self.drives

    def beside(self) -> nn.ModuleDict:
        """What this kind of stage learns beside the student and its losses, by name."""
        return nn.ModuleDict()

    def finish(self) -> None:
        """Leave the student as it goes on from here, after the last step."""

    def introduce(self) -> None:
        """Tell losses that bridge widths how wide both models are; before the optimiser is made.

        What the stage learns of its own joins the objective, whose parameters train and are kept.
        """
        device = next(self.student.parameters()).device
        self.objective.beside.update(self.beside().to(device))
        if self.objective.wants_sizes:
            student, teacher = cast(Known, self.student), cast(Known, self.teacher)
            self.objective.meet(student.outline, teacher.outline)

    def _check_signals(self) -> None:
        for name, loss in self.objective.trace_losses.items():
            if wanted := loss.needs - PLACES:
                mixer = getattr(getattr(self.student, "config", None), "mixer", "?")
                gives = cast(Known, self.student).signals
                _refuse_lacking(name, wanted, gives, whose=f"the student's mixer {mixer!r}")
            if wanted := loss.teacher_needs - PLACES:
                _refuse_lacking(
                    name, wanted, cast(Known, self.teacher).signals, whose="the teacher"
                )

    def heard(self, batch: Batch) -> Trace:
        """The teacher's pass over a batch; an empty Trace where nothing is asked of one."""
        # A stage on text alone pays for no teacher.
        if not self.asked:
            return Trace()
        return self.teacher.trace(batch.tokens_BT, self.asked, window=self.window(batch))

    def compared(self, batch: Batch) -> dict[str, Tensor]:
        """The terms where both models read a batch, each on its own; no teacher runs unasked."""
        teacher, needs = self.heard(batch), self.objective.needs
        student = cast(Tracing, self.student)
        trace = student.trace(batch.tokens_BT, needs, window=self.window(batch))
        return self.terms(trace, teacher, batch)

    def terms(self, student: Trace, teacher: Trace, batch: Batch) -> dict[str, Tensor]:
        """What the objective makes of two passes."""
        found: dict[str, Tensor] = self.objective(student, teacher, batch)
        return found

    def readings(self) -> dict[str, float]:
        """Numbers worth a line in the metrics, of the passes since it was last asked."""
        return {}

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Weighted loss terms by name of what the stage reads; their sum is the loss.

        Unless a stage says otherwise, both models read a batch and are compared.
        """
        self.anneal(batch)
        return self.compared(batch)


def _refuse_lacking(
    loss: str, wanted: frozenset[str], gives: frozenset[str], *, whose: str
) -> None:
    """Raise ValueError where a loss needs signals that a model does not give."""
    if lacking := sorted(wanted - gives):
        raise ValueError(
            f"{loss} needs the signal {', '.join(lacking)}, and {whose} gives "
            f"{', '.join(sorted(gives)) or 'none'}: take another loss"
        )
