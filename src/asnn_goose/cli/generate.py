"""`asnn-goose generate`: text from a student or a teacher, as it is drawn."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples
from asnn_goose.cli.numbers import count

EXAMPLES = examples(
    'asnn-goose generate runs/demo "The history of the country begins"',
    'asnn-goose generate runs/demo "Once" --tokens 1k --temperature 0.7 --top-p 0.9 --seed 1',
    "asnn-goose generate smollm2-135m - --greedy < prompt.txt",
)


@expected_errors()
def generate(
    model: Annotated[
        str, typer.Argument(help="A run folder, a student's folder, or a teacher's name.")
    ],
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; - reads it from standard input.")
    ] = "-",
    tokens: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Tokens to draw at most (1k = 1000).")
    ] = 200,
    temperature: Annotated[float, typer.Option(help="Below 1 is sharper, above 1 wilder.")] = 0.8,
    top_p: Annotated[
        float, typer.Option(help="Keep the fewest tokens that hold this much probability.")
    ] = 0.95,
    top_k: Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all.")] = 0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the most likely token.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the drawing; without one it differs every time.")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop where the model ends its text.")
    ] = False,
) -> None:
    """Continue a prompt, token by token.

    A student needs the same memory however long the text becomes; a teacher's grows.
    Speed and memory are printed on standard error at the end.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    from asnn_goose.cli.sampling import Sampling
    from asnn_goose.cli.subject import load
    from asnn_goose.cli.writing import write

    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, greedy=greedy)
    write(load(model), text, tokens=tokens, sampling=sampling, seed=seed, stop=not keep_going)
