"""The residual stream follows the teacher's, layer by layer (FitNets, arXiv 1412.6550)."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import DISTANCES
from asnn_goose.losses.features import Projector, counted, depth, layer_pairs
from asnn_goose.losses.kinds import TraceLoss, check_share
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.losses.learned_layers import LearnedLayers
from asnn_goose.losses.transform import Transforms
from asnn_goose.names import lookup
from asnn_goose.trace import Batch, Trace

Rows = tuple[Tensor, Tensor]


FROZEN_AFTER = 0.1


class Hidden(TraceLoss):
    """Mean over pairs of layers of a distance between hidden states.

    distance       a row of losses.distances.DISTANCES
    layer_map      a rule or pairs of losses.layer_map, or "learned" (losses.learned_layers)
    embedding      hold the embeddings against each other too
    transform      LN(W h) for every pair before the distance (losses.transform)
    project        learn a projection even where the widths are equal, from the identity
    until          share of the stage after which the term fades, linearly, to 0 at the stage's end
    frozen_after   share of the stage after which a learned map stands still; 0.1 unless set

    Raises ValueError where a setting is out of its range or does not fit the Traces.
    """

    needs = frozenset({"hidden"})
    wants_sizes = True

    def __init__(
        self,
        *,
        distance: str = "relative",
        layer_map: Rule = "uniform",
        embedding: bool = False,
        project: bool = False,
        transform: bool = False,
        until: float = 1.0,
        frozen_after: float | None = None,
    ) -> None:
        super().__init__()
        found = lookup(DISTANCES, distance, setting="distance")
        self.distance, self.until, self.embedding = found, check_share("until", until), embedding
        self.projection = Projector(project=project)
        learned = layer_map == "learned"
        self.layers = None if learned else LayerMap(layer_map, embedding=embedding)
        if frozen_after is not None and not learned:
            raise ValueError(f"frozen_after = {frozen_after}: only with layer_map = 'learned'")
        after = FROZEN_AFTER if frozen_after is None else frozen_after
        self.learned = LearnedLayers(frozen_after=after) if learned else None
        if transform and (project or self.layers is None):
            raise ValueError("transform = true: it has maps of its own for pairs that are given")
        self.transforms = Transforms(self.layers) if transform and self.layers else None

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Bridge the widths, and make the gates of a learned map."""
        if self.transforms is None:
            self.projection.meet(student, teacher)
        else:
            self.transforms.meet(student, teacher)
        if self.learned is not None:
            self.learned.meet(teacher)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        rows = self._rows(student, teacher, batch)
        if self.transforms is None:
            values = [self.distance(self.projection(s, t), t) for s, t in rows]
        else:
            values = [self.distance(self.transforms(n, s), t) for n, (s, t) in enumerate(rows)]
        return self._strength(batch.progress) * torch.stack(values).mean()

    def _rows(self, student: Trace, teacher: Trace, batch: Batch) -> list[Rows]:
        mask_BT = batch.mask_BT
        if self.layers is not None:
            pairs = layer_pairs(student, teacher, self.layers)
            return [(counted(s, mask_BT), counted(t, mask_BT)) for s, t in pairs]
        assert self.learned is not None  # the constructor makes one or the other
        blocks = depth(student, whose="student")
        _ = depth(teacher, whose="teacher")
        targets = [counted(h, mask_BT) for h in teacher.hidden]
        blended = self.learned(targets[1:], blocks, batch.progress)
        # Blocks only: a learned map has no say about the embedding, which is layer 0.
        rows = [(counted(s, mask_BT), z) for s, z in zip(student.hidden[1:], blended, strict=True)]
        start = [(counted(student.hidden[0], mask_BT), targets[0])] if self.embedding else []
        return start + rows

    def _strength(self, progress: float) -> float:
        return 1.0 if progress <= self.until else (1 - progress) / (1 - self.until)
