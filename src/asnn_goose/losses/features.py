"""What every objective over features shares: the tokens that count, layer pairs, widths, heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap
from asnn_goose.ops.rotary import rotate
from asnn_goose.trace import Batch, Rotation, Trace


def counted(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Rows (n,D) of the tokens that count, in fp32."""
    # A view where nothing is masked: indexing would copy the stream of every layer.
    rows_nD = x_BTD.flatten(0, 1) if bool(mask_BT.all()) else x_BTD[mask_BT]
    return rows_nD.float()


def depth(trace: Trace, *, whose: str) -> int:
    """Number of blocks of a Trace that holds hidden states; ValueError where it holds none."""
    if not trace.hidden:
        raise ValueError(f"the {whose}'s Trace has no hidden states: capture 'hidden'")
    return len(trace.hidden) - 1


def layer_pairs(student: Trace, teacher: Trace, layers: LayerMap) -> list[tuple[Tensor, Tensor]]:
    """Hidden states (B,T,D) of student and teacher that belong together."""
    depths = depth(student, whose="student"), depth(teacher, whose="teacher")
    return [(student.hidden[j], teacher.hidden[g]) for j, g in layers.pairs(*depths)]


def no_cost(trace: Trace) -> Tensor:
    """0 that can be differentiated, for a batch in which too few tokens count."""
    # Part of the graph, because several processes wait for a gradient of every parameter.
    return 0.0 * trace.hidden[-1].float().sum()


def choose_layer(tensors: tuple[Tensor, ...], layer: int, *, setting: str) -> Tensor:
    """One of a Trace's per-block tensors; negative counts from the end."""
    if not -len(tensors) <= layer < len(tensors):
        raise ValueError(f"{setting} = {layer}: the Trace holds {len(tensors)} blocks")
    return tensors[layer]


def documents_of(student: Trace, teacher: Trace) -> Tensor | None:
    """Documents (B,T) that both passes kept apart; None where they read their windows as one text.

    Raises ValueError where one did and the other did not: their tokens saw different ones.
    """
    ours, theirs = student.window.documents_BT, teacher.window.documents_BT
    if (ours is None) != (theirs is None):
        alone = "teacher" if ours is None else "student"
        raise ValueError(f"only the {alone}'s pass kept documents apart: give both one window")
    return ours


def at_positions(x_BTHN: Tensor, rotation: Rotation) -> Tensor:
    """Queries or keys in fp32, turned by the positions of a window where they are to be."""
    # Positions that start anew with every document would change no product inside one.
    x_BTHN = x_BTHN.float()
    if not rotation.theta:
        return x_BTHN
    position_BT = torch.arange(x_BTHN.shape[1], device=x_BTHN.device).expand(x_BTHN.shape[:2])
    return rotate(x_BTHN, position_BT, theta=rotation.theta, channels=rotation.channels)


class Projector(nn.Module):
    """Linear map, without bias, of the student's features to the teacher's width.

    It starts as the identity (cut off or filled up with zeros where the widths differ), trains with
    the objective and is dropped with it. There is none where the widths are equal, unless `project`
    asks for it.
    """

    weight: nn.Parameter | None

    def __init__(self, *, project: bool = False) -> None:
        super().__init__()
        self.project = project
        # Known by name before it exists: a checkpoint that holds it can be told from one that does
        # not.
        self.register_parameter("weight", None)

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Make the map where one is wanted between models of these widths."""
        if self.project or student.width != teacher.width:
            # An identity asks the student for the teacher's own channels first; a random map would
            # have it chase a basis that still turns.
            self.weight = nn.Parameter(torch.eye(teacher.width, student.width))

    def forward(self, student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
        """The student's rows (n, teacher's width). ValueError where the features do not fit."""
        found = (teacher_nD.shape[-1], student_nD.shape[-1])
        if self.weight is None:
            if self.project or found[0] != found[1]:
                raise ValueError(
                    f"hidden states of {found[1]} and {found[0]} channels: the projection between "
                    "them has not met both models"
                )
            return student_nD
        if found != tuple(self.weight.shape):
            raise ValueError(
                f"hidden states of {found[1]} and {found[0]} channels: the projection was made for "
                f"{self.weight.shape[1]} and {self.weight.shape[0]}"
            )
        with torch.autocast(student_nD.device.type, enabled=False):
            return F.linear(student_nD, self.weight)


class Bridged(TraceLoss):
    """An objective that brings the student's features to the teacher's width by one Projector."""

    wants_sizes = True

    def __init__(self, *, project: bool = False) -> None:
        super().__init__()
        self.projection = Projector(project=project)

    def meet(self, student: Trace, teacher: Trace) -> None:
        self.projection.meet(student, teacher)


class BridgedLayers(Bridged):
    """One of hidden states, layer by layer."""

    needs = frozenset({"hidden"})
    layers: LayerMap

    def errors(
        self,
        student: Trace,
        teacher: Trace,
        batch: Batch,
        distance: Callable[[Tensor, Tensor], Tensor],
    ) -> list[Tensor]:
        """The distance of every pair of layers, over the tokens that count."""
        found = []
        for student_BTD, teacher_BTD in layer_pairs(student, teacher, self.layers):
            target_nD = counted(teacher_BTD, batch.mask_BT)
            own_nD = self.projection(counted(student_BTD, batch.mask_BT), target_nD)
            found.append(distance(own_nD, target_nD))
        return found
