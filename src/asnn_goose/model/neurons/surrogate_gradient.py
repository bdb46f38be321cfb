"""The surrogate that a neuron uses, with the one that learns its width."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from asnn_goose.model.neurons.neuron import TINY
from asnn_goose.ops.surrogate import Surrogate, rectangle, surrogate

MOMENTUM = 0.99


class SurrogateGradient(nn.Module):
    """`ops.surrogate.surrogate(name, shape)`.

    "learnable" (after LSG, Lian et al., IJCAI 2023) is a rectangle of width softplus(p). In the
    first step of training the width is 1; buffer `p` starts where it is 2 std(v) of that step's
    batches, and then lets it follow 2 std(v) as an exponential mean over batches. Where a neuron
    knows how the spread of its membrane hangs on that of its input, v is the input and `now` takes
    the rest as a share.
    """

    p: Tensor
    measured: Tensor
    met: Tensor

    def __init__(self, name: str, *, shape: float | None = None) -> None:
        super().__init__()
        self.h = surrogate(name, shape)
        self.name, self.shape = name, shape
        if name == "learnable":
            if shape is not None:
                raise ValueError(f"surrogate_shape = {shape}: learnable measures its own")
            self.register_buffer("p", _inverse_softplus(torch.tensor(1.0)))
            self.register_buffer("measured", torch.tensor(False))
            self.register_buffer("met", torch.zeros(2), persistent=False)  # width and how many

    def now(self, share: Tensor | float = 1.0) -> Surrogate:
        """h(u) with its present width.

        share  of that width, of "learnable"
        """
        if self.name != "learnable":
            return self.h
        return partial(rectangle, width=nn.functional.softplus(self.p) * share)

    @torch.no_grad()
    def follow(self, v: Tensor) -> None:
        """Count a batch's membranes v for the width of "learnable", in training and not silent."""
        if self.name != "learnable" or not self.training or v.numel() < 2 or not bool(v.any()):
            return
        width = 2 * v.float().std().clamp_min(TINY).to(self.p.device)
        self.met.copy_(torch.stack([width, torch.ones_like(width)]))

    @torch.no_grad()
    def take_counts(self) -> Tensor:
        """2 std(v) of the batch before, and 1 (2,); zeros where it was silent."""
        if self.name != "learnable":
            return torch.zeros(0)
        counts_n = self.met.clone()
        self.met.zero_()
        return counts_n

    @torch.no_grad()
    def go_on(self, counts_n: Tensor) -> None:
        """Start with the mean width of a step's batches, or go a part of the way there."""
        if self.name != "learnable" or not (batches := float(counts_n[1])):
            return
        width = counts_n[0] / batches
        if bool(self.measured):
            # A hundredth of the way a batch: a window that jumps with each batch makes gradients of
            # one neuron incomparable from step to step.
            width = torch.lerp(width, nn.functional.softplus(self.p.float()), MOMENTUM**batches)
        self.p.copy_(_inverse_softplus(width))
        self.measured.fill_(True)


def _inverse_softplus(x: Tensor) -> Tensor:
    """The p with softplus(p) = x, for small x too."""
    # log(exp(x) - 1) would overflow for large x, and lose all digits for small.
    return x + torch.log(-torch.expm1(-x))
