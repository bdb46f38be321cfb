"""What is asked of the engine thread, and what it tells in return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.server.answer_text import AnswerText
from asnn_goose.infer.server.chooser import Chooser, Drawn

Reason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A prompt is read; `cached` of its tokens were known already."""

    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A token was drawn; `text` is empty where it has not become text yet.

    spikes  of each spiking place, per token read on the way to this one; None if not asked for
    """

    choice: int
    drawn: Drawn
    text: str
    spikes: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An answer is over; `text` is what was held back until now, `read` all tokens behind it."""

    choice: int
    text: str
    reason: Reason
    read: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The whole job is over, without an answer."""

    status: int
    message: str


Event = Begun | Piece | Ended | Failed


@dataclass(slots=True, kw_only=True, eq=False)
class Choice:
    """One answer on its way.

    ends    tokens after which it is over
    limit   tokens it may have
    drawn   those it has, without a token that ends it
    """

    number: int
    chooser: Chooser
    writer: AnswerText
    ends: frozenset[int]
    limit: int
    drawn: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A prompt to read, and answers to write; without any it is only read and kept.

    boundaries  lengths of beginnings that other prompts will share
    deadline    of time.monotonic()
    counted     whether spikes are asked for
    cancelled   set by anybody, at any time
    """

    prompt: Sequence[int]
    choices: Sequence[Choice]
    boundaries: Sequence[int] = ()
    deadline: float = float("inf")
    counted: bool = False
    cancelled: bool = False
