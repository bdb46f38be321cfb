"""`asnn-goose bench`: how fast a packed student runs here, and what a token costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples
from asnn_goose.cli.numbers import count

EXAMPLES = examples(
    "asnn-goose bench runs/demo",
    "asnn-goose bench goose.packed --threads 1,2 --concurrent 1,4,16 --json bench.json",
    "asnn-goose bench --random 135m --planes 2 --steps 3 --density 0.3",
)


def counts(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them. Raises ValueError, which names the option."""
    try:
        return tuple(count(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}, more than one with commas") from error


@expected_errors()
def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="A packed folder, a run folder, or a student's folder."),
    ] = None,
    random: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="Random weights of this shape instead: 135m or tiny."),
    ] = None,
    planes: Annotated[
        int, typer.Option(help="Ternary planes of the random weights; 0 makes them fp16.")
    ] = 1,
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
    tokens: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Tokens to decode per repeat.")
    ] = 128,
    prompt: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Tokens to prefill per repeat.")
    ] = 512,
    concurrent: Annotated[
        str, typer.Option(metavar="N,N", help="Independent sequences decoded at once.")
    ] = "1",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Threads of the engine.")] = "1",
    repeats: Annotated[int, typer.Option(help="Repeats; medians are shown.")] = 3,
    reference: Annotated[
        bool, typer.Option("--reference", help="The numpy oracle instead of the compiled engine.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write everything measured there.")
    ] = None,
) -> None:
    """Measure a packed student: speed, memory, spikes, arithmetic, energy.

    Decoding draws tokens as generate does and counts everything from one to the next. The first
    token and the memory are those of a process of its own. Energy is arithmetic alone, in 45 nm
    silicon (Horowitz, ISSCC 2014), beside dense matrices of the same shapes.
    """
    from asnn_goose.cli.benching import Random, Request, run

    made = Random(shape=random, planes=planes, steps=steps, code=code, group=group, density=density)
    run(
        Request(
            model=model,
            random=made if random else None,
            tokens=tokens,
            prompt=prompt,
            concurrent=counts("--concurrent", concurrent),
            threads=counts("--threads", threads),
            repeats=repeats,
            backend="reference" if reference else "native",
            json=json,
        )
    )
