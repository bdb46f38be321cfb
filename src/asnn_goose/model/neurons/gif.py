"""SpikeLLM's neuron: affine codes of every token, emitted as graded spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import Neuron, check_rate, saliency, widened
from asnn_goose.ops.affine_codes import affine_codes, emitted
from asnn_goose.ops.spike_codes import Spikes


class GIF(Neuron):
    """Generalised integrate-and-fire (SpikeLLM, arXiv 2407.04752), as `ops.affine_codes` says.

    The share `low` of the channels with the least saliency is coded in `bits` bits and one step.
    The others have log2(steps) bits more, a range of their own, and `steps` steps of at most
    2^bits - 1, so that their top code loses steps - 1. With one step there is one range for all.
    Saliency is signed, as published: a channel of a large negative score is low. It is the mean of
    x (x W^T W) over the first `calibration` tokens of training, step by step, and then stays;
    in the first step, or at a place without a matrix, all channels are low. Gradients are
    straight-through, stop where the top code loses, and reach the two numbers of a token that make
    its range.
    """

    training_only = "its codes are affine, and the engine's are symmetric"
    saliency: Tensor
    seen: Tensor
    met: Tensor
    met_tokens: Tensor
    salient: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "rate",
        threshold: float = Neuron.usual_threshold,
        bits: int = 4,
        low: float = 0.9,
        calibration: int = 16_384,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        check_rate(steps, code)
        if steps.bit_count() != 1:
            raise ValueError(f"steps = {steps}: must be a power of two, for each doubling is a bit")
        if threshold != Neuron.usual_threshold:
            raise ValueError(f"threshold = {threshold}: gif codes whole ranges; leave it out")
        if not 2 <= bits <= 8:
            raise ValueError(f"bits = {bits}: must be 2 to 8")
        if not 0 <= low <= 1:
            raise ValueError(f"low = {low}: must be 0 to 1")
        if calibration < 1:
            raise ValueError(f"calibration = {calibration}: must be at least 1")
        self.bits, self.low, self.calibration = bits, low, calibration
        self.register_buffer("saliency", torch.zeros(columns))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("met", torch.zeros(columns))
        self.register_buffer("met_tokens", torch.tensor(0))
        self.register_buffer("salient", torch.zeros(columns, dtype=torch.bool))

    @torch.no_grad()
    def meet_(self, h_BK: Tensor, weight_OK: Tensor) -> None:
        """Measure a batch's saliency, until `calibration` tokens were seen."""
        # A channel whose code changed for ever would ask its columns for other weights for ever.
        if int(self.seen) >= self.calibration or not bool(h_BK.any()):
            return
        score_RK = saliency(h_BK, weight_OK)
        self.met.copy_(score_RK.sum(0))
        self.met_tokens.fill_(len(score_RK))

    @torch.no_grad()
    def take_counts(self) -> Tensor:
        """Scores of a batch, added up over its tokens, and their number (K + 1,)."""
        tokens = int(self.met_tokens)
        # Checkpoints of earlier versions hold scores that were counted already, of no tokens.
        counts_n = torch.cat([self.met * (tokens > 0), self.met.new_full((1,), tokens)])
        self.met.zero_()
        self.met_tokens.zero_()
        return counts_n

    @torch.no_grad()
    def go_on(self, counts_n: Tensor) -> None:
        """Make those salient that are by now, until `calibration` tokens were seen."""
        if new := int(counts_n[-1]):
            seen = int(self.seen)
            self.set_saliency_((self.saliency * seen + counts_n[:-1]) / (seen + new))
            self.seen.fill_(seen + new)

    @torch.no_grad()
    def set_saliency_(self, score_K: Tensor) -> None:
        """Make all but the share `low` of channels with the lowest score salient.

        Raises ValueError for a score of another shape.
        """
        if score_K.shape != (self.columns,):
            raise ValueError(f"score_K has shape {tuple(score_K.shape)}: must be ({self.columns},)")
        self.saliency.copy_(score_K)
        self.salient.fill_(True)
        self.salient[score_K.argsort()[: round(self.low * self.columns)]] = False

    def forward(self, h_BK: Tensor) -> Tensor:
        """(..., K) -> what the spikes stand for, same shape and dtype."""
        return self._spikes(widened(h_BK)).values().to(h_BK.dtype)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Spikes of all steps less the zero (..., K), and the scale: (..., 1), or (..., K)."""
        return self._spikes(widened(h_BK))

    def constants(self) -> dict[str, float]:
        """Nothing that the engine knows."""
        return {}

    def _spikes(self, h_BK: Tensor) -> Spikes:
        if self.steps == 1 or not bool(self.salient.any()):
            return self._coded(h_BK, None, steps=1)
        fine = self._coded(h_BK, self.salient, steps=self.steps)
        if bool(self.salient.all()):
            return fine
        low = self._coded(h_BK, ~self.salient, steps=1)
        pairs = zip(fine[:2], low[:2], strict=True)
        return Spikes(*(torch.where(self.salient, one, other) for one, other in pairs))

    def _coded(self, h_BK: Tensor, counted_K: Tensor | None, *, steps: int) -> Spikes:
        """All channels as those are that are counted: in so many steps, over their range."""
        bits = self.bits + steps.bit_length() - 1
        codes = affine_codes(h_BK, bits=bits, counted_K=counted_K)
        total_BK = emitted(codes.x_BK, bits=self.bits, steps=steps).sum(0)
        return Spikes(total_BK - codes.zero_B1, codes.scale_B1)
