"""What a matrix takes on this machine's engine, as a sum of what its product must do.

Random students of several shapes, planes, steps and thresholds decode in turns. To their times the
seconds for each kind of work are fitted (least squares of the relative errors, nothing negative:
Lawson and Hanson 1974), and a number for whatever else a student of a shape does. So no plane, step
or spike more can cost less. Kept in a file for each processor, instruction set and build of the
engine.
"""

from __future__ import annotations

import json
import statistics
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose import __version__, disk
from asnn_goose.eval.random_student import random_student
from asnn_goose.eval.spike_stats import densities
from asnn_goose.format.packed import PackedModel
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine
from asnn_goose.model.parts.precision import Precision
from asnn_goose.shape.student import matrices
from asnn_goose.sources.cache import cache_dir


class Product(NamedTuple):
    """A matrix and what comes into it; `firing` is the share of its inputs that fire in a step."""

    rows: int
    columns: int
    planes: int
    steps: int
    firing: float


def _spiking(count: Callable[[Product], float]) -> Callable[[Product], float]:
    return lambda p: count(p) if p.planes and p.steps else 0.0


KINDS: dict[str, Callable[[Product], float]] = {
    "inputs coded": _spiking(lambda p: p.columns * p.steps),
    "rows scaled": _spiking(lambda p: p.rows * p.planes),
    "rows counted": _spiking(lambda p: p.rows * p.planes * p.steps),
    "weights read": _spiking(lambda p: _weights(p) * (1 - (1 - p.firing) ** p.steps)),
    "weights added": _spiking(lambda p: _weights(p) * p.steps * p.firing),
    "weights under analogue inputs": lambda p: _weights(p) if p.planes and not p.steps else 0.0,
    "dense weights": lambda p: 0.0 if p.planes else float(p.rows * p.columns),
}
"""Work of one product, by what it is."""


def _weights(p: Product) -> float:
    return float(p.planes * p.rows * p.columns)


def work(products: Iterable[Product]) -> NDArray[np.float64]:
    """Work of some products together, in the order of KINDS."""
    counted = [[count(p) for count in KINDS.values()] for p in products]
    totals: NDArray[np.float64] = np.array(counted).reshape(-1, len(KINDS)).sum(axis=0)
    return totals


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Seconds of each kind of work on one machine.

    error  root mean square of the relative errors on the students that it was fitted to
    """

    machine: Mapping[str, str]
    seconds: Mapping[str, float]
    error: float

    def of(self, products: Iterable[Product]) -> float:
        """Seconds that some products take."""
        return float(work(products) @ np.array([self.seconds[kind] for kind in KINDS]))


class Sample(NamedTuple):
    """A student that was measured: its shape by number, its products, seconds of a token."""

    shape: int
    products: Sequence[Product]
    seconds: float


def fit(samples: Sequence[Sample], *, machine: Mapping[str, str]) -> CostModel:
    """The model with the least squared relative errors and nothing below 0."""
    from scipy.optimize import nnls

    rests = np.eye(1 + max(sample.shape for sample in samples))
    taken = np.array([sample.seconds for sample in samples])
    rows = np.array([[*work(sample.products), *rests[sample.shape]] for sample in samples])
    # In units of the largest of each kind: counts differ by millions.
    unit = np.maximum(rows.max(axis=0), 1.0)
    found, left = nnls(rows / unit / taken[:, None], np.ones(len(samples)))
    seconds = dict(zip(KINDS, (found / unit).tolist(), strict=False))
    return CostModel(machine=machine, seconds=seconds, error=left / len(samples) ** 0.5)


SHAPES = (
    {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8},
    {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 3},
    {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 1},
)
"""Students that are measured; head and vocabulary next to nothing."""

FORMS = (
    *((planes, 1, threshold) for planes in (1, 2) for threshold in (0.7, 2.0)),
    *((planes, 3, threshold) for planes in (1, 2) for threshold in (3.0, 6.0)),
    (1, 2, 2.5),
    (1, 0, 1.0),
    (0, 0, 1.0),
)
"""Planes, steps and threshold: two rates of firing where there are spikes."""

WARM_UP, ROUNDS = 3, 25


def measured(*, tell: Callable[[], None] = lambda: None) -> CostModel:
    """Measure this machine, which takes a minute; `tell` is called for every student made."""
    students = [(shape, engine) for shape in range(len(SHAPES)) for engine in _engines(shape, tell)]
    # A token of each in turn: a busy minute of the machine meets all of them, and every one finds
    # its weights in memory and not in a cache, as a student of real size does.
    turns = [[_token_seconds(engine) for _, engine in students] for _ in range(WARM_UP + ROUNDS)]
    taken = [statistics.median(column) for column in zip(*turns[WARM_UP:], strict=True)]
    samples = [
        Sample(shape, products_of(engine.model, densities(dict(engine.counts()))), seconds)
        for (shape, engine), seconds in zip(students, taken, strict=True)
    ]
    return fit(samples, machine=this_machine())


def _engines(shape: int, tell: Callable[[], None]) -> Iterator[Engine]:
    sizes = SHAPES[shape] | {"vocab_size": 64, "head_size": 64}
    sizes["num_attention_heads"] = sizes["hidden_size"] // 64
    for planes, steps, threshold in FORMS:
        precision = Precision(planes=planes, steps=steps, threshold=threshold, rotate=steps > 0)
        made = random_student(sizes, precision)._asdict()
        tell()
        yield Engine(PackedModel(folder=Path(), crc32="", **made), threads=1)


def _token_seconds(engine: Engine) -> float:
    state = engine.start()
    # Of this thread, which does all of it: what others do meanwhile is not the engine's.
    started = time.thread_time()
    engine.step([state], [1])
    return time.thread_time() - started


def products_of(model: PackedModel, firing: Mapping[str, float]) -> list[Product]:
    """The large matrices of a packed student's blocks, with the share that fires by name."""
    found = []
    for layer in range(model.config["num_hidden_layers"]):
        for slot in matrices(model.config, layer):
            words = model.tensors.get(f"{slot.name}.planes")
            planes = 0 if words is None else len(words)
            steps = model.matrices.get(slot.name, {}).get("steps", 0)
            fires = firing.get(slot.name, 0.0)
            found.append(Product(slot.rows, slot.columns, planes, steps, fires))
    return found


def this_machine() -> dict[str, str]:
    """What a measurement holds for: processor, instruction set, build of the engine."""
    module = native_module()
    build = zlib.crc32(Path(module.__file__).read_bytes())
    return {
        "processor": _processor(),
        "instruction set": module.isa(),
        "engine": f"{__version__} {build:08x}",
    }


def _processor() -> str:
    """Name, family, model and stepping; the architecture where the system does not tell them."""
    import platform

    wanted = ("model name", "cpu family", "model", "stepping")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    found = [told[key] for key in wanted if key in told]
    return " ".join(found) or platform.processor() or platform.machine()


def kept(machine: Mapping[str, str] | None = None) -> CostModel | None:
    """What was measured on this machine before; None where nothing was, or it cannot be read."""
    machine = machine or this_machine()
    try:
        found = json.loads(disk.read_text(_file(machine)))
        model = CostModel(**found)
        sound = set(model.seconds) == set(KINDS) and min(model.seconds.values()) >= 0
        return model if sound and dict(model.machine) == dict(machine) else None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def of_this_machine(*, tell: Callable[[], None] = lambda: None) -> CostModel:
    """What was measured before, or what is measured now and kept."""
    if (found := kept()) is not None:
        return found
    model = measured(tell=tell)
    file = _file(model.machine)
    file.parent.mkdir(parents=True, exist_ok=True)
    disk.write_text(file, json.dumps(asdict(model), indent=1) + "\n")
    return model


def _file(machine: Mapping[str, str]) -> Path:
    said = json.dumps(dict(machine), sort_keys=True).encode()
    return cache_dir() / "engine" / f"costs-{zlib.crc32(said):08x}.json"
