"""Transforms between features of two models: a linear map and a norm, a pair of layers each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.losses.layer_map import LayerMap
from asnn_goose.trace import Trace


class Transforms(nn.Module):
    """LN(W h) for every pair of layers (SpikeBERT, arXiv 2308.15122, first stage).

    W starts as the identity, cut off or filled up with zeros where the widths differ; all of it
    trains with the objective and is dropped with it.
    """

    def __init__(self, layers: LayerMap) -> None:
        super().__init__()
        self.layers = layers
        self.maps, self.norms = nn.ModuleList(), nn.ModuleList()

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Make a transform for every pair of models of these depths and widths."""
        for _ in self.layers.pairs(student.blocks, teacher.blocks):
            linear = nn.Linear(student.width, teacher.width)
            with torch.no_grad():
                linear.weight.copy_(torch.eye(teacher.width, student.width))
                nn.init.zeros_(linear.bias)
            self.maps.append(linear)
            self.norms.append(nn.LayerNorm(teacher.width))

    def forward(self, number: int, student_nD: Tensor) -> Tensor:
        """The student's rows of pair `number`, as the teacher's width; ValueError before `meet`."""
        if not len(self.maps):
            raise ValueError("transform = true: the transforms have not met both models")
        with torch.autocast(student_nD.device.type, enabled=False):
            found: Tensor = self.norms[number](self.maps[number](student_nD))
        return found
