"""What every table of a recipe is, and the types of its numbers and names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from asnn_goose.names import hint
from asnn_goose.numbers import SEEDS

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Table(BaseModel):
    """A table of a recipe: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(valid: Collection[str]) -> AfterValidator:
    """Validator of a name that must be a row of a table."""

    def check(name: str) -> str:
        if name not in valid:
            raise ValueError(hint(name, valid))
        return name

    return AfterValidator(check)
