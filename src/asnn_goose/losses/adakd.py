"""Token-adaptive distillation: AdaKD (Xie et al. 2025, arXiv 2510.11615)."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from asnn_goose.losses.divergence import hellinger_distance
from asnn_goose.losses.kinds import (
    Chunk,
    VocabLoss,
    check_share,
    check_temperature,
    teacher_logits,
)
from asnn_goose.losses.tempered import tempered_kl, tempered_reverse_kl
from asnn_goose.names import check_name

BASES = MappingProxyType({"kl": tempered_kl, "reverse_kl": tempered_reverse_kl})
TINY = 1e-8
"""Keeps the ratio of two distances finite where student and teacher agree."""


class AdaKD(VocabLoss):
    """tau_t^2 D(p_teacher^tau_t, p_student^tau_t) over the hardest share r of the tokens.

    The difficulty s_t of a token is the Hellinger distance of both sides at tau = 1. It is
    detached: the authors' code lets gradients leak through tau_t.

    Temperature (IDTS): tau_t = temperature exp(-c tanh(ln(s_t / median s))), the median over the
    tokens that are kept. Focus (LATF): after the warm-up, when the running mean of the loss has
    fallen by more than a share epsilon since its last mark, r shrinks by a share delta, down to
    floor; when it has risen by as much, r grows by as much, up to 1; then the mark is set anew.

    Logits exist for one chunk of tokens at a time, so the median and the hardest share are those
    of a chunk (objective's `chunk`), and every chunk counts by its number of tokens.

    base         D: "reverse_kl" (the authors') or "kl"
    temperature  tau of the median token
    c            strength of the adaptive temperature; 0 turns it off
    focus        False keeps every token
    epsilon, delta, floor, decay, warmup   as above; decay is that of the running mean over
                 micro-batches, which moves with every step, warmup a share of the stage
    """

    kept: Tensor
    average: Tensor
    mark: Tensor
    met: Tensor

    def __init__(
        self,
        *,
        base: str = "reverse_kl",
        temperature: float = 1.0,
        c: float = 0.5,
        focus: bool = True,
        epsilon: float = 0.05,
        delta: float = 0.05,
        floor: float = 0.1,
        decay: float = 0.99,
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        check_name(BASES, base, setting="base")
        if not c >= 0:
            raise ValueError(f"c = {c}: must be at least 0")
        shares = {"delta": delta, "floor": floor, "decay": decay, "warmup": warmup}
        for name, share in {"epsilon": epsilon, **shares}.items():
            check_share(name, share)
        self.divergence = BASES[base]
        self.temperature = check_temperature(temperature)
        self.c, self.focus, self.epsilon, self.delta = c, focus, epsilon, delta
        self.floor, self.decay, self.warmup = floor, decay, warmup
        self.register_buffer("kept", torch.tensor(1.0))
        # 0 where there is none yet: the mean of a distance is not 0 but for a perfect copy.
        self.register_buffer("average", torch.tensor(0.0))
        self.register_buffer("mark", torch.tensor(0.0))
        self.register_buffer("met", torch.zeros(2), persistent=False)  # a mean, and how many
        self._progress = 0.0

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats; tokens left out give 0, the others weigh more for it."""
        z_teacher_nV = teacher_logits(z_teacher_nV, "AdaKD")
        # The chunk keeps these: other losses of the stage ask for the same log-probabilities.
        log_q_nV = chunk.log_probs(z_student_nV).detach()
        s_n = hellinger_distance(log_q_nV, chunk.log_probs(z_teacher_nV))
        hardest_n = self._hardest(s_n, chunk.mask_n)
        tau_n = self._temperatures(s_n, hardest_n)
        value_n = self.divergence(z_student_nV.float(), z_teacher_nV.float(), tau_n)
        # The objective divides by all tokens that count; this makes it a mean over those that were
        # kept.
        share = chunk.mask_n.sum() / hardest_n.sum().clamp_min(1)
        return tau_n**2 * value_n * hardest_n * share

    @torch.no_grad()
    def finish(self, mean: Tensor, *, progress: float) -> None:
        """Count a micro-batch's mean."""
        self.met.copy_(torch.stack([mean.to(self.met), torch.ones_like(self.met[0])]))
        self._progress = progress

    @torch.no_grad()
    def take_counts(self) -> Tensor:
        """The mean of the micro-batch before, and 1 (2,)."""
        counts_n = self.met.clone()
        self.met.zero_()
        return counts_n

    @torch.no_grad()
    def go_on(self, counts_n: Tensor) -> None:
        """Move the running mean, and r where the mean has gone far from its mark."""
        if not (batches := float(counts_n[1])):
            return
        mean = counts_n[0] / batches
        # Not mixed with the 0 that stood there, or the mean would need a hundred batches to come
        # up.
        kept = self.decay**batches if float(self.average) else 0.0
        self.average.copy_(kept * self.average + (1 - kept) * mean)
        if not self.focus or self._progress < self.warmup:
            return
        # The first mark is set after the warm-up: while the rate rises, losses fall whatever is
        # hard.
        if float(self.mark) == 0:
            self.mark.copy_(self.average)
        change = float(self.average / self.mark) - 1 if float(self.mark) else 0.0
        if abs(change) > self.epsilon:
            factor = 1 + self.delta if change > 0 else 1 - self.delta
            self.kept.mul_(factor).clamp_(self.floor, 1.0)
            self.mark.copy_(self.average)

    def readings(self) -> dict[str, float]:
        """kept: the share r of the tokens."""
        return {"kept": float(self.kept)}

    def _hardest(self, s_n: Tensor, mask_n: Tensor) -> Tensor:
        """True for the hardest share r of the tokens that count (n,), for one at least."""
        counted = int(mask_n.sum())
        if counted == 0:
            return mask_n
        hardest_n = torch.zeros_like(mask_n)
        # Stable, so that ties, as among tokens of padding, fall alike on every machine.
        order_n = s_n.masked_fill(~mask_n, -1.0).argsort(descending=True, stable=True)
        hardest_n[order_n[: max(1, int(counted * float(self.kept)))]] = True
        return hardest_n

    def _temperatures(self, s_n: Tensor, hardest_n: Tensor) -> Tensor:
        """Temperature of every token (n,)."""
        s_n = s_n.clamp_min(TINY)
        median = s_n[hardest_n].median() if bool(hardest_n.any()) else s_n.new_ones(())
        # Bounded by tanh: a token that is a thousand times as hard still gets a temperature of the
        # same order.
        return self.temperature * torch.exp(-self.c * torch.tanh(torch.log(s_n / median)))
