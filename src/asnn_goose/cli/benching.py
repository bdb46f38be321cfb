"""What `bench` measures, and the folder it measures it on."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asnn_goose import __version__
from asnn_goose.cli.bench_tables import show
from asnn_goose.cli.engine_model import packed_folder
from asnn_goose.cli.places import SubjectError
from asnn_goose.eval import speed
from asnn_goose.eval.energy import Work, dense_picojoules, work_per_token
from asnn_goose.eval.spike_stats import by_site, densities, overall
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine

if TYPE_CHECKING:
    from asnn_goose.infer.backend import BackendName

CALIBRATION = 64
"""Tokens on which thresholds of a random student are set."""

SPREAD = 3.8
"""Deviation of its logits in nats: Gaussian ones over 49 152 words then have an entropy of 3.6, as
those of a small trained model. Flat logits would cost a screened head more than real ones do."""


@dataclass(frozen=True, kw_only=True)
class Random:
    """A random student: shape by name, precision of its block matrices, wanted density."""

    shape: str | None = None
    planes: int = 1
    steps: int = 1
    code: str = "radix3"
    group: int = 0
    density: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    model: str | None
    random: Random | None
    tokens: int
    prompt: int
    concurrent: tuple[int, ...]
    threads: tuple[int, ...]
    repeats: int
    backend: BackendName
    json: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Tokens per second; prefill is one sequence's."""

    threads: int
    concurrent: int
    decode: float
    prefill: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything that was measured."""

    name: str
    backend: str
    isa: str
    rates: list[Rate]
    start: speed.Start
    density: float
    sites: dict[str, dict[int, float]]
    work: list[Work]
    dense: dict[str, float]


def run(request: Request) -> None:
    """Measure, print the tables, write the JSON file. Raises SubjectError."""
    if (request.model is None) == (request.random is None):
        raise SubjectError("give either a model or --random SHAPE")
    if request.repeats < 1:
        raise SubjectError(f"--repeats {request.repeats}: must be at least 1")
    with folder_of(request) as folder:
        result = measure(folder, request)
    show(result)
    if request.json:
        content = json.dumps(as_json(result, request), indent=1)
        request.json.write_text(content + "\n", encoding="utf-8")


@contextmanager
def folder_of(request: Request) -> Iterator[Path]:
    """The packed folder; that of a random student is gone afterwards."""
    if request.model is not None:
        yield packed_folder(request.model)
        return
    assert request.random is not None
    with tempfile.TemporaryDirectory(prefix="asnn-goose-") as scratch:
        write_random(Path(scratch), request.random, backend=request.backend)
        yield Path(scratch)


def write_random(folder: Path, wanted: Random, *, backend: BackendName = "native") -> None:
    """Write a packed student of random weights. Raises SubjectError for an unknown shape."""
    from asnn_goose.export.random_student import SHAPES
    from asnn_goose.format.packed import write_packed

    if wanted.shape not in SHAPES:
        raise SubjectError(f"--random {wanted.shape}: choose one of {', '.join(SHAPES)}")
    model = random_model(SHAPES[wanted.shape], wanted, backend=backend)
    write_packed(folder, model.config, model.tensors, model.matrices)


def random_model(
    sizes: Mapping[str, int], wanted: Random, *, backend: BackendName = "native"
) -> PackedModel:
    """Random weights in these sizes of a GooseConfig, firing as often as wanted; in memory."""
    from asnn_goose.eval.calibrate import gaussian_threshold, with_density, with_spread
    from asnn_goose.export.random_student import random_student
    from asnn_goose.model.parts.precision import Precision

    precision = Precision(
        planes=wanted.planes,
        group=wanted.group,
        steps=wanted.steps,
        code=wanted.code,
        threshold=gaussian_threshold(wanted.density),
        rotate=wanted.steps > 0,
    )
    config, tensors, matrices = random_student(sizes, precision)
    model = PackedModel(folder=Path(), config=config, tensors=tensors, matrices=matrices, crc32="")
    ids = speed.random_tokens(CALIBRATION, vocabulary=config["vocab_size"])
    if wanted.steps:
        model = with_density(model, wanted.density, tokens=ids, backend=backend)
    return with_spread(model, SPREAD, tokens=ids, backend=backend)


def measure(folder: Path, request: Request) -> Result:
    """Speeds on every number of threads, then spikes and operations."""
    model = read_packed(folder)
    rates: list[Rate] = []
    for threads in request.threads:
        engine = Engine(model, threads=threads, backend=request.backend)
        rates += _rates(engine, request, threads=threads)
    counts = engine.counts()
    starts = [
        speed.cold_start(
            folder, threads=request.threads[0], backend=request.backend, tokens=request.tokens
        )
        for _ in range(request.repeats)
    ]
    return Result(
        name=request.model or f"random {request.random and request.random.shape}",
        backend=request.backend,
        isa=native_module().isa() if request.backend == "native" else "numpy",
        rates=rates,
        start=_median_start(starts),
        density=overall(counts),
        sites=by_site(counts),
        work=work_per_token(model, densities(counts)),
        dense={form: dense_picojoules(model.config, form=form) for form in ("fp32", "fp16")},
    )


def _rates(engine: Engine, request: Request, *, threads: int) -> Iterator[Rate]:
    """Decode rates for every number of sequences, beside the prefill rate."""
    speed.prefill_rate(engine, tokens=min(request.prompt, speed.WARM_UP))
    prefill = speed.median(
        lambda: speed.prefill_rate(engine, tokens=request.prompt), repeats=request.repeats
    )
    engine.reset_counts()  # the spikes shown are those of tokens that the model drew itself
    for concurrent in request.concurrent:
        rates = [
            speed.decode_rate(engine, tokens=request.tokens, concurrent=concurrent)
            for _ in range(request.repeats)
        ]
        yield Rate(
            threads=threads,
            concurrent=concurrent,
            decode=statistics.median(rates),
            prefill=prefill,
        )


def _median_start(starts: list[speed.Start]) -> speed.Start:
    return speed.Start(
        loaded=statistics.median(start.loaded for start in starts),
        first_token=statistics.median(start.first_token for start in starts),
        peak_bytes=max(start.peak_bytes for start in starts),
    )


def as_json(result: Result, request: Request) -> dict[str, Any]:
    """The file's content: protocol and results, SI units."""
    return {
        "asnn_goose": __version__,
        "model": result.name,
        "random": vars(request.random) if request.random else None,
        "backend": result.backend,
        "isa": result.isa,
        "tokens": request.tokens,
        "prompt": request.prompt,
        "repeats": request.repeats,
        "rates": [vars(rate) for rate in result.rates],
        "loaded_s": result.start.loaded,
        "first_token_s": result.start.first_token,
        "peak_bytes": result.start.peak_bytes,
        "density": result.density,
        "density_by_site": result.sites,
        "work": [
            {"part": work.part, "operations": work.operations, "picojoules": work.picojoules}
            for work in result.work
        ],
        "dense_picojoules": result.dense,
    }
