"""How long full precision lasts within a stage."""

from __future__ import annotations

from torch import nn

from asnn_goose.model.neurons import Neuron
from asnn_goose.model.ternary import TernaryMethod

SPANS = ("until", "eight_bit", "fade")
"""Settings of methods and neurons that are a share of the stage, up to which something is left."""


def annealed_until(student: nn.Module) -> float:
    """Share of a stage after which nothing of a higher precision is left; 0 where none ever was."""
    parts = (m for m in student.modules() if isinstance(m, TernaryMethod | Neuron))
    return max((float(getattr(part, span, 0.0)) for part in parts for span in SPANS), default=0.0)
