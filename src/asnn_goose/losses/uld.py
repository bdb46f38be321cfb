"""Universal logit distillation (Boizard et al. 2024, arXiv 2402.12030): no shared words needed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits


class ULD(VocabLoss):
    """sum_i |p_T(i) - p_S(i)| with both sorted by size, the shorter filled up with zeros.

    The Wasserstein distance of the two distributions where moving one word's mass to another
    always costs the same, so a permuted vocabulary costs nothing. The paper compares the k-th
    tokens of both texts; here a teacher of another tokenizer is compared wherever both have read
    the same bytes, which is where a span begins, and nowhere else. With one tokenizer that is
    every token.

    temperature  both distributions are softmax(z / temperature)
    """

    across_vocabularies = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,), between 0 and 2."""
        z_teacher_nV = teacher_logits(z_teacher_nV, "ULD")
        sizes = [
            chunk.log_probs(z_nV, self.temperature).exp().sort(dim=-1, descending=True).values
            for z_nV in (z_student_nV, z_teacher_nV)
        ]
        width = max(p_nV.shape[-1] for p_nV in sizes)
        ours_nV, theirs_nV = (F.pad(p_nV, (0, width - p_nV.shape[-1])) for p_nV in sizes)
        return (ours_nV - theirs_nV).abs().sum(-1)
