"""Answers that a student draws by itself, many at a time, to be taught on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def drawn(
    student: nn.Module,
    prompts: Sequence[Tensor],
    *,
    tokens: int,
    temperature: float,
    ends: Collection[int],
) -> list[Tensor]:
    """An answer (n,) to each prompt (P,): at most `tokens`, the one that ends it included.

    The student is run as it is used, outside of training mode, from an empty state; it draws from
    torch's global generator. No gradient flows through what is drawn, as in GKD.
    """
    was, device = student.training, prompts[0].device
    student.train(False)
    stops = torch.tensor(sorted(ends), device=device)
    ids_BP, mask_BP = padded(prompts)
    model: Any = student
    left = model(input_ids=ids_BP, attention_mask=mask_BP, use_cache=True, logits_to_keep=1)
    answers, over_B = list[Tensor](), torch.zeros(len(prompts), dtype=torch.bool, device=device)
    while len(answers) < tokens and not bool(over_B.all()):
        p_BV = torch.softmax(left.logits[:, -1].float() / temperature, -1)
        token_B = torch.multinomial(p_BV, 1)[:, 0]
        answers.append(token_B.where(~over_B, -1))
        over_B = over_B | torch.isin(token_B, stops)
        cache = getattr(left, "cache", None) or left.past_key_values
        left = model(input_ids=token_B[:, None], past_key_values=cache, use_cache=True)
    student.train(was)
    return [answer_T[answer_T >= 0] for answer_T in torch.stack(answers, 1)]


def padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Prompts (B,P) of one length, and which of their tokens are real: padding is on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids_BP = prompts[0].new_zeros(len(prompts), longest)
    mask_BP = torch.zeros_like(ids_BP)
    for row, prompt in enumerate(prompts):
        ids_BP[row, longest - len(prompt) :] = prompt
        mask_BP[row, longest - len(prompt) :] = 1
    return ids_BP, mask_BP
