"""What the options of several verbs have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from asnn_goose.numbers import MOST_THREADS, SEEDS, count


def count_of(said: str, metavar: str = "N") -> Any:
    """A whole number above 0, which may be written as 200k or 1.5M."""
    return typer.Option(parser=count, metavar=metavar, help=said)


def seed_of(said: str) -> Any:
    """A seed that every generator takes."""
    return typer.Option(min=0, max=SEEDS - 1, help=said)


def threads_of(said: str) -> Any:
    """A number of threads that libraries below survive."""
    return typer.Option(min=1, max=MOST_THREADS, help=said)


def json_file(said: str) -> Any:
    """A file for all that a verb found."""
    return typer.Option(metavar="FILE", help=said)


class EngineName(StrEnum):
    """What runs the model."""

    native = "native"
    torch = "torch"


Student = Annotated[str, typer.Argument(help="A run folder, or a student's folder.")]
Teacher = Annotated[str, typer.Argument(help="The teacher: built-in name, folder or Hub id.")]
Text = Annotated[
    str, typer.Option(help="Text, as in eval: a corpus, or a .txt, .jsonl or .parquet file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting of the recipe; may be repeated."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")]
MachinesName = Annotated[
    str | None,
    typer.Option(
        "--machines",
        metavar="NxDxKIND",
        help="With --dry-run: what it would cost there, such as 8x8xH100.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")]
ResumeFile = Annotated[bool, typer.Option("--resume", help="Continue a file that was interrupted.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Messages only, no progress.")]

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
Seed = Annotated[int | None, seed_of("Seed of the drawing; without one it differs every time.")]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="End before this text; may be repeated; \\n is a new line."),
]
Threads = Annotated[
    int | None, threads_of("Threads of the engine.  [default: by the model's size]")
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
DraftTokens = Annotated[int, count_of("Tokens of a proposal at most.")]


def stop_strings(given: list[str] | None) -> list[str]:
    r"""Stop strings as typed, `\n` and `\t` turned into what they stand for.

    Raises ValueError for an empty one.
    """
    stops = [stop.replace("\\n", "\n").replace("\\t", "\t") for stop in given or []]
    if "" in stops:
        raise ValueError("--stop '': must not be empty; leave it out to stop nowhere")
    return stops
