"""Salient channels get more steps than the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import Neuron, passed, saliency, widened
from asnn_goose.ops.spike_codes import (
    MAX_STEPS,
    Spikes,
    encode_at,
    levels,
    mean_magnitude,
    step_weights,
)


class SalientSteps(Neuron):
    """More steps for salient channels (after SpikeLLM, arXiv 2407.04752), in a symmetric code.

    Ordinary channels round to steps that reach up to threshold times the token's mean magnitude.
    The `share` of channels with the highest saliency has `extra` more steps below those: units
    base^extra times finer (base 2 or 3, as `code` says), over the same range. So all are integers
    of the fine unit, in steps + extra steps. One step is graded like more: it fires above half of
    its range. The gradient is straight-through up to half a unit beyond the range.

    What is published is `GIF`: affine codes, saliency over calibration data. Here it is measured on
    the first training batch, and until then, or at a site without a matrix, no channel is salient.
    Until there was that one, recipes called this one `spikellm`, and may go on to.
    """

    training_only = "its channels differ in steps, and the engine's tokens have one code"
    saliency: Tensor
    salient: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = 0.7,
        share: float = 0.1,
        extra: int = 1,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if not 0 <= share <= 1:
            raise ValueError(f"share = {share}: must be 0 to 1")
        if extra < 0:
            raise ValueError(f"extra = {extra}: must be 0 or more")
        if code == "rate":
            raise ValueError("code = 'rate': finer steps need radix2 or radix3")
        if steps + extra > MAX_STEPS[code]:
            raise ValueError(f"extra = {extra}: {code} takes {MAX_STEPS[code]} steps in all")
        self.share, self.extra = share, extra
        self.fine_levels = levels(code, steps + extra)
        self.ratio = step_weights(code, steps + extra)[extra]
        self.register_buffer("saliency", torch.zeros(columns))
        self.register_buffer("salient", torch.zeros(columns, dtype=torch.bool))

    @torch.no_grad()
    def meet_(self, h_BK: Tensor, weight_OK: Tensor) -> None:
        """Measure the saliency once: the mean of x (x W^T W) over the tokens of h."""
        # Once and for all: a channel whose code changed under a trained matrix would need other
        # weights.
        if self.waits:
            self.set_saliency_(saliency(h_BK, weight_OK).mean(0))

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.saliency.any())

    @torch.no_grad()
    def set_saliency_(self, score_K: Tensor) -> None:
        """Give the `share` of channels with the highest score their extra steps.

        Raises ValueError for a score of another shape.
        """
        if score_K.shape != (self.columns,):
            raise ValueError(f"score_K has shape {tuple(score_K.shape)}: must be ({self.columns},)")
        self.saliency.copy_(score_K)
        self.salient.fill_(False)
        self.salient[score_K.topk(round(self.share * self.columns)).indices] = True

    def forward(self, h_BK: Tensor) -> Tensor:
        with torch.no_grad():
            spikes = self.encode(h_BK)
            fine_reach, reach = self.fine_levels + 0.5, (self.levels + 0.5) * self.ratio
            reach_K = torch.where(self.salient, fine_reach, reach)
            slope_BK = widened(h_BK).abs() <= spikes.amplitude_B1 * reach_K
            values_BK = spikes.values().to(h_BK.dtype)
        return passed(h_BK, values_BK, slope_BK)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Integers of the fine unit, to be spelled in steps + extra steps, and that unit."""
        wide_BK = widened(h_BK)
        unit_B1 = mean_magnitude(wide_BK) * self.threshold / self.levels
        fine = encode_at(wide_BK, unit_B1 / self.ratio, top=self.fine_levels)
        # Coarse codes are spelled in the fine unit, so that one integer product serves all
        # channels.
        q_BK = encode_at(wide_BK, unit_B1, top=self.levels).q_BK * self.ratio
        return Spikes(torch.where(self.salient, fine.q_BK, q_BK), fine.amplitude_B1)

    def constants(self) -> dict[str, float]:
        """The threshold, relative to each token's mean magnitude."""
        return {"threshold": self.threshold}
