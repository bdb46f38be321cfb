"""Ternary weights, one file per method: from a dense matrix to planes, with a gradient."""

from asnn_goose.model.ternary.absmean import AbsMean

__all__ = ["AbsMean"]
