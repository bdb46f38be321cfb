"""The mixture `broad`: every kind of text that comes in packages, each with its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.document import DataError

BROAD = "broad"
"""What recipes and commands call it."""

# Shares are written into resolved recipes, where somebody reads them.
_DIGITS = 6


def broad_shares(corpora: Mapping[str, Corpus]) -> dict[str, float]:
    """Names of the corpora of `broad` and their shares, which add up to 1."""
    parts = {corpus.name: corpus.broad for corpus in corpora.values() if corpus.broad}
    return {name: round(part / sum(parts.values()), _DIGITS) for name, part in parts.items()}


def spelt_out(
    names: Sequence[str], weights: Sequence[float], corpora: Mapping[str, Corpus]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Texts and their weights with `broad` replaced by its corpora.

    Weights are one for each of the names as they are given, of which that of `broad` is dealt out
    to its corpora by their shares; or, for `broad` alone, one for each of its corpora. A corpus
    that is also named by itself gets both. Raises DataError where weights are missing or do not
    fit.
    """
    if BROAD not in names:
        return tuple(names), tuple(weights)
    shares = broad_shares(corpora)
    if list(names) == [BROAD] and len(weights) in (0, len(shares)):
        return tuple(shares), tuple(weights or shares.values())
    if len(weights) != len(names):
        raise DataError(
            f"weights = {list(weights)}: beside {BROAD!r} give one to each of the {len(names)} "
            f"texts, or to {BROAD!r} alone one to each of its {len(shares)} corpora"
        )
    found: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        for part, share in shares.items() if name == BROAD else [(name, 1.0)]:
            found[part] = round(found.get(part, 0.0) + weight * share, _DIGITS)
    return tuple(found), tuple(found.values())
