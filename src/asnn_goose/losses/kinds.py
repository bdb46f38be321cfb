"""The kinds of objective, and the chunk of tokens that the second kind sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from asnn_goose.trace import Batch, TopWords, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A few tokens of a batch, flattened.

    labels_n next tokens (IGNORED_LABEL where none), mask_n True where a token counts,
    progress share of the stage that is done, teachers_nV log-probabilities of every teacher where
    there are several and a loss asks for each, top the words of a teacher that was cached.
    """

    labels_n: Tensor
    mask_n: Tensor
    progress: float
    teachers_nV: tuple[Tensor, ...] = ()
    top: TopWords | None = None
    _known: dict[tuple[int, float, bool], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def log_probs(self, z_nV: Tensor, temperature: float = 1.0) -> Tensor:
        """log_softmax(z / temperature) (n,V) in fp32, computed once for all losses of the chunk."""
        # A result without a graph must not be given to a loss that trains through it.
        key = (id(z_nV), temperature, torch.is_grad_enabled())
        if key not in self._known:
            scaled_nV = z_nV.float() if temperature == 1 else z_nV.float() / temperature
            # The logits are kept beside, so that no other tensor can take over their id.
            self._known[key] = (z_nV, torch.log_softmax(scaled_nV, dim=-1))
        return self._known[key][1]


class TraceLoss(nn.Module, ABC):
    """An objective over two Traces; `needs` names what both passes must keep.

    needs          of trace.PLACES, and signals by name
    student_only   signals among them that no teacher is asked for
    teacher_takes  signals that it takes of a teacher that has them
    wants_sizes    True where `meet` must be called before the optimiser is made
    across_vocabularies  True where the teacher may have another tokenizer
    """

    needs: ClassVar[frozenset[str]]
    student_only: ClassVar[frozenset[str]] = frozenset()
    teacher_takes: ClassVar[frozenset[str]] = frozenset()
    wants_sizes: ClassVar[bool] = False
    across_vocabularies: ClassVar[bool] = False

    @property
    def teacher_needs(self) -> frozenset[str]:
        """What the teacher's pass must keep."""
        return self.needs - self.student_only

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Hear of the sizes of both models, from Traces of no tokens; called once."""
        return

    @abstractmethod
    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar in fp32: mean over the tokens that count."""


class VocabLoss(nn.Module, ABC):
    """An objective over logits.

    uses_teacher   False where only labels matter
    each_teacher   True where it reads chunk.teachers_nV, and no z_teacher_nV is made for it
    has_own_head   True where z_student_nV must come from a head of its own (own_head)
    across_vocabularies  True where the teacher may have other words than the student
    """

    uses_teacher: ClassVar[bool] = True
    each_teacher: ClassVar[bool] = False
    has_own_head: ClassVar[bool] = False
    across_vocabularies: ClassVar[bool] = False

    @abstractmethod
    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """One value per token (n,), in fp32; masking and averaging are the caller's."""

    def top_temperatures(self) -> frozenset[float] | None:
        """Temperatures at which chunk.top is all it asks of a teacher; None where it asks more."""
        return None

    @property
    def own_head(self) -> Tensor:
        """Weight (V,D) of the loss's own head."""
        raise NotImplementedError(f"{type(self).__name__} has no head of its own")

    def adopt(self, head_VD: Tensor) -> None:
        """Start the own head from the student's; called before the optimiser is made."""
        raise NotImplementedError(f"{type(self).__name__} has no head of its own")

    def finish(self, mean: Tensor, *, progress: float) -> None:
        """Told once per training pass: this loss's unweighted mean over the batch, detached."""
        return

    def readings(self) -> dict[str, float]:
        """Numbers worth a line in the metrics, such as a learned temperature."""
        return {}


class Divergence(VocabLoss, ABC):
    """tau^power D(p_teacher^tau, p_student^tau) of log-probabilities.

    temperature  tau > 0
    """

    power: ClassVar[int] = 2

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        z_teacher_nV = teacher_logits(z_teacher_nV, type(self).__name__)
        tau = self.temperature
        log_p, log_q = chunk.log_probs(z_teacher_nV, tau), chunk.log_probs(z_student_nV, tau)
        return tau**self.power * self.between(log_p, log_q)

    @abstractmethod
    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        """D (n,) of the teacher's log-probabilities and the student's."""


class PairLoss(nn.Module, ABC):
    """An objective over two answers to one prompt, of which the first is the better one.

    beta               from log-probabilities to rewards
    length_normalised  log-probabilities are means over an answer's tokens, not sums

    Raises ValueError for a beta that is not above 0.
    """

    def __init__(self, *, beta: float = 0.1, length_normalised: bool = False) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta = {beta}: must be above 0")
        self.beta, self.length_normalised = float(beta), length_normalised

    @abstractmethod
    def forward(self, lead_B: Tensor) -> Tensor:
        """One value per pair (B,), of what the chosen answer gained over the rejected one.

        lead_B  log p(chosen) - log p_ref(chosen) - log p(rejected) + log p_ref(rejected)
        """


def teacher_logits(z_teacher_nV: Tensor | None, name: str) -> Tensor:
    """The teacher's logits; ValueError where the pass had no teacher."""
    if z_teacher_nV is None:
        raise ValueError(f"the {name} loss needs teacher logits")
    return z_teacher_nV


def check_share(setting: str, share: float) -> float:
    """The value; ValueError unless it is a share, 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"{setting} = {share}: must be a share, 0 to 1")
    return float(share)


LEAST_TEMPERATURE = 1e-6
"""Divided by less, logits leave fp32; at this the likeliest word has all probability long since."""


def check_temperature(temperature: float) -> float:
    """The temperature; ValueError unless logits can be divided by it."""
    if not LEAST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(
            f"temperature = {temperature}: must be above 0, at least {LEAST_TEMPERATURE:g}"
        )
    return float(temperature)
