"""Constant factors of a teacher, which a student has in its weights instead.

A factor of the embedding goes into the embedding, one of what a block adds into the last matrix of
mixer and MLP, a divisor of the logits into the last norm. Where the head is the embedding, the last
norm takes the embedding's factor back. So no student needs a factor of its own, and none is lost.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from transformers import PreTrainedConfig

from asnn_goose.model.families import Family, number


class Scales(NamedTuple):
    """Factors of a teacher, and those of its student's parts.

    embedding   of the embedding
    residual    of what attention and MLP add
    logits      of the logits
    head        of the student's head: that of the embedding where both are one matrix
    cap         bound of the logits, 0 for none
    """

    embedding: float
    residual: float
    logits: float
    head: float
    cap: float

    @property
    def final_norm(self) -> float:
        """Of the gain of the student's last norm."""
        return self.logits / self.head


def scales(
    config: PreTrainedConfig, family: Family, *, embedding: nn.Module, head: nn.Module
) -> Scales:
    """The factors of a teacher with this embedding and head."""
    own = float(getattr(embedding, "scalar_embed_scale", 1.0))  # of Gemma: sqrt of the width
    factor = own * number(config, family.embedding_scale, 1.0)
    return Scales(
        embedding=factor,
        residual=number(config, family.residual_scale, 1.0),
        logits=1.0 / number(config, family.logit_divisor, 1.0),
        head=factor if head.weight is embedding.weight else 1.0,
        cap=number(config, family.logit_cap, 0.0),
    )
