"""What a mixer may inherit from a teacher's attention."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asnn_goose.model.rows import Linear


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
