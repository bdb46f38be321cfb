"""The configuration of a student, held to the tables of mixers and MLPs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asnn_goose.model.mixers import MIXERS
from asnn_goose.model.mixers.mixer import Mixer
from asnn_goose.model.mlps import MLPS
from asnn_goose.model.mlps.mlp import MLP
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.precision_table import BLOCK_SITES, Places, check_fit, check_table
from asnn_goose.names import lookup


class GooseConfig(StudentSettings):
    """What Transformers saves and loads; the settings themselves are those of StudentSettings.

    Raises ValueError that names the setting, the value found and what would be right.
    """

    model_type = "asnn_goose"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # Here and not in the shared settings, for the table of mixers imports those.
        lookup(MIXERS, self.mixer, setting="mixer")
        lookup(MLPS, self.mlp, setting="mlp")
        check_table(self.precision, places=_places(self))

    @property
    def matrix_columns(self) -> dict[str, int]:
        """Columns of every matrix of a block, by the names that `precision` uses."""
        return MIXERS[self.mixer].columns(self) | MLPS[self.mlp].columns(self)

    def check_precision(self) -> None:
        """Raise ValueError where `precision` does not fit this very shape.

        A student makes this check, not the configuration: the one in a recipe's [student] has
        no shape before a teacher is known.
        """
        check_fit(
            self.precision or {},
            columns=self.matrix_columns,
            sites=(*MIXERS[self.mixer].sites, *BLOCK_SITES),
            layers=self.num_hidden_layers,
        )


def check_words(precision: object) -> None:
    """Raise ValueError for a table of precision that is wrong in every student."""
    check_table(precision, places=_places(GooseConfig()))


def sites() -> frozenset[str]:
    """Signals of any mixer that may spike with no matrix behind them, as `precision` names them."""
    return frozenset(site for mixer in MIXERS.values() for site in mixer.sites)


def _places(settings: StudentSettings) -> Places:
    """What any mixer and MLP has: a recipe may set precision before its teacher is known."""
    names = dict.fromkeys(name for part in _parts() for name in part.columns(settings))
    found = dict.fromkeys(site for mixer in MIXERS.values() for site in mixer.sites)
    return Places(matrices=tuple(names), sites=(*found, *BLOCK_SITES))


def _parts() -> Iterator[type[Mixer] | type[MLP]]:
    yield from MIXERS.values()
    yield from MLPS.values()
