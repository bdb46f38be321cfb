"""How long full precision lasts in training."""

from __future__ import annotations

from torch import nn

from asnn_goose.model.neurons import Neuron
from asnn_goose.model.ternary import TernaryMethod

SPANS = ("until", "eight_bit", "fade")
"""Settings of methods and neurons: the share of the training up to which something is left."""


def annealed_until(student: nn.Module) -> float:
    """Share of the training after which nothing of a higher precision is left; 0: none ever was."""
    parts = (m for m in student.modules() if isinstance(m, TernaryMethod | Neuron))
    return max((float(getattr(part, span, 0.0)) for part in parts for span in SPANS), default=0.0)
