"""`asnn-goose generate`: text from a student or a teacher, as it is drawn."""

from __future__ import annotations

import sys
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from asnn_goose.cli.examples import examples
from asnn_goose.cli.expected_errors import expected_errors
from asnn_goose.numbers import MOST_THREADS, SEEDS, count

EXAMPLES = examples(
    'asnn-goose generate runs/demo "The history of the country begins"',
    'asnn-goose generate runs/demo "Once" --tokens 1k --temperature 0.7 --top-p 0.9 --seed 1',
    'asnn-goose generate goose.packed "A list:" --min-p 0.05 --repetition-penalty 1.1 --stop "\\n"',
    "asnn-goose generate smollm2-135m - --greedy < prompt.txt",
    'asnn-goose generate runs/demo "The history of" --greedy --draft text',
)


class EngineName(StrEnum):
    """What runs the model."""

    native = "native"
    torch = "torch"


Temperature = Annotated[float, typer.Option(help="Below 1 is sharper, above 1 wilder.")]
TopP = Annotated[
    float, typer.Option(help="Keep the fewest tokens that hold this much probability.")
]
TopK = Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all.")]
MinP = Annotated[
    float, typer.Option(help="Keep tokens at least this likely against the likeliest; 0 keeps all.")
]
RepetitionPenalty = Annotated[
    float, typer.Option(help="Above 1 makes tokens that came before less likely.")
]
Greedy = Annotated[bool, typer.Option("--greedy", help="Always the most likely token.")]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, max=SEEDS - 1, help="Seed of the drawing; without one it differs every time."
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="End before this text; may be repeated; \\n is a new line."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_THREADS, help="Threads of the engine.  [default: by the model's size]"
    ),
]

DRAFT_TOKENS = 4

Draft = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Propose tokens that are read together, drawn as ever: text (what followed the same"
        " words), a number of steps (the student with fewer spikes), or another student.",
    ),
]
DraftTokens = Annotated[
    int, typer.Option(parser=count, metavar="N", help="Tokens of a proposal at most.")
]


@expected_errors()
def generate(
    model: Annotated[
        str,
        typer.Argument(help="A packed folder, a run folder, a student's folder, or a teacher."),
    ],
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; - reads it from standard input.")
    ] = "-",
    tokens: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Tokens to draw at most (1k = 1000).")
    ] = 200,
    temperature: Temperature = 0.8,
    top_p: TopP = 0.95,
    top_k: TopK = 0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    greedy: Greedy = False,
    stop: Stop = None,
    seed: Seed = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop where the model ends its text.")
    ] = False,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="What runs it.  [default: native for students, torch for teachers]"),
    ] = None,
    threads: Threads = None,
    draft: Draft = None,
    draft_tokens: DraftTokens = DRAFT_TOKENS,
) -> None:
    """Continue a prompt, token by token.

    A student is packed on first use, beside its weights, and runs on the compiled engine; it
    needs the same memory however long the text becomes. Speed and memory are printed on standard
    error at the end.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    from asnn_goose.infer.sampler import Sampling
    from asnn_goose.meter import measured
    from asnn_goose.subject.engine_model import EngineModel
    from asnn_goose.subject.source import Continuation, source_of

    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        greedy=greedy,
    )
    tell = partial(typer.echo, err=True)
    source = source_of(
        model,
        engine=engine.value if engine else None,
        threads=threads,
        draft=draft,
        draft_tokens=draft_tokens,
        tell=tell,
    )
    stops = stop_strings(stop)
    written = Continuation(
        source, text, tokens=tokens, sampling=sampling, seed=seed, stop=not keep_going, stops=stops
    )
    print(text, end="", flush=True)
    with measured() as reading:
        for piece in written:
            print(piece, end="", flush=True)
    print(flush=True)
    tell(
        f"[{written.count} tokens, {written.count / reading.seconds:.1f} tokens/s,"
        f" peak memory {reading.peak_bytes / 1e6:.0f} MB]"
    )
    if isinstance(source, EngineModel) and source.drafting is not None:
        tell(f"[{source.drafting}]")


def stop_strings(given: list[str] | None) -> list[str]:
    r"""Stop strings as typed, `\n` and `\t` turned into what they stand for.

    Raises ValueError for an empty one.
    """
    stops = [stop.replace("\\n", "\n").replace("\\t", "\t") for stop in given or []]
    if "" in stops:
        raise ValueError("--stop '': must not be empty; leave it out to stop nowhere")
    return stops
