"""`asnn-goose chat`: talk with a student on the engine."""

from __future__ import annotations

from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples
from asnn_goose.cli.generate import (
    Greedy,
    MinP,
    RepetitionPenalty,
    Seed,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
    stop_strings,
)
from asnn_goose.cli.numbers import count

EXAMPLES = examples(
    "asnn-goose chat runs/demo",
    'asnn-goose chat goose.packed --system "You answer in one sentence." --temperature 0.5',
    "asnn-goose chat goose.packed --greedy < questions.txt",
)


@expected_errors()
def chat(
    model: Annotated[
        str, typer.Argument(help="A packed folder, a run folder, or a student's folder.")
    ],
    system: Annotated[
        str | None, typer.Option(help="System prompt.  [default: the template's own, if any]")
    ] = None,
    tokens: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Tokens of one answer at most.")
    ] = 500,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    top_k: TopK = 0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    greedy: Greedy = False,
    stop: Stop = None,
    seed: Seed = None,
    threads: Threads = None,
) -> None:
    """Chat in the terminal; the model keeps its state, so each turn reads only what is new.

    Ctrl-C stops an answer, /reset starts over, /save FILE and /load FILE keep a chat, /quit or
    Ctrl-D ends. From a pipe, every line is a turn.
    """
    from asnn_goose.cli.talking import Options, talk
    from asnn_goose.infer.sampler import Sampling

    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        greedy=greedy,
    )
    options = Options(
        sampling=sampling, system=system, tokens=tokens, stops=stop_strings(stop), seed=seed
    )
    talk(model, options, threads=threads)
