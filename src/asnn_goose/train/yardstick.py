"""What a student is measured by, whatever it is trained on: CE and KL at temperature 1.

Losses fade, temperatures move and learned ones adapt: an objective can fall while the student gets
no better. These two cannot. Of pairs of answers it is the loss on preferences, which does not move.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.top_words import top_divergence
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.stages.dpo import Dpo
from asnn_goose.train.stages.stage import Stage, Tracing

VOCAB = frozenset({"vocab"})

LOSSES = ("ce", "kl", "preference")
"""Numbers whose sum is the held-out loss; what else is measured is there to be read."""


@torch.no_grad()
def sums(stage: Stage, batch: Batch | PairBatch) -> dict[str, Tensor]:
    """What a stage's student is measured by on a batch: (sum, count) of each number.

    Of text `ce` and, where the stage has a teacher of its words, `kl`, over the tokens that count;
    of pairs the loss and readings of the stage.
    """
    if isinstance(batch, PairBatch):
        count = torch.tensor(batch.chosen.tokens_BT.shape[0], dtype=torch.float64)
        means = cast(Dpo, stage).measured(batch)
        return {name: torch.stack([m.double() * count, count]) for name, m in means.items()}
    taught = stage.taught_by_words
    loss_BT, kl_BT = per_token(stage, batch, teacher=taught)
    found = {"ce": loss_BT} | ({"kl": kl_BT} if taught else {})
    count = batch.mask_BT.sum().double()
    # In fp64: sums over many windows, whose small differences decide whether a stage ends.
    return {name: torch.stack([x_BT.sum().double(), count]) for name, x_BT in found.items()}


@torch.no_grad()
def per_token(stage: Stage, batch: Batch, *, teacher: bool) -> tuple[Tensor, Tensor]:
    """-log p(label) of the student, and KL(teacher || student), of every position (B,T).

    Both are 0 where no label counts; the second is 0 everywhere without the teacher, and of a
    cached one takes the words beyond its top as one. The student runs whole, also where the stage
    trains its blocks one by one.
    """
    window = stage.window(batch)
    student = cast(Tracing, stage.student).trace(batch.tokens_BT, VOCAB, window=window)
    taught = stage.teacher.trace(batch.tokens_BT, VOCAB, window=window) if teacher else None
    count = stage.objective.chunk
    loss_n, kl_n = [], []
    for start in range(0, batch.tokens_BT.numel(), count):
        tokens = slice(start, min(start + count, batch.tokens_BT.numel()))
        log_q_nV = torch.log_softmax(student.vocab(tokens), -1)
        mask_n = batch.mask_BT.flatten()[tokens]
        labels_n1 = batch.labels_BT.flatten()[tokens, None].clamp_min(0)
        loss_n.append(-log_q_nV.gather(1, labels_n1)[:, 0] * mask_n)
        kl_n.append(mask_n * (0 if taught is None else _divergence(taught, tokens, log_q_nV)))
    shape = batch.tokens_BT.shape
    return torch.cat(loss_n).view(shape), torch.cat(kl_n).view(shape)


def _divergence(taught: Trace, tokens: slice, log_q_nV: Tensor) -> Tensor:
    if taught.top is not None:
        return top_divergence(taught.top[tokens], log_q_nV, tau=1.0)
    return kl_divergence(torch.log_softmax(taught.vocab(tokens), -1), log_q_nV)
