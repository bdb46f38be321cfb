"""Several teachers of one tokenizer as one (after Zuchniak 2023, arXiv 2302.07215)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from asnn_goose.model.teacher import TeacherError
from asnn_goose.names import hint
from asnn_goose.trace import Trace, Window

WEIGHTS = ("uniform", "per_token", "selected")
ROWS = 256
"""Tokens whose logits exist at one time while a teacher is selected."""


class MixedTeacher(Protocol):
    """What a mixture asks of each of its teachers."""

    name: str
    tokenizer: PreTrainedTokenizerBase | None

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureTrace(Trace):
    """One pass of several teachers, seen as one.

    passes     the teachers' own Traces
    log_w_nK   log-weights of every token, or None where they follow from next_n
    next_n     the next token in the window, -1 for the last position
    tau_w      temperature of the weights that follow from next_n
    """

    passes: tuple[Trace, ...]
    log_w_nK: Tensor | None
    next_n: Tensor
    tau_w: float

    def vocab(self, tokens: slice) -> Tensor:
        """Log-probabilities log sum_k w_k p_k (n,V) in fp32, which serve as logits."""
        log_p = self.each(tokens)
        if self.log_w_nK is not None:
            log_w_nK = self.log_w_nK[tokens]
        else:
            log_w_nK = (_log_p_next(log_p, self.next_n[tokens]) / self.tau_w).log_softmax(-1)
        parts = zip(log_w_nK.unbind(-1), log_p, strict=True)
        # In logarithms: w p of an unlikely word may lie below the smallest fp32 number, and its
        # logarithm is what the student is asked for.
        return torch.logsumexp(torch.stack([w_n[:, None] + p_nV for w_n, p_nV in parts]), dim=0)

    def each(self, tokens: slice) -> tuple[Tensor, ...]:
        """Log-probabilities (n,V) in fp32 of every teacher."""
        return tuple(torch.log_softmax(one.vocab(tokens), dim=-1) for one in self.passes)


class TeacherMixture:
    """p_T = sum_k w_k p_k over several teachers, at the price of all their passes and heads.

    weights      "uniform", a list of one weight per teacher (made to sum to 1), or
                 "per_token": w_k = softmax(-CE_k / temperature) with the cross-entropy of teacher k
                 at the next token of the window; uniform at its last position, or
                 "selected": every sequence follows the teacher with the lowest mean cross-entropy
                 on it, which multiplies the heads twice
    temperature  of the weights "per_token"; towards 0 the best teacher alone speaks

    Learned weights are the loss "multi_teacher", which trains them in the objective. A mixture has
    logits only: other needs are refused by name.

    Raises TeacherError where tokenizers differ, ValueError for wrong settings.
    """

    def __init__(
        self,
        teachers: Sequence[MixedTeacher],
        *,
        weights: str | Sequence[float] = "uniform",
        temperature: float = 1.0,
    ) -> None:
        if len(teachers) < 2:
            raise ValueError(f"teachers = {len(teachers)}: a mixture needs at least 2")
        if not temperature > 0:
            raise ValueError(f"temperature = {temperature}: must be above 0")
        for one, other in pairwise(teachers):
            _check_tokenizers(one, other)
        self.teachers = tuple(teachers)
        self.weights = weights
        self.temperature = float(temperature)
        self.name = " + ".join(teacher.name for teacher in teachers)
        self.tokenizer = teachers[0].tokenizer
        self._log_w_K = _log_weights(weights, len(teachers))

    @torch.no_grad()
    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run every teacher on tokens (B,T), anew in each document that the window has.

        Raises ValueError where more than 'vocab' is needed, TeacherError where heads differ.
        """
        if beyond := sorted(needs - {"vocab"}):
            raise ValueError(
                f"needs {', '.join(beyond)}: several teachers give only 'vocab', for their insides "
                "cannot be mixed"
            )
        passes = tuple(teacher.trace(tokens_BT, needs, window=window) for teacher in self.teachers)
        if not needs:
            return Trace()
        self._check_heads(passes)
        # The last position has no next token in the window, whoever may know it.
        next_BT = torch.full_like(tokens_BT, -1)
        # Weights come from the window's own tokens, not from labels: a label may be masked although
        # the word is known.
        next_BT[:, :-1] = tokens_BT[:, 1:]
        return MixtureTrace(
            passes=passes,
            log_w_nK=self._token_weights(passes, next_BT),
            next_n=next_BT.flatten(),
            tau_w=self.temperature,
        )

    def _token_weights(self, passes: tuple[Trace, ...], next_BT: Tensor) -> Tensor | None:
        if self.weights == "per_token":
            return None
        if self.weights == "selected":
            return _selection(passes, next_BT)
        return self._log_w_K.to(next_BT.device).expand(next_BT.numel(), -1)

    def _check_heads(self, passes: tuple[Trace, ...]) -> None:
        sizes = {
            teacher.name: one.head_VD.shape[0]
            for teacher, one in zip(self.teachers, passes, strict=True)
            if one.head_VD is not None
        }
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name!r} has {size} words" for name, size in sizes.items())
            raise TeacherError(f"teachers of one mixture must have heads of one size: {told}")


def _check_tokenizers(one: MixedTeacher, other: MixedTeacher) -> None:
    if one.tokenizer is None or other.tokenizer is None:
        return
    left, right = one.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    differ = {word for word, _ in left.items() ^ right.items()}
    if differ:
        raise TeacherError(
            f"teachers {one.name!r} and {other.name!r} have different tokenizers ({len(left)} and "
            f"{len(right)} words, {len(differ)} of them differ, such as {min(differ)!r}): a "
            "mixture needs teachers of one tokenizer"
        )


def _log_weights(weights: str | Sequence[float], teachers: int) -> Tensor:
    if isinstance(weights, str):
        if weights not in WEIGHTS:
            raise ValueError(f"weights = {weights!r}: {hint(weights, WEIGHTS)}, or give a list")
        return torch.full((teachers,), -math.log(teachers))
    if len(weights) != teachers:
        raise ValueError(f"weights = {list(weights)}: give one for each of {teachers} teachers")
    if not (all(w >= 0 for w in weights) and 0 < sum(weights) < math.inf):
        raise ValueError(f"weights = {list(weights)}: must be at least 0, and one above 0")
    weights_K = torch.tensor(weights, dtype=torch.float32)
    return torch.log(weights_K / weights_K.sum())


def _log_p_next(log_p: Sequence[Tensor], next_n: Tensor) -> Tensor:
    """What every teacher gives the next token: log p_k (n,K); 0 where there is none."""
    index_n1 = next_n.clamp_min(0)[:, None]
    log_p_nK = torch.cat([p_nV.gather(-1, index_n1) for p_nV in log_p], dim=-1)
    return log_p_nK * (next_n >= 0)[:, None]


def _selection(passes: tuple[Trace, ...], next_BT: Tensor) -> Tensor:
    """Log-weights (n,K): 0 for the teacher that reads the sequence best, -inf for the others."""
    next_n = next_BT.flatten()
    found = []
    # In slices, because logits of a whole window from every teacher at once would not fit beside
    # the models.
    for start in range(0, len(next_n), ROWS):
        rows = slice(start, start + ROWS)
        log_p = [torch.log_softmax(one.vocab(rows), dim=-1) for one in passes]
        found.append(_log_p_next(log_p, next_n[rows]))
    log_p_BTK = torch.cat(found).unflatten(0, next_BT.shape)
    best_B = log_p_BTK.sum(1).argmax(-1)
    log_w_BK = torch.full_like(log_p_BTK[:, 0], -math.inf).scatter_(-1, best_B[:, None], 0.0)
    return log_w_BK[:, None].expand_as(log_p_BTK).flatten(0, 1)
