"""Where channels can be scaled up in one place and down in the next without a trace."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.token_shift import FollowingShift


class BalancePlace(NamedTuple):
    """Parameters that scale channels, and everything that reads these channels.

    gains     vectors over the channels, or matrices whose rows they are
    readers   the matrices; the first of them stands for all where inputs are measured
    adapters  what else reads them, by factors (D, rank)
    """

    gains: list[Tensor]
    readers: list[Projection]
    adapters: list[LowRank | FollowingShift]
