"""What every objective over features shares: the tokens that count, layer pairs, widths, heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.losses.layer_map import LayerMap
from asnn_goose.ops.rotary import rotate
from asnn_goose.trace import Trace


def counted(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Rows (n,D) of the tokens that count, in fp32."""
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
    return 0.0 * trace.hidden[-1].float().sum()


def choose_layer(tensors: tuple[Tensor, ...], layer: int, *, setting: str) -> Tensor:
    """One of a Trace's per-block tensors; negative counts from the end."""
    if not -len(tensors) <= layer < len(tensors):
        raise ValueError(f"{setting} = {layer}: the Trace holds {len(tensors)} blocks")
    return tensors[layer]


def at_positions(x_BTHN: Tensor, theta: float) -> Tensor:
    """Queries or keys in fp32, rotated by the positions of a window where theta > 0."""
    x_BTHN = x_BTHN.float()
    if not theta:
        return x_BTHN
    position_BT = torch.arange(x_BTHN.shape[1], device=x_BTHN.device).expand(x_BTHN.shape[:2])
    return rotate(x_BTHN, position_BT, theta=theta)


def check_rope_theta(rope_theta: float) -> float:
    """The value itself. Raises ValueError where it is below 0."""
    if not rope_theta >= 0:
        raise ValueError(f"rope_theta = {rope_theta}: must be the teacher's base, or 0 for none")
    return float(rope_theta)


class Projection(nn.Module):
    """Linear map, without bias, of the student's features to the teacher's width.

    It starts as the identity (cut off or filled up with zeros where the widths differ), trains with
    the objective and is dropped with it. There is none where the widths are equal or not given,
    unless `project` asks for it.
    """

    weight: nn.Parameter | None

    def __init__(self, *, student_width: int, teacher_width: int, project: bool = False) -> None:
        super().__init__()
        if min(student_width, teacher_width) < 0 or bool(student_width) != bool(teacher_width):
            raise ValueError(
                f"student_width = {student_width}, teacher_width = {teacher_width}: give both "
                "widths, or neither where they are equal"
            )
        if project and not student_width:
            raise ValueError("project = true: give student_width and teacher_width")
        self.widths = (student_width, teacher_width)
        wanted = project or student_width != teacher_width
        start = nn.Parameter(torch.eye(teacher_width, student_width)) if wanted else None
        self.register_parameter("weight", start)

    def forward(self, student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
        """The student's rows (n, teacher's width). ValueError where the features do not fit."""
        found = student_nD.shape[-1], teacher_nD.shape[-1]
        if found != self.widths and (any(self.widths) or found[0] != found[1]):
            raise ValueError(
                f"student_width = {self.widths[0]}, teacher_width = {self.widths[1]}: the hidden "
                f"states need student_width = {found[0]}, teacher_width = {found[1]}"
            )
        if self.weight is None:
            return student_nD
        with torch.autocast(student_nD.device.type, enabled=False):
            return F.linear(student_nD, self.weight)
