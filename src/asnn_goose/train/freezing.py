"""Ternary weights that keep their code from some step on: those that settled, or that swing.

Iterative weight freezing (Nagel et al. 2022, arXiv 2203.11086, section 4.2) holds weights that
swing around a threshold, where a straight-through gradient never lets them rest. Ours holds as
well, or instead, those that no longer flip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.ternary import TTQ
from asnn_goose.train.optimiser import Trained
from asnn_goose.train.run_errors import TrainError

CODE, FLIPS, MEAN, HELD = "code", "flips", "mean_code", "held"
"""Names among the optimiser's moments, and so in checkpoints."""

FREE = 2
"""Stands in HELD, where else the code is that a weight keeps."""

TURNS, NUDGE = 32, 1 / 128
"""How often held weights are moved until they have their codes, each time by this part further."""


@dataclass(frozen=True, kw_only=True)
class FreezeSettings:
    """[stage.freeze]: which weights keep their code for the rest of the stage.

    since     share of the stage after which weights freeze; their flips count from its beginning
    momentum  m in flips <- (1 - m) flips + m 1[the code has changed], after every step
    still     freeze where flips are at most this, at the code that is there (ours); 0: where it
              never changed
    swinging  freeze where flips are above this, at the code that it mostly had: the mean, likewise
              moving, rounded. The paper counts only flips back, and lets the bound fall

    Raises ValueError for settings that freeze nothing.
    """

    since: float = 0.5
    momentum: float = 0.05
    still: float | None = None
    swinging: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.since < 1:
            raise ValueError(f"freeze.since = {self.since}: must be 0 or more and below 1")
        if not 0 < self.momentum <= 1:
            raise ValueError(f"freeze.momentum = {self.momentum}: must be above 0 and at most 1")
        if self.still is None and self.swinging is None:
            raise ValueError("freeze: freezes nothing; set still, swinging or both")
        if self.still is not None and self.swinging is not None and self.still >= self.swinging:
            raise ValueError(
                f"freeze.still = {self.still}: must be below swinging = {self.swinging}, or every "
                "weight freezes at once"
            )

    @property
    def copies(self) -> float:
        """What is kept of a weight, in numbers of four bytes: codes take one."""
        return 1.5 + (self.swinging is not None)


class Freezing:
    """Takes the steps of an optimiser, and holds codes through them; kept in its state.

    Raises TrainError where no ternary matrix trains, or one of two planes: there a code is two, of
    which the second hangs on the first.
    """

    def __init__(
        self,
        settings: FreezeSettings,
        trained: Sequence[Trained],
        optimiser: torch.optim.Optimizer,
        student: nn.Module,
    ) -> None:
        self._settings, self._optimiser = settings, optimiser
        own = {id(entry.parameter) for entry in trained}
        matrices = (m for m in student.modules() if isinstance(m, Projection))
        ternary = (m for m in matrices if m.ternary is not None)
        self._matrices = [matrix for matrix in ternary if id(matrix.weight) in own]
        if not self._matrices:
            raise TrainError("freeze: the stage trains no ternary matrix; leave it out")
        if any(m.precision.planes == 2 and not isinstance(m.ternary, TTQ) for m in self._matrices):
            raise TrainError("freeze: two planes have no code to hold; take one plane, or ttq")
        self._flipped = 0.0

    @torch.no_grad()
    def stop(self) -> None:
        """Take away the gradients of held weights, so that they count in no norm."""
        for matrix, state in self._known():
            if matrix.weight.grad is not None:
                matrix.weight.grad.masked_fill_(state[HELD] != FREE, 0)

    @torch.no_grad()
    def step(self, number: int, *, steps: int) -> None:
        """Let the optimiser take step `number` (from 0) of a stage of so many; look at codes."""
        kept = []
        for matrix, state in self._known():
            held_OK = state[HELD] != FREE
            kept.append((matrix.weight, held_OK, matrix.weight[held_OK]))
        self._optimiser.step()
        for weight_OK, held_OK, values_n in kept:
            weight_OK[held_OK] = values_n  # moments and weight decay move them without a gradient
        flipped, total, freezes = 0, 0, number + 1 > self._settings.since * steps
        for matrix in self._matrices:
            state = self._optimiser.state[matrix.weight]
            if not state:  # no gradient has reached it: it stands still
                continue
            flipped += self._follow(matrix, state, freezes=freezes)
            total += matrix.weight.numel()
        self._flipped = flipped / max(total, 1)

    @torch.no_grad()
    def settle(self) -> None:
        """Bring held codes back where something else has set the weights."""
        for matrix, state in self._known():
            hold(matrix, state[HELD])

    def readings(self) -> dict[str, float]:
        """Share of ternary weights that changed their code in the last step, and that are held."""
        total = sum(matrix.weight.numel() for matrix in self._matrices)
        held = sum(int((state[HELD] != FREE).sum()) for _, state in self._known())
        return {"freeze.flipped": self._flipped, "freeze.held": held / total}

    def _known(self) -> Iterator[tuple[Projection, dict[str, Tensor]]]:
        for matrix in self._matrices:
            state = self._optimiser.state[matrix.weight]
            if HELD in state:
                yield matrix, state

    def _follow(self, matrix: Projection, state: dict[str, Tensor], *, freezes: bool) -> int:
        """Note which codes have changed, and freeze what is to; gives how many changed."""
        settings = self._settings
        if HELD not in state:
            state[CODE] = codes_of(matrix)
            state[FLIPS] = torch.zeros_like(matrix.weight)
            state[HELD] = torch.full_like(state[CODE], FREE)
            if settings.swinging is not None:
                state[MEAN] = state[CODE].to(matrix.weight.dtype)
            return 0
        codes_OK = hold(matrix, state[HELD])
        changed_OK = codes_OK != state[CODE]
        flips_OK = state[FLIPS].lerp_(changed_OK.to(state[FLIPS].dtype), settings.momentum)
        state[CODE] = codes_OK
        if settings.swinging is not None:
            state[MEAN].lerp_(codes_OK.to(state[MEAN].dtype), settings.momentum)
        if freezes:
            free_OK = state[HELD] == FREE
            if settings.still is not None:
                _put(state[HELD], free_OK & (flips_OK <= settings.still), codes_OK)
            if settings.swinging is not None:
                mostly_OK = state[MEAN].round().to(torch.int8)
                _put(state[HELD], free_OK & (flips_OK > settings.swinging), mostly_OK)
                state[CODE] = hold(matrix, state[HELD])
        return int(changed_OK.sum())


def codes_of(matrix: Projection) -> Tensor:
    """The codes (O,K) of a ternary matrix as it is finished, int8; two signs of `ttq` are one."""
    assert matrix.ternary is not None
    return matrix.ternary.planes_of(matrix.weight).codes_POK.sum(0).to(torch.int8)


@torch.no_grad()
def hold(matrix: Projection, held_OK: Tensor) -> Tensor:
    """Give held weights their codes by moving them as little as it takes; the codes then.

    A weight that stands still loses its code where the threshold passes it, which moves with all
    others of a row.
    """
    weight_OK, codes_OK = matrix.weight, codes_of(matrix)
    assert matrix.ternary is not None
    shape = (len(weight_OK), -1, matrix.ternary.group or weight_OK.shape[1])
    for turn in range(TURNS):
        wrong_OK = (held_OK != FREE) & (codes_OK != held_OK)
        if not wrong_OK.any():
            break
        parts = (x.view(shape) for x in (weight_OK, codes_OK, held_OK))
        moved_OK = _nearest(*parts, margin=1 + turn * NUDGE).view(weight_OK.shape)
        weight_OK.copy_(torch.where(wrong_OK, moved_OK, weight_OK))
        codes_OK = codes_of(matrix)
    return codes_OK


def _nearest(w_OGC: Tensor, codes_OGC: Tensor, held_OGC: Tensor, *, margin: float) -> Tensor:
    """For each weight the nearest that has its held code, as weights of its row and group show.

    Without knowing a method's threshold: what lies beyond a weight coded 1 is coded 1, and what
    lies between two coded 0 is coded 0. Where none has the code it is twice or half the weight.
    """
    inf = torch.inf
    least_OG1 = torch.where(codes_OGC == 1, w_OGC, inf).amin(-1, keepdim=True) * margin
    most_OG1 = torch.where(codes_OGC == -1, w_OGC, -inf).amax(-1, keepdim=True) * margin
    zero_OGC = codes_OGC == 0
    low_OG1 = torch.where(zero_OGC, w_OGC, inf).amin(-1, keepdim=True) / margin
    high_OG1 = torch.where(zero_OGC, w_OGC, -inf).amax(-1, keepdim=True) / margin
    between_OGC = torch.minimum(torch.maximum(w_OGC, low_OG1), high_OG1)
    found_OGC = torch.where(
        held_OGC == 1, least_OG1, torch.where(held_OGC == 0, between_OGC, most_OG1)
    )
    apart_OGC = torch.where(held_OGC == 0, w_OGC / 2, 2 * w_OGC.abs() * held_OGC)
    return torch.where(found_OGC.isfinite(), found_OGC, apart_OGC)


def _put(target_OK: Tensor, where_OK: Tensor, values_OK: Tensor) -> None:
    target_OK.copy_(torch.where(where_OK, values_OK, target_OK))
