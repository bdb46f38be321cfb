"""Curriculum temperature: CTKD (Li et al. 2023, arXiv 2211.16231)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from asnn_goose.losses.divergence import ROWS
from asnn_goose.losses.kinds import Chunk, VocabLoss, check_share, teacher_logits
from asnn_goose.losses.tempered import tempered_kl
from asnn_goose.names import lookup
from asnn_goose.ops.gradient_reversal import reverse_gradient


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Bounds of the temperature, its start, and shares of the stage: lambda held at 0, rising."""

    range: tuple[float, float]
    start: float
    warmup: float
    hold: float = 0.0


PRESETS: MappingProxyType[str, Preset] = MappingProxyType(
    {
        # tau = 1 + 20 sigmoid(1); lambda rises over 10 of 240 epochs
        "published": Preset(
            range=(1.0, 21.0), start=1 + 20 / (1 + math.exp(-1.0)), warmup=10 / 240
        ),
        # v12.1 of the public ASNN-Goose repository: 20 % without reversal, then up to the end
        "reference": Preset(range=(1.0, 5.0), start=2.0, warmup=0.8, hold=0.2),
    }
)
FEATURES = 6
HIDDEN = 32


class CTKD(VocabLoss):
    """tau^2 KL(p_teacher^tau || p_student^tau) with a learned tau that makes the task harder.

    tau = low + (high - low) sigmoid(theta); the gradient of theta is multiplied by -lambda, which
    rises from 0 to lambda_max along a cosine and then stays, so that theta ascends the loss that
    the student descends. tau^2 is part of the loss that theta sees. While lambda is 0, tau is
    frozen. The paper trains theta by SGD; Adam's step hides the size of lambda, not its sign.

    preset         "published" or "reference": values of the next four where they are not given
    range          bounds of tau
    start          first tau, inside the bounds
    hold           share of the stage in which lambda is 0
    warmup         share of the stage over which lambda then rises
    lambda_max     lambda after the warm-up
    reversal       False: theta descends the loss like any parameter, with the same lambda
    anchor         a temperature towards which anchor_weight (tau - anchor)^2 pulls, without lambda
    anchor_weight  weight of that pull; our addition
    gain           what trains is theta / gain: an adaptive optimiser's steps have the size of the
                   rate, and at a student's rate theta itself would hardly move in a stage
    instance       a temperature for each token, from a small network that reads the spread, the
                   entropy and the peak of both sides (not differentiated). The paper's reads both
                   predictions whole, of 100 classes
    """

    mean_temperature: Tensor

    def __init__(
        self,
        *,
        preset: str = "published",
        range: Sequence[float] | None = None,
        start: float | None = None,
        hold: float | None = None,
        warmup: float | None = None,
        lambda_max: float = 1.0,
        reversal: bool = True,
        anchor: float | None = None,
        anchor_weight: float = 0.0,
        gain: float = 200.0,
        instance: bool = False,
    ) -> None:
        super().__init__()
        base = lookup(PRESETS, preset, setting="preset")
        self.low, self.high = _checked_range(base.range if range is None else range)
        self.hold = check_share("hold", base.hold if hold is None else hold)
        self.warmup = check_share("warmup", base.warmup if warmup is None else warmup)
        if self.hold + self.warmup > 1 + 1e-9:
            raise ValueError(
                f"hold = {self.hold} and warmup = {self.warmup}: lambda would not have risen by "
                "the end of the stage; give at most 1 together"
            )
        theta = self._theta_of(base.start if start is None else start)
        if not lambda_max >= 0:
            raise ValueError(f"lambda_max = {lambda_max}: must be at least 0")
        self.lambda_max = float(lambda_max)
        self.sign = 1.0 if reversal else -1.0
        self.anchor, self.anchor_weight = _checked_anchor(anchor, anchor_weight)
        if not (gain > 0 and math.isfinite(gain)):
            raise ValueError(f"gain = {gain}: must be above 0")
        self.gain = float(gain)
        self.theta = None if instance else nn.Parameter(torch.tensor(theta / self.gain))
        self.network = _network(theta) if instance else None
        self.register_buffer("mean_temperature", self._bounded(torch.tensor(theta)))

    def strength(self, progress: float) -> float:
        """The size of lambda after a share of the stage."""
        risen = progress - self.hold
        if risen < 0:
            return 0.0
        done = min(1.0, risen / self.warmup) if self.warmup else 1.0
        return self.lambda_max * (1 - math.cos(math.pi * done)) / 2

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats, and the pull to the anchor."""
        z_teacher_nV = teacher_logits(z_teacher_nV, "CTKD")
        theta_n = self._thetas(z_student_nV, z_teacher_nV, chunk)
        reversed_n = reverse_gradient(theta_n, self.sign * self.strength(chunk.progress))
        # One theta stands for all tokens as a view; the loss below reads them row by row.
        tau_n = self._bounded(reversed_n).contiguous()
        # Validation must not move what the metrics say of training.
        if self.training and bool(chunk.mask_n.any()):
            self.mean_temperature.copy_(tau_n.detach()[chunk.mask_n].mean())
        value_n = tau_n**2 * tempered_kl(z_student_nV.float(), z_teacher_nV.float(), tau_n)
        if self.anchor is None:
            return value_n
        # The pull takes theta before the reversal: it is descended, whatever the loss does.
        return value_n + self.anchor_weight * (self._bounded(theta_n) - self.anchor).square()

    def readings(self) -> dict[str, float]:
        """temperature: of the last chunk that was trained on (its mean where each has its own)."""
        return {"temperature": float(self.mean_temperature)}

    def _thetas(self, z_student_nV: Tensor, z_teacher_nV: Tensor, chunk: Chunk) -> Tensor:
        """One theta per token (n,)."""
        if self.network is None:
            assert self.theta is not None
            return (self.gain * self.theta).expand(len(z_student_nV))
        sides = (_features(z, chunk) for z in (z_student_nV, z_teacher_nV))
        theta_n1: Tensor = self.network(torch.cat(list(sides), dim=-1))
        return theta_n1.float().squeeze(-1)

    def _bounded(self, theta: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(theta)

    def _theta_of(self, start: float) -> float:
        if not self.low < start < self.high:
            raise ValueError(f"start = {start}: must lie inside range = [{self.low}, {self.high}]")
        # The inverse of the bounds, so that a recipe can speak of temperatures.
        return math.log((start - self.low) / (self.high - start))


def _features(z_nV: Tensor, chunk: Chunk) -> Tensor:
    """Spread of the logits, entropy and largest log-probability of every token (n,3)."""
    # Detached: the network is to read how hard a token is, not to change the student.
    log_p_nV = chunk.log_probs(z_nV).detach()
    # In rows, for a product p log p of a whole chunk would be two more arrays of the vocabulary.
    entropy_n = -torch.cat([(rows.exp() * rows).sum(-1) for rows in log_p_nV.split(ROWS)])
    return torch.stack([log_p_nV.std(dim=-1), entropy_n, log_p_nV.amax(dim=-1)], dim=-1)


def _network(theta: float) -> nn.Sequential:
    """Two layers whose output starts at theta for every token."""
    first, last = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, 1)
    # All tokens start at the preset's temperature, as the global one does.
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, theta)
    return nn.Sequential(first, nn.ReLU(), last)


def _checked_range(bounds: Sequence[float]) -> tuple[float, float]:
    if len(bounds) != 2 or not 0 < bounds[0] < bounds[1]:
        raise ValueError(f"range = {list(bounds)}: give [low, high] with 0 < low < high")
    return float(bounds[0]), float(bounds[1])


def _checked_anchor(anchor: float | None, weight: float) -> tuple[float | None, float]:
    if not weight >= 0:
        raise ValueError(f"anchor_weight = {weight}: must be at least 0")
    if (anchor is None) != (weight == 0):
        raise ValueError(f"anchor = {anchor} and anchor_weight = {weight}: give both or neither")
    return anchor, float(weight)
