"""A packed student measured: speed, start, memory, spikes, arithmetic and its energy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asnn_goose import __version__
from asnn_goose.eval import cost_model, speed
from asnn_goose.eval.energy import Work, dense_picojoules, traffic_picojoules, work_per_token
from asnn_goose.eval.joules import measured_joules
from asnn_goose.eval.spike_stats import Counts, by_site, densities, overall
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine

if TYPE_CHECKING:
    from asnn_goose.infer.backend import BackendName


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """How a student is measured.

    tokens      to decode per repeat
    prompt      tokens to prefill per repeat
    concurrent  numbers of independent sequences decoded at once
    threads     numbers of threads
    repeats     medians are taken of

    Raises ValueError without a repeat.
    """

    tokens: int = 128
    prompt: int = 512
    concurrent: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    repeats: int = 3
    backend: BackendName = "native"

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats = {self.repeats}: must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Tokens per second; prefill is one sequence's."""

    threads: int
    concurrent: int
    decode: float
    prefill: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was measured.

    matrices  seconds a token that the ternary matrices of the blocks take by this machine's cost
              model (`eval.cost_model`), and its error; None where there is no such model
    """

    isa: str
    rates: list[Rate]
    start: speed.Start
    density: float
    sites: dict[str, dict[int, float]]
    work: list[Work]
    dense: dict[str, float]
    joules_per_token: float | None = None
    matrices: tuple[float, float] | None = None

    def as_dict(self, settings: BenchSettings) -> dict[str, Any]:
        """BenchSettings and results in SI units, for a JSON file."""
        return {
            "asnn_goose": __version__,
            "backend": settings.backend,
            "isa": self.isa,
            "tokens": settings.tokens,
            "prompt": settings.prompt,
            "repeats": settings.repeats,
            "rates": [asdict(rate) for rate in self.rates],
            "loaded_s": self.start.loaded,
            "first_token_s": self.start.first_token,
            "peak_bytes": self.start.peak_bytes,
            "density": self.density,
            "density_by_site": self.sites,
            "work": [
                {
                    "part": work.part,
                    "operations": work.operations,
                    "picojoules": work.picojoules,
                    "bytes": work.bytes,
                }
                for work in self.work
            ],
            "traffic_picojoules": traffic_picojoules(self.work),
            "joules_per_token": self.joules_per_token,
            "dense_picojoules": self.dense,
            "matrices_s_by_cost_model": self.matrices and self.matrices[0],
        }


def measure_packed(folder: Path, settings: BenchSettings) -> Result:
    """Speeds on every number of threads, then spikes and operations."""
    model = read_packed(folder)
    rates: list[Rate] = []
    for threads in settings.threads:
        engine = Engine(model, threads=threads, backend=settings.backend)
        rates += _rates(engine, settings, threads=threads)
    # Of the last number of threads: spikes do not depend on it.
    counts = dict(engine.counts())
    return Result(
        isa=native_module().isa() if settings.backend == "native" else "numpy",
        rates=rates,
        start=_median_start(folder, settings),
        density=overall(counts),
        sites=by_site(counts),
        work=work_per_token(model, densities(counts)),
        dense={form: dense_picojoules(model.config, form=form) for form in ("fp32", "fp16")},
        joules_per_token=_joules(engine, settings),
        matrices=_by_cost_model(model, counts) if settings.backend == "native" else None,
    )


def _by_cost_model(model: PackedModel, counts: Counts) -> tuple[float, float] | None:
    if (costs := cost_model.kept()) is None:
        return None
    products = cost_model.products_of(model, densities(counts))
    return costs.of(one for one in products if one.planes), costs.error


def _joules(engine: Engine, settings: BenchSettings) -> float | None:
    """Of one sequence decoding, by the processor's counters; None where they are not shown."""
    with measured_joules() as found:
        speed.decode_rate(engine, tokens=settings.tokens)
    drawn = settings.tokens + min(settings.tokens, speed.WARM_UP)
    return None if found.total is None else found.total / drawn


def _rates(engine: Engine, settings: BenchSettings, *, threads: int) -> Iterator[Rate]:
    """Decode rates for every number of sequences, beside the prefill rate."""
    # Once for nothing: pages of the weights are read from disk, threads are started.
    speed.prefill_rate(engine, tokens=min(settings.prompt, speed.WARM_UP))
    prefill = speed.median(
        lambda: speed.prefill_rate(engine, tokens=settings.prompt), repeats=settings.repeats
    )
    engine.reset_counts()  # the spikes shown are those of tokens that the model drew itself
    for concurrent in settings.concurrent:
        rates = [
            speed.decode_rate(engine, tokens=settings.tokens, concurrent=concurrent)
            for _ in range(settings.repeats)
        ]
        yield Rate(
            threads=threads, concurrent=concurrent, decode=statistics.median(rates), prefill=prefill
        )


def _median_start(folder: Path, settings: BenchSettings) -> speed.Start:
    starts = [
        speed.cold_start(
            folder, threads=settings.threads[0], backend=settings.backend, tokens=settings.tokens
        )
        for _ in range(settings.repeats)
    ]
    return speed.Start(
        loaded=statistics.median(start.loaded for start in starts),
        first_token=statistics.median(start.first_token for start in starts),
        # The highest and not the median: memory must be there in the worst of them.
        peak_bytes=max(start.peak_bytes for start in starts),
    )
