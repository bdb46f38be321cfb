"""What a mixer may inherit from a teacher's attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.rows import Linear

NORM_START = 0.05
"""Group-norm weight of a converted mixer: attention outputs are small averages of values."""


class Heir(Protocol):
    """A mixer that compares receptances with keys."""

    receptance: Projection
    key: Projection
    value: Projection
    output: Projection
    query_norm: nn.RMSNorm | None
    key_norm: nn.RMSNorm | None


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The attention of one block of a teacher, with as many heads as the student has.

    queries, keys, values, output   its linear maps; heads of keys and values are repeated
    scaling                  by what it multiplies the scores, 1/sqrt(head size) in most families
    query_norm, key_norm     gains of the norms of queries and keys, of a head or of all heads; None
                             in families without
    looks_back_H             mean attention of every head to the token before; None where the
                             student's settings do not ask for it
    """

    queries: Linear
    keys: Linear
    values: Linear
    output: Linear
    scaling: float
    query_norm: Tensor | None
    key_norm: Tensor | None
    looks_back_H: Tensor | None = None

    def give(self, mixer: Heir) -> None:
        """q, k, v, o become r, k, v and the output projection; k is scaled as scores are here.

        A recurrence multiplies r and k as they are, so that factor must be in k; where k has a
        norm, which would undo a factor before it, it is in the norm's gain.
        """
        mixer.receptance.inherit(*self.queries)
        mixer.key.inherit(*self.keys, scale=self.scaling if self.key_norm is None else 1.0)
        mixer.value.inherit(*self.values)
        mixer.output.inherit(*self.output)
        if mixer.query_norm is not None and self.query_norm is not None:
            mixer.query_norm.weight.copy_(self.query_norm)
        if mixer.key_norm is not None and self.key_norm is not None:
            mixer.key_norm.weight.copy_(self.key_norm * self.scaling)
