"""`asnn-goose eval`: perplexity and bits per byte of a student beside its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples
from asnn_goose.cli.numbers import count

EXAMPLES = examples(
    "asnn-goose eval runs/demo",
    "asnn-goose eval runs/demo --on validation --on my.txt --tokens 100k --json scores.json",
    "asnn-goose eval smollm2-135m --on austen --tokens all",
)


def limit(text: str) -> int:
    """Tokens to score, "all" as in recipes. Raises ValueError."""
    from asnn_goose.recipe.numbers import ALL

    return ALL if text == "all" else count(text)


@expected_errors()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A run folder, a student's folder, or a teacher's name.")
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="in-domain, validation, out-of-domain, a corpus, or a .txt or .jsonl file; may be"
            " repeated.  [default: in-domain and out-of-domain]",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            parser=count, metavar="N", help="Tokens of context.  [default: the run's, or 512]"
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            parser=limit,
            metavar="N|all",
            help="Tokens scored per text at most.  [default: the run's, or 32k]",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Score this model too, on the same windows.  [default: the run's teacher]"
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write scores and protocol there.")
    ] = None,
) -> None:
    """Perplexity and bits per byte, student beside teacher.

    "in-domain" is the test split of the training texts, "validation" their validation split,
    "out-of-domain" text of another kind. A file is scored whole, unless the run trained on it:
    then its test split. Every token is scored once, with at most --window tokens before it.
    """
    from asnn_goose.cli.scoring import Request, score

    score(
        Request(
            model=model,
            on=tuple(on or ()),
            window=window,
            tokens=tokens,
            teacher=teacher,
            json=json,
        )
    )
