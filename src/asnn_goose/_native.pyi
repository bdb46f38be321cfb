"""The compiled kernels and engine (csrc/). Tensors come in as addresses of contiguous arrays."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

def isas() -> list[str]:
    """Instruction sets that this build holds and this machine can run, slowest first."""

def isa() -> str:
    """The one in use: the fastest, or the one named by ASNN_GOOSE_ISA."""

def wkv7_forward(
    *,
    sizes: tuple[int, int, int, int],
    inputs: tuple[int, int, int, int, int, int],
    state: int,
    outputs: tuple[int, int, int],
    threads: int,
) -> None:
    """Inputs r, w, k, v, alpha, beta and the initial state; outputs y, p and the final state."""

def wkv7_backward(
    *,
    sizes: tuple[int, int, int, int],
    inputs: tuple[int, int, int, int, int, int],
    state: int,
    p: int,
    gradients_in: tuple[int, int],
    gradients_out: tuple[int, int, int, int, int, int, int],
    threads: int,
) -> None:
    """Gradients of y and of the final state come in, those of all inputs and the state go out."""

def wkv4_forward(
    *,
    sizes: tuple[int, int, int],
    inputs: tuple[int, int, int, int, int],
    marks: int,
    outputs: tuple[int, int, int, int],
    threads: int,
) -> None:
    """Inputs w, u, k, v and the initial state; outputs y, q, d and the final state.

    marks  bytes (B,T): 1 where a text starts, 2 for padding; 0 for none at all
    """

def wkv4_backward(
    *,
    sizes: tuple[int, int, int],
    inputs: tuple[int, int, int, int, int],
    marks: int,
    gradients_in: tuple[int, int, int, int],
    gradients_out: tuple[int, int, int, int, int],
    threads: int,
) -> None:
    """Y, q, d and the gradient of y come in; those of k, v, w and u (B,C) and the state go out."""

def lif_forward(
    *,
    sizes: tuple[int, int, int],
    neuron: tuple[float, float],
    is_signed: bool,
    inputs: tuple[int, int],
    marks: int,
    outputs: tuple[int, int, int],
    threads: int,
) -> None:
    """Neuron is tau and theta; inputs h and membranes; outputs spikes, membranes, the last ones."""

def lif_backward(
    *,
    sizes: tuple[int, int, int],
    neuron: tuple[float, float, float],
    is_signed: bool,
    is_detached: bool,
    marks: int,
    gradients_in: tuple[int, int, int, int],
    gradients_out: tuple[int, int],
    threads: int,
) -> None:
    """Membranes, slopes, gradients of spikes and last membranes come in; of h and state go out.

    neuron  tau, theta, and the alpha of an ATan surrogate, or 0 where slopes are given
    """

def quantise(
    *,
    sizes: tuple[int, int, int],
    planes: int,
    factor: float,
    weight: int,
    outputs: tuple[int, int],
    threads: int,
) -> None:
    """Rows, columns, columns of a group; codes and scales go out."""

def dense_of_planes(
    *,
    sizes: tuple[int, int, int],
    planes: int,
    inputs: tuple[int, int],
    out: int,
    threads: int,
) -> None:
    """The same sizes; codes and scales come in."""

def rotate(*, sizes: tuple[int, int], x: int, out: int, threads: int) -> None:
    """Tokens, columns."""

def code(
    *,
    sizes: tuple[int, int],
    rotate: bool,
    steps: int,
    top: int,
    threshold: float,
    x: int,
    outputs: tuple[int, int, int, int],
    threads: int,
) -> None:
    """Tokens, columns; levels, where gradients pass, amplitudes and values go out."""

def code_back(
    *, sizes: tuple[int, int], rotate: bool, inputs: tuple[int, int], dx: int, threads: int
) -> None:
    """Tokens, columns; where gradients pass and those of the values come in."""

def ternary_product(
    *,
    sizes: tuple[int, int, int],
    planes: int,
    top: int,
    inputs: tuple[int, int, int, int],
    y: int,
    threads: int,
) -> None:
    """Tokens, columns, rows; levels, amplitudes, codes and scales come in."""

def ternary_product_back(
    *,
    sizes: tuple[int, int, int],
    planes: int,
    inputs: tuple[int, int, int],
    dvalues: int,
    threads: int,
) -> None:
    """The same sizes; gradients of y, codes and scales come in."""

def values(
    *, sizes: tuple[int, int], top: int, inputs: tuple[int, int], out: int, threads: int
) -> None:
    """Tokens, columns; levels and amplitudes come in, what they stand for goes out."""

def turn(
    *,
    sizes: tuple[int, int, int, int],
    back: bool,
    inputs: tuple[int, int, int],
    y: int,
    threads: int,
) -> None:
    """Tokens, heads, size, half; cosines, sines and x come in."""

def delta_keys(
    *,
    sizes: tuple[int, int, int],
    least: float,
    inputs: tuple[int, int, int, int],
    outputs: tuple[int, int, int, int],
    threads: int,
) -> None:
    """Tokens, heads, size; k, a, removal, replacement; kappa, alpha, beta and written go out."""

def delta_keys_back(
    *,
    sizes: tuple[int, int, int],
    least: float,
    inputs: tuple[int, int, int, int],
    gradients_in: tuple[int, int, int, int],
    gradients_out: tuple[int, int, int, int],
    threads: int,
) -> None:
    """Gradients of the outputs come in, 0 for none; those of the inputs go out."""

def norm(
    *, sizes: tuple[int, int], eps: float, inputs: tuple[int, int], y: int, threads: int
) -> None:
    """Tokens, columns; x and weight come in."""

def norm_back(
    *,
    sizes: tuple[int, int],
    eps: float,
    inputs: tuple[int, int, int],
    outputs: tuple[int, int],
    threads: int,
) -> None:
    """Tokens, columns; x, weight and the gradient of y come in, those of x and weight go out."""

def divergence(
    *,
    sizes: tuple[int, int, int],
    tau: float,
    least: float,
    inputs: tuple[int, ...],
    outputs: tuple[int, int],
    threads: int,
) -> None:
    """Tokens, words, top words.

    Student's logits, then the teacher's or (with 0 for them) ids, log-probabilities and those of
    the rest come in; values and slopes go out.
    """

class Limits(TypedDict):
    """What the engine takes; a test holds it to asnn_goose.shape."""

    sizes: dict[str, list[int]]  # least, most, multiple
    numbers: dict[str, float]  # above 0, up to this
    none: list[str]  # numbers that may be 0
    by_layer: dict[str, float]  # for every layer from 0 to this
    words: dict[str, list[str]]
    switches: list[str]
    absent: list[str]  # settings that must be false, 0, or not there
    inner: int  # most heads * head_size
    columns: int  # of a rotation; groups are multiples of it
    steps: dict[str, int]  # of each code, at most
    least_key: list[float]  # least length of a removal key: analogue, and spiking

def limits() -> Limits:
    """The tables by which the engine checks a configuration."""

class State:
    """What one sequence carries from token to token."""

    def copy(self) -> State: ...
    def assign(self, other: State) -> None:
        """Take over the other one's contents. Raises ValueError for another model's."""
    def to_bytes(self) -> bytes: ...
    def load_bytes(self, data: bytes) -> None: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def position(self) -> int: ...

class Engine:
    """A packed student; docs/engine.md says what the arguments are. Raises ValueError."""

    def __init__(
        self,
        config: Mapping[str, bool | int | float | str | list[float]],
        tensors: Mapping[str, tuple[int, str, Sequence[int]]],
        matrices: Mapping[str, tuple[int, str, bool]],
    ) -> None: ...
    def new_state(self) -> State: ...
    def forward(
        self,
        states: Sequence[State],
        tokens: Sequence[NDArray[np.int32]],
        logits: int,
        every: bool,
        threads: int,
        missed: float = 0.0,
        temperature: float = 1.0,
    ) -> None: ...
    def usage(self) -> list[tuple[str, int, int, int, int, int]]:
        """Of every matrix: name, rows, columns, steps, vectors multiplied, spikes in them.

        Sites without a matrix (a mixer's k and v) have 0 rows.
        """

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of every spiking matrix or site: spikes that came, and that could have come."""

    def reset_counts(self) -> None: ...

class TernaryMatrix:
    """One ternary matrix by itself, for benchmarks and tests."""

    def __init__(
        self, planes: int, P: int, M: int, K: int, groups: int, scale: int, sides: bool = False
    ) -> None: ...
    def multiply(
        self,
        x: int,
        y: int,
        rows: int,
        steps: int,
        code: str,
        threshold: float,
        rotate: bool,
        repeats: int = 1,
    ) -> None: ...
    def encode(
        self,
        x: int,
        codes: int,
        amplitude: int,
        rows: int,
        steps: int,
        code: str,
        threshold: float,
        rotate: bool,
        fixed: float = 0.0,
        fires: float = 0.0,
    ) -> None: ...
    def prepare(self, codes: int, rows: int, steps: int, code: str) -> None: ...
    def product(self, y: int, repeats: int = 1) -> None: ...

class DenseMatrix:
    """One dense matrix by itself, for benchmarks and tests."""

    def __init__(
        self, tensors: Mapping[str, tuple[int, str, Sequence[int]]], name: str, M: int, K: int
    ) -> None: ...
    def multiply(self, x: int, y: int, rows: int, repeats: int = 1) -> None: ...

def sample(
    logits: int,
    vocab: int,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    uniform: float,
) -> int:
    """One token; csrc/engine/sampler.h says how it is drawn. -1 where a logit is no number."""

def log_total(logits: int, vocab: int) -> float:
    """The logarithm of the sum of all exponentials."""

def distribution(
    logits: int,
    vocab: int,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    tokens: int,
    probabilities: int,
) -> int:
    """How many tokens can be drawn; they and their probabilities go to the last two addresses."""
