"""`asnn-goose generate`: text from a student or a teacher, as it is drawn."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from asnn_goose.cli import options
from asnn_goose.cli.tables import aside

EXAMPLES = (
    'asnn-goose generate runs/demo "The history of the country begins"',
    'asnn-goose generate runs/demo "Once" --tokens 1k --temperature 0.7 --top-p 0.9 --seed 1',
    'asnn-goose generate goose.packed "A list:" --min-p 0.05 --repetition-penalty 1.1 --stop "\\n"',
    "asnn-goose generate smollm2-135m - --greedy < prompt.txt",
    'asnn-goose generate runs/demo "The history of" --greedy --draft text',
)


def generate(
    model: Annotated[
        str, typer.Argument(help="A packed folder, a run folder, a student's folder, or a teacher.")
    ],
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; - reads it from standard input.")
    ] = "-",
    tokens: Annotated[int, options.count_of("Tokens to draw at most (1k = 1000).")] = 200,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 0.95,
    top_k: options.TopK = 0,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    greedy: options.Greedy = False,
    stop: options.Stop = None,
    seed: options.Seed = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop where the model ends its text.")
    ] = False,
    engine: Annotated[
        options.EngineName | None,
        typer.Option(help="What runs it.  [default: native for students, torch for teachers]"),
    ] = None,
    threads: options.Threads = None,
    draft: options.Draft = None,
    draft_tokens: options.DraftTokens = options.DRAFT_TOKENS,
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
    source = source_of(
        model,
        engine=engine.value if engine else None,
        threads=threads,
        draft=draft,
        draft_tokens=draft_tokens,
        tell=aside,
    )
    stops = options.stop_strings(stop)
    written = Continuation(
        source, text, tokens=tokens, sampling=sampling, seed=seed, stop=not keep_going, stops=stops
    )
    # The prompt too, so that what is printed can be read, and kept, as one text.
    print(text, end="", flush=True)
    with measured() as reading:
        for piece in written:
            print(piece, end="", flush=True)
    print(flush=True)
    aside(
        f"[{written.count} tokens, {written.count / reading.seconds:.1f} tokens/s,"
        f" peak memory {reading.peak_bytes / 1e6:.0f} MB]"
    )
    if isinstance(source, EngineModel) and source.drafting is not None:
        aside(f"[{source.drafting}]")
