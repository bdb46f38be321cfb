"""Preferences: of two answers to a prompt the better one is to become the likelier one.

Rafailov et al. 2023, Direct Preference Optimization, arXiv 2305.18290. The reference is the student
as it was when the stage began; what it gave to every answer was written down then, so no second
model is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.losses import PairLoss
from asnn_goose.losses.answers import answer_lengths, answer_log_probs, answer_term
from asnn_goose.trace import Trace
from asnn_goose.train.stages.stage import Stage, Tracing

_VOCAB = frozenset({"vocab"})


class Dpo(Stage):
    """Both answers go through the student at one go; losses over logits see the chosen ones."""

    gives: ClassVar = frozenset({"vocab"})
    gives_signals: ClassVar = False
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})
    reads: ClassVar = "pairs"

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._seen: list[Mapping[str, Tensor]] = []

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """Weighted loss terms by name. Raises ValueError where the reference is not known."""
        both = batch.both
        self.anneal(both)
        trace, terms = self._trace(batch), dict[str, Tensor]()
        for name, loss in self.objective.pair_losses.items():
            gains = _Gains(batch, loss)
            term, known_2B = answer_term(trace, both, gains.loss, chunk=self.objective.chunk)
            terms[name] = self.objective.weights[name] * term
            if self.training:
                self._seen.append(gains.readings(known_2B))
        return terms | self._of_chosen(trace, batch)

    def log_probs(self, batch: PairBatch) -> Tensor:
        """Log p of both answers of every pair (B,2), without a gradient."""
        with torch.no_grad():
            known_2B = answer_log_probs(self._trace(batch), batch.both, chunk=self.objective.chunk)
        return known_2B.view(2, -1).T

    def measured(self, batch: PairBatch) -> dict[str, Tensor]:
        """Means over pairs: the first of its losses as "preference", and what `readings` gives."""
        loss = next(iter(self.objective.pair_losses.values()))
        gains, known_2B = _Gains(batch, loss), self.log_probs(batch).T.flatten()
        return {"preference": gains.loss(known_2B)} | gains.readings(known_2B)

    def readings(self) -> dict[str, float]:
        """Of this process: share of pairs whose chosen answer gained more, rewards, margin."""
        seen, self._seen = self._seen, []
        names = seen[0] if seen else ()
        return {f"pairs.{n}": float(torch.stack([one[n] for one in seen]).mean()) for n in names}

    def _trace(self, batch: PairBatch) -> Trace:
        both = batch.both
        student = cast(Tracing, self.student)
        return student.trace(both.tokens_BT, _VOCAB, window=self.window(both))

    def _of_chosen(self, trace: Trace, batch: PairBatch) -> dict[str, Tensor]:
        """Terms over logits, such as ce, on the chosen answers alone."""
        if len(self.objective.pair_losses) == len(self.objective.losses):
            return {}
        chosen = batch.chosen
        final_BTD = cast(Tensor, trace.final_BTD)[: chosen.tokens_BT.shape[0]]
        student = replace(trace, final_BTD=final_BTD, window=self.window(chosen))
        return self.terms(student, self.heard(chosen), chosen)


class _Gains:
    """What answers have gained over the reference, as one loss takes it."""

    def __init__(self, batch: PairBatch, loss: PairLoss) -> None:
        if batch.reference_B2 is None:
            raise ValueError("the reference's log-probabilities are not known: score the pairs")
        self._reference_2B = batch.reference_B2.T.flatten()
        self._loss = loss
        self._lengths_2B = answer_lengths(batch.both) if loss.length_normalised else 1

    def of(self, known_2B: Tensor) -> tuple[Tensor, Tensor]:
        """Log p - log p_ref of the chosen and of the rejected answers (B,)."""
        chosen_B, rejected_B = ((known_2B - self._reference_2B) / self._lengths_2B).chunk(2)
        return chosen_B, rejected_B

    def loss(self, known_2B: Tensor) -> Tensor:
        """Mean over the pairs."""
        chosen_B, rejected_B = self.of(known_2B)
        value_B: Tensor = self._loss(chosen_B - rejected_B)
        return value_B.mean()

    def readings(self, known_2B: Tensor) -> dict[str, Tensor]:
        """Means over the pairs; a reward is beta times a gain, and a draw is half right."""
        chosen_B, rejected_B = (self._loss.beta * gain_B for gain_B in self.of(known_2B))
        margin_B = chosen_B - rejected_B
        return {
            "accuracy": ((margin_B.sign() + 1) / 2).mean(),
            "margin": margin_B.mean(),
            "chosen": chosen_B.mean(),
            "rejected": rejected_B.mean(),
        }
