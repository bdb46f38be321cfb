"""Running a packed model: the compiled engine, or the numpy oracle in its place.

A state is everything that a sequence carries; the caller holds it and may fork, save and load it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asnn_goose.infer.backend import (
    BackendName,
    EngineError,
    Memory,
    SequenceState,
    make_backend,
)
from asnn_goose.infer.draw import draw
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.state_file import fingerprint, read_state, write_state
from asnn_goose.numbers import MOST_THREADS

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

F32 = NDArray[np.float32]

SCORED = 64
"""Positions whose logits `score` holds at a time."""

PREFILL = 256
"""Tokens that are read in one call, between which Ctrl-C is heard."""


class Engine:
    """A packed model, ready to run.

    threads   threads to use; None takes what suits the call: all cores this process may use for
              several sequences or a model of LARGE bytes and more, one otherwise
    backend   "native" (compiled) or "reference" (numpy: exact and slow)
    states    "f32", or "bf16": half the memory of a state's matrices, rounded after every token
    Raises EngineError where the backend is missing.
    """

    def __init__(
        self,
        model: PackedModel,
        *,
        threads: int | None = None,
        backend: BackendName = "native",
        states: Memory = "f32",
    ) -> None:
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise EngineError(f"threads = {threads}: must be 1 to {MOST_THREADS}")
        self.model, self.threads, self.states = model, threads, states
        self.vocab_size = int(model.config["vocab_size"])
        self._backend = make_backend(backend, model, threads=threads, states=states)

    @classmethod
    def load(
        cls,
        folder_or_packed: str | Path | PackedModel,
        threads: int | None = None,
        *,
        backend: BackendName = "native",
        states: Memory = "f32",
    ) -> Engine:
        """An engine on a packed folder, or on a model that was read from one.

        Raises PackedError for a folder that holds no sound packed model.
        """
        from asnn_goose.format.packed import read_packed

        model = folder_or_packed
        if isinstance(model, str | Path):
            model = read_packed(Path(model).expanduser())
        return cls(model, threads=threads, backend=backend, states=states)

    @property
    def backend(self) -> BackendName:
        """What it runs on."""
        return self._backend.name

    def start(self) -> SequenceState:
        """The state before the first token."""
        return self._backend.new_state()

    def step(
        self,
        states: Sequence[SequenceState],
        tokens: Sequence[int],
        *,
        missed: float = 0.0,
        temperature: float = 1.0,
    ) -> F32:
        """Advance every state by its token; logits (number of states, V) of what comes next.

        missed       probability that unlikely words may hold whose logits are some tenths off,
                     which makes an int8 head faster (Sampling.unnoticed); 0 makes all exact
        temperature  at which that probability is meant
        """
        if len(states) != len(tokens):
            raise EngineError(f"{len(tokens)} tokens for {len(states)} states: give one each")
        if not states:
            raise EngineError("no states: give at least one")
        ids = [self._ids([token]) for token in tokens]
        return self._backend.forward(
            states, ids, every=False, missed=missed, temperature=temperature
        )

    def advance(
        self,
        states: Sequence[SequenceState],
        tokens: Sequence[ArrayLike],
        *,
        spikes: NDArray[np.uint32] | None = None,
    ) -> F32:
        """Advance every state over its own tokens, one or more; logits (states, V) after them.

        A state's logits do not depend on who else is there, nor on how its tokens are dealt out to
        calls.

        spikes  (states, len(spiking)), C-contiguous: the spikes of each are added to it
        """
        ids = self._texts(states, tokens)
        wanted = (len(states), len(self.spiking))
        if spikes is not None and (spikes.shape != wanted or not spikes.flags.c_contiguous):
            raise EngineError(f"spikes of shape {spikes.shape}: must be {wanted}, C-contiguous")
        return self._backend.forward(states, ids, every=False, spikes=spikes)

    @cached_property
    def spiking(self) -> tuple[str, ...]:
        """Names of the places that spike, as in `counts`."""
        return tuple(self.counts())

    def prefill(
        self,
        state: SequenceState,
        tokens: ArrayLike,
        *,
        missed: float = 0.0,
        temperature: float = 1.0,
    ) -> F32:
        """Read tokens (T,), at least one; logits (V,) after the last; the rest as in `step`."""
        logits = None
        # In parts, because the compiled engine hears no Ctrl-C while it reads.
        for ids in self._parts(tokens, PREFILL):
            logits = self._backend.forward(
                [state], [ids], every=False, missed=missed, temperature=temperature
            )
        assert logits is not None
        return np.asarray(logits[0])

    def score(
        self, state: SequenceState, tokens: ArrayLike, *, chunk: int = SCORED
    ) -> Iterator[F32]:
        """Read tokens (T,); logits (t,V) after each of them, at most `chunk` rows at a time."""
        for ids in self._parts(tokens, chunk):
            yield self._backend.forward([state], [ids], every=True)

    def score_each(
        self,
        states: Sequence[SequenceState],
        tokens: Sequence[ArrayLike],
        *,
        missed: float = 0.0,
        temperature: float = 1.0,
    ) -> list[F32]:
        """Advance every state over its own tokens; logits (t,V) after each of them, state by state.

        All logits are there at once: give short texts. The rest as in `step`.
        """
        ids = self._texts(states, tokens)
        logits = self._backend.forward(
            states, ids, every=True, missed=missed, temperature=temperature
        )
        return np.split(logits, np.cumsum([len(text) for text in ids])[:-1])

    def generate(
        self,
        state: SequenceState,
        tokens: ArrayLike,
        *,
        sampling: Sampling | None = None,
        limit: int,
        seed: int | None = None,
        ends: Collection[int] = (),
    ) -> Iterator[int]:
        """Read tokens, then yield up to `limit` drawn ones, until one is in `ends` (not yielded).

        The state has read all tokens before the last one drawn.
        """
        sampling = sampling or Sampling()
        drawer = Drawer(sampling, seed=seed, native=self.backend == "native")
        read = partial(self.prefill, state, **sampling.rough)
        prompt = np.asarray(tokens, np.int64).reshape(-1).tolist()
        return draw(read, prompt, drawer=drawer, limit=limit, ends=ends)

    def fork(self, state: SequenceState) -> SequenceState:
        """A copy that goes its own way."""
        return state.copy()

    def save(self, state: SequenceState, path: str | Path, **notes: Any) -> None:
        """Write a state to a file, with notes (JSON) that `load_state` gives back."""
        header = {"position": state.position, "notes": notes, **self._fits}
        write_state(Path(path), state.to_bytes(), header)

    def load_state(self, path: str | Path) -> tuple[SequenceState, dict[str, Any]]:
        """A saved state and its notes. Raises EngineError for another model's, or a damaged one."""
        data, header = read_state(Path(path), fits=self._fits)
        state = self.start()
        state.load_bytes(data)
        return state, header["notes"]

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """Spikes by name since the last reset: (came, could have come)."""
        return self._backend.counts()

    def reset_counts(self) -> None:
        """Count from zero."""
        self._backend.reset_counts()

    @cached_property
    def _fits(self) -> dict[str, str]:
        # A state means something to the model that made it alone; the oracle's has another layout.
        fits = {"backend": self.backend, "model": fingerprint(self.model)}
        return fits if self.states == "f32" else fits | {"states": self.states}

    def _parts(self, tokens: ArrayLike, size: int) -> Iterator[NDArray[np.int32]]:
        ids = self._ids(tokens)
        if not len(ids):
            raise EngineError("no tokens: give at least one")
        return (ids[start : start + size] for start in range(0, len(ids), size))

    def _texts(
        self, states: Sequence[SequenceState], tokens: Sequence[ArrayLike]
    ) -> list[NDArray[np.int32]]:
        if len(states) != len(tokens) or not states:
            raise EngineError(f"{len(tokens)} texts for {len(states)} states: give one each")
        return [self._ids(text) for text in tokens]

    def _ids(self, tokens: ArrayLike) -> NDArray[np.int32]:
        ids = np.asarray(tokens).reshape(-1)
        # An id out of range would be read from memory behind the embedding.
        if len(ids) and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise EngineError(
                f"token {ids.min() if ids.min() < 0 else ids.max()}: must be at least 0 and below"
                f" the vocabulary's {self.vocab_size}"
            )
        return np.ascontiguousarray(ids, np.int32)
