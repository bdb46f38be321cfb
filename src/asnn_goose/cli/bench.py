"""`asnn-goose bench`: how fast a packed student runs here, and what a token costs."""

from __future__ import annotations

import json as json_text
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import count_of, json_file
from asnn_goose.cli.tables import aside, plain_table, show
from asnn_goose.numbers import count, size
from asnn_goose.places import SubjectError

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.eval.bench import Result
    from asnn_goose.eval.random_student import Random
    from asnn_goose.infer.backend import BackendName

EXAMPLES = (
    "asnn-goose bench runs/demo",
    "asnn-goose bench goose.packed --threads 1,2 --concurrent 1,4,16 --json bench.json",
    "asnn-goose bench --random 135m --planes 2 --steps 3 --density 0.3",
    "asnn-goose bench --random 135m --planes 0 --steps 0 --dense int4 --head int4",
)


def counts(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them. Raises ValueError, which names the option."""
    try:
        return tuple(count(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}, more than one with commas") from error


def bench(
    model: Annotated[
        str | None, typer.Argument(help="A packed folder, a run folder, or a student's folder.")
    ] = None,
    random: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="Random weights of this shape instead: 135m or tiny."),
    ] = None,
    planes: Annotated[
        int, typer.Option(help="Ternary planes of the random weights; 0 makes them dense.")
    ] = 1,
    dense: Annotated[
        str, typer.Option(help="Form of random weights without planes: f16, int8 or int4.")
    ] = "f16",
    head: Annotated[
        str, typer.Option(help="Form of the random student's head: int8 or int4.")
    ] = "int8",
    steps: Annotated[
        int, typer.Option(help="Spike steps of the random student; 0 keeps inputs analogue.")
    ] = 1,
    code: Annotated[
        str, typer.Option(help="How its steps add up: rate, radix2 or radix3.")
    ] = "radix3",
    group: Annotated[
        int, typer.Option(help="Columns that share a weight scale; 0 is a row of them.")
    ] = 0,
    density: Annotated[
        float,
        typer.Option(
            help="Share of its inputs, in each step, that spike: thresholds are set to meet it."
        ),
    ] = 0.3,
    tokens: Annotated[int, count_of("Tokens to decode per repeat.")] = 128,
    prompt: Annotated[int, count_of("Tokens to prefill per repeat.")] = 512,
    concurrent: Annotated[
        str, typer.Option(metavar="N,N", help="Independent sequences decoded at once.")
    ] = "1",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Threads of the engine.")] = "1",
    repeats: Annotated[int, typer.Option(help="Repeats; medians are shown.")] = 3,
    reference: Annotated[
        bool, typer.Option("--reference", help="The numpy oracle instead of the compiled engine.")
    ] = False,
    json: Annotated[Path | None, json_file("Write everything measured there.")] = None,
) -> None:
    """Measure a packed student: speed, memory, spikes, arithmetic, energy.

    Decoding draws tokens as generate does and counts everything from one to the next. The first
    token and the memory are those of a process of its own. Energy is arithmetic alone, in 45 nm
    silicon (Horowitz, ISSCC 2014), beside dense matrices of the same shapes.
    """
    from asnn_goose.eval.bench import BenchSettings, measure_packed
    from asnn_goose.eval.random_student import Random

    if (model is None) == (random is None):
        raise SubjectError("give either a model or --random SHAPE")
    if json:
        disk.check_file(json, kind="JSON", is_one=disk.JSON)
    settings = BenchSettings(
        tokens=tokens,
        prompt=prompt,
        concurrent=counts("--concurrent", concurrent),
        threads=counts("--threads", threads),
        repeats=repeats,
        backend="reference" if reference else "native",
    )
    wanted = random and Random(
        shape=random,
        planes=planes,
        steps=steps,
        code=code,
        group=group,
        density=density,
        dense=dense,
        head=head,
    )
    with folder_of(model, wanted or None, backend=settings.backend) as folder:
        result = measure_packed(folder, settings)
    name = model or f"random {random}"
    report(result, heading=f"{name}, {settings.backend} ({result.isa})")
    if json:
        measured = result.as_dict(settings)
        content = {"model": name, "random": vars(wanted) if wanted else None} | measured
        json.parent.mkdir(parents=True, exist_ok=True)
        disk.write_text(json, json_text.dumps(content, indent=1) + "\n")


@contextmanager
def folder_of(model: str | None, random: Random | None, *, backend: BackendName) -> Iterator[Path]:
    """The packed folder; that of a random student is gone afterwards."""
    if model is not None:
        from asnn_goose.subject.engine_model import packed_folder

        yield packed_folder(model, tell=aside)
        return
    from asnn_goose.eval.random_student import write_random

    assert random is not None
    # On the disk and not in memory: starting means opening a file, and that is measured too.
    with tempfile.TemporaryDirectory(prefix="asnn-goose-") as scratch:
        write_random(Path(scratch), random, backend=backend)
        yield Path(scratch)


def report(result: Result, *, heading: str) -> None:
    """All tables on standard output."""
    start = result.start
    show(heading, speeds(result))
    show(
        f"first token {start.first_token:.2f} s after the process began, loaded after"
        f" {start.loaded:.2f} s; peak memory {size(start.peak_bytes)}"
    )
    if result.sites:
        show(f"\nspike density {result.density:.3f}", densities(result.sites))
    show("\none token, energy of the arithmetic in 45 nm silicon", operations(result))
    show(*energy_lines(result))


def speeds(result: Result) -> Table:
    """One row per number of threads and sequences."""
    made = plain_table("threads", "sequences", "decode tok/s", "prefill tok/s")
    for rate in result.rates:
        made.add_row(
            str(rate.threads), str(rate.concurrent), f"{rate.decode:,.1f}", f"{rate.prefill:,.1f}"
        )
    return made


def densities(sites: Mapping[str, Mapping[int, float]]) -> Table:
    """Layers down, matrices across; the head on a line of its own."""
    made = plain_table("layer", *(short(name, sites) for name in sites))
    for layer in sorted({layer for by_layer in sites.values() for layer in by_layer}):
        cells = [by_layer.get(layer) for by_layer in sites.values()]
        shown = ("" if cell is None else f"{cell:.3f}" for cell in cells)
        made.add_row("head" if layer < 0 else str(layer), *shown)
    return made


def short(name: str, among: Iterable[str]) -> str:
    """A matrix without its half of the block, where no other one is called the same.

    >>> short("mixer.key", ["mixer.key", "mixer.value", "mlp.value"])
    'key'
    """
    last = name.rpartition(".")[2]
    alone = sum(other.rpartition(".")[2] == last for other in among) == 1
    return last if alone else name


def operations(result: Result) -> Table:
    """Additions, multiplications and energy by part, and dense matrices beside them."""
    made = plain_table("part", "M additions", "M multiplications", "µJ", "MB read", "dense / ours")
    rows = [(w.part, w.additions, w.multiplications, w.picojoules, w.bytes) for w in result.work]
    whole = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    for name, *values in rows:
        made.add_row(name, *millions(values))
    made.add_row("together", *millions(whole))
    for form, picojoules in result.dense.items():
        made.add_row(
            f"dense {form}", "", "", *millions([picojoules]), "", f"{picojoules / whole[2]:.1f}"
        )
    return made


def energy_lines(result: Result) -> list[str]:
    """What reading the bytes would take beside the arithmetic, and what the processor took."""
    from asnn_goose.eval.energy import traffic_picojoules

    stores = traffic_picojoules(result.work).items()
    read = ", ".join(f"{found / 1e6:,.1f} µJ out of {store}" for store, found in stores)
    own = result.joules_per_token
    measured = "this machine shows no counter of energy (RAPL)"
    if own is not None:
        measured = f"measured (RAPL, the whole package): {own * 1e3:,.2f} mJ a token"
    return [f"reading these bytes besides: {read}", measured]


def millions(values: Iterable[float]) -> list[str]:
    """Counts in millions, which makes picojoules microjoules."""
    return [f"{value / 1e6:,.3f}" for value in values]
