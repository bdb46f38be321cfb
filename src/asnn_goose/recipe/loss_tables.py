"""Tables of a stage's losses and learning rates."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Self, get_type_hints

from pydantic import ConfigDict, model_validator

from asnn_goose.losses import (
    LOSSES,
    PAIR_LOSSES,
    VOCAB_LOSSES,
    PairLoss,
    Term,
    TraceLoss,
    VocabLoss,
)
from asnn_goose.names import hint
from asnn_goose.recipe.stage_tables import Phase, taught
from asnn_goose.recipe.table import Positive, Table, check_number, one_of

ALL_LOSSES: dict[str, type[TraceLoss] | type[VocabLoss] | type[PairLoss]] = {
    **LOSSES,
    **VOCAB_LOSSES,
    **PAIR_LOSSES,
}


class LossTable(Table):
    """One loss of a stage: its name, its weight, and the settings of its constructor."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, one_of(ALL_LOSSES)]
    weight: Positive = 1.0

    def term(self) -> Term:
        """The loss itself."""
        return Term(self.name, self.weight, ALL_LOSSES[self.name](**(self.model_extra or {})))

    def in_phase(self, phase: Phase) -> dict[str, Any] | None:
        """Its settings in a phase of a curriculum; None where it has no weight there."""
        loss = VOCAB_LOSSES.get(self.name)
        if loss is None:
            return self.model_dump()
        tempered = loss.uses_teacher and "temperature" in inspect.signature(loss).parameters
        settings = self.model_dump()
        return taught(settings, phase, tempered=tempered, teacher=loss.uses_teacher)

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        # The constructor is the table of keys; a second one would drift away from it.
        valid = inspect.signature(ALL_LOSSES[self.name]).parameters
        types = get_type_hints(ALL_LOSSES[self.name].__init__)
        for key, value in (self.model_extra or {}).items():
            check_number(key, value, types.get(key))
            if key not in valid:
                keys = {*valid, "name", "weight"}
                raise ValueError(f"loss {self.name!r} has no setting {key!r}: {hint(key, keys)}")
        try:
            # A loss is made once here, so that its own checks speak before a run begins.
            self.term()
        except TypeError as error:
            raise ValueError(f"loss {self.name!r}: {error}") from error
        return self


class LrScaleTable(Table):
    """Factors on the learning rate by group of parameters; `loss` is a loss's own.

    `decay` is that of the vectors from which decays start (RWKV trains them at twice the rate);
    without it they belong to `vector`.
    """

    matrix: Positive = 1.0
    vector: Positive = 1.0
    decay: Positive | None = None
    norm: Positive = 1.0
    embedding: Positive = 1.0
    quantiser: Positive = 1.0
    loss: Positive = 1.0
