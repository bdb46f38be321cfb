"""The weighted sum of losses that a stage trains on, as named terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from asnn_goose.losses.chunked_head import Groups, head_terms
from asnn_goose.losses.kinds import Chunk, PairLoss, TraceLoss, VocabLoss
from asnn_goose.losses.separate import parts_of
from asnn_goose.trace import Batch, Trace, capped


class Term(NamedTuple):
    """One loss of an objective: its name in metrics, its weight, the loss itself."""

    name: str
    weight: float
    loss: TraceLoss | VocabLoss | PairLoss


@runtime_checkable
class SeveralTeachers(Protocol):
    """A teacher's Trace that can tell its teachers apart."""

    def each(self, tokens: slice) -> tuple[Tensor, ...]:
        """Log-probabilities (n,V) of every teacher for the given tokens."""


class Objective(nn.Module):
    """Named, weighted terms; their plain sum is what is minimised.

    `needs` is what the student's pass must keep and `teacher_needs` the teacher's (empty where
    no loss looks at it). `chunk` is the number of tokens whose logits exist at one time.

    The terms over the vocabulary share one gradient. `apart` keeps it apart, for those who look at
    the gradients or weigh them anew: True for every term, or groups of names, the terms in none of
    them being one more group. Then differentiate group by group, with retain_graph. What that
    costs is said in `head_terms`; values and the gradient of the plain sum are the same.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        chunk: int = 256,
        apart: bool | Sequence[Sequence[str]] = False,
    ) -> None:
        super().__init__()
        names = [term.name for term in terms]
        if not terms or len(set(names)) != len(names):
            raise ValueError(f"losses {names}: give at least one, each under a name of its own")
        if chunk < 1:
            raise ValueError(f"chunk = {chunk}: must be at least 1 token")
        self.chunk = chunk
        self.weights = {term.name: float(term.weight) for term in terms}
        self.losses = nn.ModuleDict({term.name: term.loss for term in terms})
        # What a stage learns of its own: it trains, and is kept, with what losses learn.
        self.beside = nn.ModuleDict()
        self.groups = _groups(apart, names=names, vocab=list(self._vocab_losses))

    @property
    def needs(self) -> frozenset[str]:
        """What the student's Trace must hold."""
        vocab = frozenset({"vocab"}) if self._vocab_losses or self.pair_losses else frozenset()
        return vocab.union(*(loss.needs for loss in self.trace_losses.values()))

    @property
    def teacher_needs(self) -> frozenset[str]:
        """What the teacher's Trace must hold."""
        looks = any(loss.uses_teacher for loss in self._vocab_losses.values())
        vocab = frozenset({"vocab"}) if looks else frozenset()
        return vocab.union(*(loss.teacher_needs for loss in self.trace_losses.values()))

    @property
    def teacher_takes(self) -> frozenset[str]:
        """Signals that the teacher's Trace is to hold where the teacher has them."""
        return frozenset().union(*(loss.teacher_takes for loss in self.trace_losses.values()))

    @property
    def wants_sizes(self) -> bool:
        """Whether a loss must `meet` both models."""
        return any(loss.wants_sizes for loss in self.trace_losses.values())

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Let losses know the sizes of both models, from Traces of no tokens.

        They may make parameters from them, so this comes before the optimiser is made.
        """
        for loss in self.trace_losses.values():
            loss.meet(student, teacher)

    @property
    def words_compared(self) -> tuple[str, ...]:
        """Losses that compare a teacher's words with the student's one by one."""
        looks = {**self.trace_losses, **self._vocab_losses}
        return tuple(
            name
            for name, loss in looks.items()
            if not loss.across_vocabularies and getattr(loss, "uses_teacher", True)
        )

    @property
    def wants_head(self) -> bool:
        """Whether a loss has a head of its own, which `adopt` must start."""
        return any(loss.has_own_head for loss in self._vocab_losses.values())

    def adopt(self, head_VD: Tensor) -> None:
        """Start the heads that losses have of their own from the student's.

        They are parameters, so this comes before the optimiser is made.
        """
        for loss in self._vocab_losses.values():
            if loss.has_own_head:
                loss.adopt(head_VD)

    def check_top(self, temperatures: Collection[float], *, teacher: str) -> None:
        """Raise ValueError where the most likely words of a cached teacher do not suffice."""
        for name, loss in self.trace_losses.items():
            if "vocab" in loss.teacher_needs:
                raise ValueError(
                    f"{name} asks for the head of the teacher {teacher!r}, which its cache does "
                    "not keep: leave the cache out"
                )
        for name, over in self._vocab_losses.items():
            wanted = over.top_temperatures() if over.uses_teacher else frozenset()
            if wanted is None:
                raise ValueError(
                    f"{name} asks for more of the teacher {teacher!r} than its most likely words "
                    "at fixed temperatures, which is all that its cache keeps: leave the cache out"
                )
            if beyond := sorted(wanted - set(temperatures)):
                raise ValueError(
                    f"{name} has a temperature of {beyond[0]:g}, and the cache of the teacher "
                    f"{teacher!r} keeps {', '.join(f'{tau:g}' for tau in sorted(temperatures))}: "
                    "add it to the cache's temperatures"
                )

    def readings(self) -> dict[str, float]:
        """Numbers of the losses that are worth a line in the metrics, as `<term>.<name>`."""
        found = ((name, loss.readings()) for name, loss in self._vocab_losses.items())
        return {f"{name}.{key}": value for name, all_ in found for key, value in all_.items()}

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> dict[str, Tensor]:
        """Every term, already weighted: differentiate their plain sum.

        Losses over pairs are not among them: they take two answers, which a stage must give.
        """
        terms = {
            name: self.weights[name] * loss(student, teacher, batch)
            for name, loss in self.trace_losses.items()
        }
        vocab = self._vocab_losses
        if vocab:
            terms.update(self._vocab_terms(vocab, student, teacher, batch))
        return terms

    @property
    def trace_losses(self) -> dict[str, TraceLoss]:
        """The losses that compare Traces, by name."""
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, TraceLoss)}

    @property
    def pair_losses(self) -> dict[str, PairLoss]:
        """The losses that compare two answers, by name."""
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, PairLoss)}

    @property
    def _vocab_losses(self) -> dict[str, VocabLoss]:
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, VocabLoss)}

    def _vocab_terms(
        self, losses: dict[str, VocabLoss], student: Trace, teacher: Trace, batch: Batch
    ) -> dict[str, Tensor]:
        if student.final_BTD is None or student.head_VD is None:
            raise ValueError("the student's Trace has no logits: capture 'vocab'")
        heads, place = _heads(losses, student.head_VD)
        # A loss's own head is among its parameters too; counted twice, its gradient would be.
        owned = {id(head_VD) for head_VD in heads}
        parameters = [p for loss in losses.values() for p in loss.parameters()]
        terms_k = head_terms(
            partial(self._chunk_terms, losses, place, student.logit_cap, teacher, batch),
            student.final_BTD.flatten(0, 1),
            heads,
            [p for p in parameters if id(p) not in owned],
            chunk=self.chunk,
            groups=self.groups,
        )
        terms = dict(zip(losses, terms_k.unbind(), strict=True))
        # Only what training saw may move temperatures and shares; validation looks and leaves no
        # trace.
        if self.training:
            for name, loss in losses.items():
                # A weight of 0 leaves nothing of the mean to be divided by it.
                if self.weights[name]:
                    mean = terms[name].detach() / self.weights[name]
                    loss.finish(mean, progress=batch.progress)
        return terms

    def _chunk_terms(
        self,
        losses: dict[str, VocabLoss],
        place: Mapping[str, int],
        cap: float,
        teacher: Trace,
        batch: Batch,
        tokens: slice,
        logits: tuple[Tensor, ...],
    ) -> list[Tensor]:
        """The chunk's share of every term."""
        # Widened once for all losses. In bf16 a softmax over 49 152 words has lost its small ones.
        students_nV = [capped(z_nV.float(), cap) for z_nV in logits]
        totals = [torch.zeros(()) for _ in losses]
        for weight, one in parts_of(teacher):
            z_teacher_nV, each_nV = _teacher_side(losses, one, tokens)
            chunk = Chunk(
                top=None if one.top is None else one.top[tokens],
                labels_n=batch.labels_BT.flatten()[tokens],
                mask_n=batch.mask_BT.flatten()[tokens],
                progress=batch.progress,
                teachers_nV=each_nV,
            )
            for number, (name, loss) in enumerate(losses.items()):
                # Counted over the batch, not the chunk: chunks add up to the mean over tokens,
                # whatever their size.
                counts_n = _counts(loss, one, batch)
                value_n = loss(students_nV[place[name]], z_teacher_nV, chunk)
                part = (value_n * counts_n[tokens]).sum() / counts_n.sum().clamp_min(1)
                totals[number] = totals[number] + weight * self.weights[name] * part
        return totals


def _heads(losses: Mapping[str, VocabLoss], head_VD: Tensor) -> tuple[list[Tensor], dict[str, int]]:
    """The heads to multiply, and which of them every loss looks at.

    The student's own is the first, and left out where no loss looks at it.
    """
    shared = any(not loss.has_own_head for loss in losses.values())
    heads, place = ([head_VD] if shared else []), {}
    for name, loss in losses.items():
        place[name] = len(heads) if loss.has_own_head else 0
        if loss.has_own_head:
            heads.append(loss.own_head)
    return heads, place


def _counts(loss: VocabLoss, teacher: Trace, batch: Batch) -> Tensor:
    """Tokens (B*T,) that count: where the teacher reads others, those it can be asked about."""
    counts_n = batch.mask_BT.flatten()
    if teacher.reading is None or not loss.uses_teacher:
        return counts_n
    return counts_n & (teacher.reading.places_n >= 0)


@torch.no_grad()
def _teacher_side(
    losses: Mapping[str, VocabLoss], teacher: Trace, tokens: slice
) -> tuple[Tensor | None, tuple[Tensor, ...]]:
    """The teacher's logits and each teacher's log-probabilities, as far as a loss looks."""
    looking = [loss for loss in losses.values() if loss.uses_teacher]
    shared = teacher.top is None and any(not loss.each_teacher for loss in looking)
    z_teacher_nV = teacher.vocab(tokens) if shared else None
    if not any(loss.each_teacher for loss in looking):
        return z_teacher_nV, ()
    if not isinstance(teacher, SeveralTeachers):
        raise ValueError("multi_teacher learns weights of several teachers: this pass has one")
    return z_teacher_nV, teacher.each(tokens)


def _groups(
    apart: bool | Sequence[Sequence[str]], *, names: Sequence[str], vocab: Sequence[str]
) -> Groups:
    """Numbers of the terms over the vocabulary that share a gradient; none where all do."""
    if apart is False or len(vocab) < 2:
        return ()
    if apart is True:
        return tuple((number,) for number in range(len(vocab)))
    named = [name for group in apart for name in group]
    if len(set(named)) != len(named) or not set(named) <= set(names):
        raise ValueError(f"apart = {apart}: name every loss at most once, of {', '.join(names)}")
    rest = [name for name in vocab if name not in named]
    numbers = ([vocab.index(n) for n in group if n in vocab] for group in [*apart, rest])
    return tuple(tuple(group) for group in numbers if group)
