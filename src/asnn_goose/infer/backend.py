"""What an engine runs on: compiled kernels, or the numpy oracle for tests and bare machines."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.reference.model import Reference
from asnn_goose.threads import usable_cores

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

BackendName = Literal["native", "reference"]
Memory = Literal["f32", "bf16"]
"""What the matrices of states are kept in."""

DTYPES = {"float16": "F16", "float32": "F32", "int8": "I8", "uint8": "U8", "uint64": "U64"}
"""Names that the compiled engine gives to element types."""

LARGE = 128 << 20
"""Bytes of weights from which one sequence alone gains from more threads
(docs/results.md: on two cores 279 MB run faster, 70 MB read a prompt slower)."""

UNSHARED = 2
"""References to an array that only its attribute and the call that counts them hold."""


class EngineError(ValueError):
    """The engine cannot do what it was asked; the message says what would be right."""


class SequenceState(Protocol):
    """What a sequence carries from token to token, in one piece."""

    @property
    def nbytes(self) -> int:
        """Length of `to_bytes`."""

    @property
    def position(self) -> int:
        """Tokens read so far."""

    def copy(self) -> SequenceState:
        """An independent state with the same contents."""

    def assign(self, other: Any) -> None:
        """Take over the contents of a state of the same model."""
        ...

    def to_bytes(self) -> bytes:
        """The contents, to be stored."""

    def load_bytes(self, data: bytes) -> None:
        """Take over stored contents. Raises ValueError for another length."""


class Backend(Protocol):
    """A model that advances states; `name` also tells apart the states of two backends."""

    name: BackendName

    def new_state(self) -> SequenceState:
        """The state before the first token."""

    def forward(
        self,
        states: Sequence[Any],
        tokens: Sequence[NDArray[np.int32]],
        *,
        every: bool,
        missed: float = 0.0,
        temperature: float = 1.0,
        spikes: NDArray[np.uint32] | None = None,
    ) -> NDArray[np.float32]:
        """Advance states; logits of every token, or of the last one of each state.

        Words that together hold no more than `missed` of the probability at that temperature may
        have rough logits.
        Spikes (states, places in the order of `counts`) are added to where they are asked for.
        """

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """Spikes counted since the last reset: name -> (came, could have come)."""

    def reset_counts(self) -> None:
        """Count from zero."""


class _ReferenceBackend(Reference):
    name: BackendName = "reference"


class _NativeBackend:
    """Hands the packed arrays to the compiled engine by address, and keeps them alive."""

    name: BackendName = "native"

    def __init__(self, model: PackedModel, *, threads: int | None, states: Memory) -> None:
        self._threads, self._vocab = threads, int(model.config["vocab_size"])
        self._large = sum(array.nbytes for array in model.tensors.values()) >= LARGE
        self._last = np.empty((0, self._vocab), np.float32)
        # Held here: the engine has addresses only, and would read freed memory.
        self._arrays = {name: np.ascontiguousarray(a) for name, a in model.tensors.items()}
        self._engine = native_module().Engine(
            flat(model.config),
            {name: described(array) for name, array in self._arrays.items()},
            {
                name: (int(m.get("steps", 0)), str(m.get("code", "")), bool(m.get("rotate", False)))
                for name, m in model.matrices.items()
            },
            states == "bf16",
        )

    def new_state(self) -> SequenceState:
        state: SequenceState = self._engine.new_state()
        return state

    def forward(
        self,
        states: Sequence[Any],
        tokens: Sequence[NDArray[np.int32]],
        *,
        every: bool,
        missed: float = 0.0,
        temperature: float = 1.0,
        spikes: NDArray[np.uint32] | None = None,
    ) -> NDArray[np.float32]:
        logits = self._room(sum(map(len, tokens)) if every else len(states))
        self._engine.forward(
            list(states),
            list(tokens),
            logits.ctypes.data,
            every,
            self.threads_for(states),
            missed,
            temperature,
            0 if spikes is None else spikes.ctypes.data,
        )
        return logits

    def _room(self, rows: int) -> NDArray[np.float32]:
        """An array (rows, V): the last one again where nobody holds it any more.

        Fresh memory of this size comes page by page from the system, which takes a tenth of a
        decode step.
        """
        if len(self._last) != rows or sys.getrefcount(self._last) > UNSHARED:
            self._last = np.empty((rows, self._vocab), np.float32)
        return self._last

    def threads_for(self, states: Sequence[Any]) -> int:
        """Threads that advance these states."""
        if self._threads is not None:
            return self._threads
        # One sequence of a small model is done before a second thread is awake.
        return usable_cores() if len(states) > 1 or self._large else 1

    def counts(self) -> Mapping[str, tuple[int, int]]:
        found: Mapping[str, tuple[int, int]] = self._engine.counts()
        return found

    def reset_counts(self) -> None:
        self._engine.reset_counts()


def make_backend(
    name: BackendName, model: PackedModel, *, threads: int | None, states: Memory
) -> Backend:
    """The backend of that name. Raises EngineError where it is not there."""
    if states not in get_args(Memory):
        raise EngineError(f"states = {states!r}: choose {' or '.join(get_args(Memory))}")
    if name == "reference":
        return _ReferenceBackend(model, bf16_states=states == "bf16")
    if name == "native":
        return _NativeBackend(model, threads=threads, states=states)
    raise EngineError(f"backend = {name!r}: choose native or reference")


def native_module() -> Any:
    """The compiled module. Raises EngineError where the install has none with an engine in it."""
    try:
        module = importlib.import_module("asnn_goose._native")
    except ImportError as error:
        raise EngineError(_missing(f"cannot be loaded ({error})")) from error
    if not hasattr(module, "Engine"):
        raise EngineError(_missing("was built without the engine"))
    return module


def _missing(what: str) -> str:
    return (
        f"the compiled module asnn_goose._native {what}: install a C++20 compiler (g++ or clang++)"
        " and then this package again (pip install -v shows why a build fails), or use"
        ' PyTorch: asnn-goose generate --engine torch (from Python also backend="reference", slow)'
    )


def flat(config: Mapping[str, Any]) -> dict[str, int | float | str | bool | list[float]]:
    """The settings that are numbers, lists of them, words or switches."""
    found: dict[str, int | float | str | bool | list[float]] = {}
    for key, value in config.items():
        if isinstance(value, int | float | str):
            found[key] = value
        elif isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value):
            found[key] = [float(x) for x in value]
    return found


def described(array: NDArray[Any]) -> tuple[int, str, tuple[int, ...]]:
    """Address, element type and shape."""
    return array.ctypes.data, DTYPES[array.dtype.name], array.shape
