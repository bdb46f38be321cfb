"""Which token comes next.

In this order: repetition penalty, temperature, top-k, top-p, min-p, and a draw by inverse
transform. Tokens are ranked by logit, ties by id, so that one uniform number fixes the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.backend import EngineError, native_module

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

DAMAGED = "the model's logits are NaN: its weights, or its state, are damaged"
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    temperature         divides the logits; below 1 sharper
    top_k               keep only this many most likely tokens; 0 keeps all
    top_p               keep a token while those ranked before it hold less than this probability
                        together (Holtzman et al. 2020, arXiv 1904.09751); the first always stays
    min_p               keep tokens at least this many times as likely as the likeliest (Nguyen et
                        al. 2024, arXiv 2407.01082); 0 keeps all
    repetition_penalty  divides the positive and multiplies the negative logits of tokens seen
                        before (Keskar et al. 2019, arXiv 1909.05858); 1 changes nothing
    greedy              take the most likely token after the penalty, whatever the rest says
    Raises ValueError for values that mean nothing.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"temperature = {self.temperature:g}: must be above 0 and finite; greedy takes"
                " the most likely token"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k = {self.top_k}: must be 1 or more, or 0 for all tokens")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p:g}: must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p = {self.min_p:g}: must be at least 0 and at most 1")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(
                f"repetition_penalty = {self.repetition_penalty:g}: must be above 0 and finite; 1"
                " is none"
            )

    @property
    def unnoticed(self) -> float:
        """Probability that words with rough logits may hold before this drawing could notice.

        Words that `top_p` cuts off are never drawn; less than half of what it cuts may be rough, so
        that those near the border are exact. 1 for a drawing that only asks for the first word.
        """
        if self.greedy and self.repetition_penalty == 1:
            return 1.0
        # With a penalty the order of words changes: then all must be exact.
        plain = self.repetition_penalty == 1 and not self.greedy
        return 0.4 * (1 - self.top_p) if plain else 0.0

    @property
    def rough(self) -> dict[str, float]:
        """What the engine may leave rough for this drawing, as `Engine.step` takes it."""
        return {"missed": self.unnoticed, "temperature": self.temperature}


class Drawing(NamedTuple):
    """Tokens that can come next, in any order, and their probabilities."""

    ids: I64
    p: F64

    @classmethod
    def certain(cls, token: int) -> Drawing:
        """The one token that can come."""
        return cls(np.array([token]), np.ones(1))

    def of(self, token: int) -> float:
        """The probability of a token."""
        return float(self.p[self.ids == token].sum())

    def at(self, uniform: float) -> int:
        """The token at `uniform` in [0, 1) of the probability, in the order that it is in."""
        reached = np.cumsum(self.p)
        place = int(np.searchsorted(reached, uniform * reached[-1], side="right"))
        return int(self.ids[min(place, len(self.ids) - 1)])

    def without(self, other: Drawing) -> Drawing:
        """What is left in proportion to max(0, p - q), with q the other's probabilities.

        Where rounding leaves nothing, this one.
        """
        q_V = np.zeros(1 + max(int(self.ids.max()), int(other.ids.max())))
        q_V[other.ids] = other.p
        rest = np.maximum(self.p - q_V[self.ids], 0)
        total = rest.sum()
        return Drawing(self.ids, rest / total) if total > 0 else self


def choose(
    logits_V: F32, sampling: Sampling, recent_ids: Iterable[int] = (), uniform: float = 0.0
) -> int:
    """One token id from logits (V,); `uniform` in [0, 1) decides.

    It falls where the running sum of probability, most likely first, exceeds it.
    Raises EngineError for logits that are no numbers.
    """
    logits_V = penalised(logits_V, recent_ids, penalty=sampling.repetition_penalty)
    if sampling.greedy:
        return int(logits_V.argmax())
    ids, p = distribution(logits_V, sampling)
    reached = np.cumsum(p)
    # Scaled by the sum that was really reached, which rounding leaves a little off 1.
    place = np.searchsorted(reached, uniform * reached[-1], side="right")
    return int(ids[min(int(place), len(ids) - 1)])


def distribution(logits_V: F32, sampling: Sampling) -> tuple[I64, F64]:
    """The tokens that stay, most likely first (ties by id), and their probabilities.

    Does everything that comes after the repetition penalty.
    """
    # Stable, so that ties go by id: the compiled sampler ranks alike, and seeds mean the same in
    # both.
    ids = np.argsort(-logits_V, kind="stable")
    # In fp64: a running sum over 49 152 words in fp32 can end below the uniform number.
    ranked = logits_V[ids].astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature leaves the likeliest alone
        p = np.exp((ranked - ranked[0]) / sampling.temperature)
    if sampling.top_k:
        ids, p = ids[: sampling.top_k], p[: sampling.top_k]
    p /= p.sum()
    # What stands before a token counts, not the token itself: the first always stays.
    kept = (np.cumsum(p) - p < sampling.top_p) & (p >= sampling.min_p * p[0])
    ids, p = ids[kept], p[kept]
    return ids, p / p.sum()


def penalised(logits_V: F32, recent_ids: Iterable[int], *, penalty: float) -> F32:
    """Logits with those of the seen tokens made less likely (a copy, where anything changes).

    Raises EngineError for NaN.
    """
    # Looked for here, as a comparison with NaN is false and the draw would take any word.
    if np.isnan(logits_V).any():
        raise EngineError(DAMAGED)
    if penalty == 1:
        return logits_V
    seen = np.fromiter(recent_ids, np.int64)
    changed_V = logits_V.copy()
    values = changed_V[seen]
    penalty = min(max(penalty, SMALLEST), LARGEST)  # in fp32 it would be 0 or infinite
    with np.errstate(over="ignore"):
        # Multiplied where negative: to divide there would make a seen word likelier.
        found = np.where(values > 0, values / penalty, values * penalty)
    # Of two infinite logits none would be the larger.
    changed_V[seen] = np.clip(found, -LARGEST, LARGEST)
    return changed_V


class Drawer:
    """Draws one token after another; a seed makes them repeatable.

    native  choose with the compiled sampler, which gives the same tokens faster
    seen    ids that the repetition penalty is for
    """

    def __init__(
        self, sampling: Sampling, *, seed: int | None = None, native: bool = False
    ) -> None:
        self.sampling, self.seen = sampling, set[int]()
        # Named, because numpy's default generator may become another one.
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._native: Any = native_module() if native else None
        self._room: Drawing | None = None

    def see(self, ids: Iterable[int]) -> None:
        """Remember tokens, where there is a penalty to give them."""
        if self.sampling.repetition_penalty != 1:
            self.seen.update(ids)

    def draw(self, logits_V: F32) -> int:
        """One token id from logits (V,)."""
        # No number is drawn: greedy text must not hang on how many draws came before.
        if self.sampling.greedy:
            return choose(logits_V, self.sampling, self.seen)
        uniform = float(self._random.random())
        if self._native is None:
            return choose(logits_V, self.sampling, self.seen, uniform)
        return self._compiled(logits_V, uniform)

    def uniform(self) -> float:
        """A number in [0, 1); where nothing is drawn always the same, and none is used up."""
        return 0.0 if self.sampling.greedy else float(self._random.random())

    def drawing(self, logits_V: F32, *, after: Sequence[int] = ()) -> Drawing:
        """What `draw` would draw from, if these tokens had been seen as well."""
        sampling = self.sampling
        seen = self.seen.union(after) if sampling.repetition_penalty != 1 else self.seen
        logits_V = penalised(logits_V, seen, penalty=sampling.repetition_penalty)
        if sampling.greedy:
            return Drawing.certain(int(logits_V.argmax()))
        if self._native is None:
            return Drawing(*distribution(logits_V, sampling))
        return self._compiled_drawing(np.ascontiguousarray(logits_V, np.float32))

    def _compiled_drawing(self, logits_V: F32) -> Drawing:
        if self._room is None or len(self._room.ids) != len(logits_V):
            self._room = Drawing(np.empty(len(logits_V), np.int64), np.empty(len(logits_V)))
        count: int = self._native.distribution(
            logits_V.ctypes.data,
            len(logits_V),
            **self._cuts(len(logits_V)),
            tokens=self._room.ids.ctypes.data,
            probabilities=self._room.p.ctypes.data,
        )
        return Drawing(self._room.ids[:count].copy(), self._room.p[:count].copy())

    def _cuts(self, words: int) -> dict[str, float]:
        sampling = self.sampling
        top_k = min(sampling.top_k, words)  # any number, and C++ has 64 bits
        cuts = {"temperature": sampling.temperature, "top_k": top_k}
        return cuts | {"top_p": sampling.top_p, "min_p": sampling.min_p}

    def _compiled(self, logits_V: F32, uniform: float) -> int:
        penalty = self.sampling.repetition_penalty
        if penalty != 1:
            logits_V = penalised(logits_V, self.seen, penalty=penalty)
        logits_V = np.ascontiguousarray(logits_V, np.float32)
        token: int = self._native.sample(
            logits_V.ctypes.data, len(logits_V), **self._cuts(len(logits_V)), uniform=uniform
        )
        if token < 0:
            raise EngineError(DAMAGED)
        return token


def log_total(logits_V: F32, *, native: bool) -> float:
    """The logarithm of the sum of all exponentials: a logit less this is its log-probability."""
    if native:
        logits_V = np.ascontiguousarray(logits_V, np.float32)
        found: float = native_module().log_total(logits_V.ctypes.data, len(logits_V))
        return found
    wide_V = logits_V.astype(np.float64)
    most = float(wide_V.max())
    return most + float(np.log(np.exp(wide_V - most).sum()))
