"""Ternary weights, one file per paper: from a dense matrix to planes, with a gradient.

In come dense weights, out go planes and scales through which gradients reach the dense weights. A
new method is one file and one row here; its keyword settings are the recipe's keys.
"""

from asnn_goose.model.ternary.absmean import AbsMean
from asnn_goose.model.ternary.arenas import Arenas
from asnn_goose.model.ternary.cat_q import CatQ
from asnn_goose.model.ternary.lsq import LSQ, LSQPlus
from asnn_goose.model.ternary.method import TernaryMethod
from asnn_goose.model.ternary.tequila import Tequila
from asnn_goose.model.ternary.terdit import TerDiT
from asnn_goose.model.ternary.tervit import TerViT
from asnn_goose.model.ternary.ttq import TTQ
from asnn_goose.model.ternary.twn import TWN

TERNARY: dict[str, type[TernaryMethod]] = {
    "absmean": AbsMean,
    "twn": TWN,
    "tervit": TerViT,
    "ttq": TTQ,
    "tequila": Tequila,
    "arenas": Arenas,
    "terdit": TerDiT,
    "lsq": LSQ,
    "lsq_plus": LSQPlus,
    "cat_q": CatQ,
}

__all__ = [
    "LSQ",
    "TERNARY",
    "TTQ",
    "TWN",
    "AbsMean",
    "Arenas",
    "CatQ",
    "LSQPlus",
    "Tequila",
    "TerDiT",
    "TerViT",
    "TernaryMethod",
]
