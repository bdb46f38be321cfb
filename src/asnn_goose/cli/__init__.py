"""The command `asnn-goose`, one file per verb.

In: words typed by a user. Out: calls of the library, and what it found as text and exit codes.
Never here: what a script would want to call; an import of torch before a verb needs it.
"""

from __future__ import annotations

import os
import sys

import typer

from asnn_goose import __version__, mkl, threads
from asnn_goose.cli import (
    ablate,
    allocate,
    answer,
    bench,
    cache,
    chat,
    data,
    distill,
    doctor,
    evaluate,
    export,
    generate,
    lab,
    push,
    recall,
    report,
    restore,
    sensitivity,
    serve,
    spikes,
    teacher,
    tune,
    write,
)
from asnn_goose.cli.verbs import add, epilog

app = typer.Typer(
    name="asnn-goose",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"asnn-goose {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_version, is_eager=True
    ),
) -> None:
    """From a pretrained transformer to a spiking, ternary, recurrent language model."""
    if not sys.stderr.isatty():
        # Other packages' bars fill a log; they read this when they are first imported.
        os.environ.setdefault("TQDM_DISABLE", "1")
    threads.wait_briefly()  # no verb has imported torch yet
    mkl.use_fast_kernels()


# In the order of the work, which is the order of the list in `--help`.
add(teacher.app, "cache", cache.cache, cache.EXAMPLES)
add(teacher.app, "lab", lab.lab, lab.EXAMPLES)
add(teacher.app, "tune", tune.tune, tune.EXAMPLES)
add(teacher.app, "write", write.write, write.EXAMPLES)
add(teacher.app, "answer", answer.answer, answer.EXAMPLES)
app.add_typer(teacher.app, name="teacher", epilog=epilog(teacher.EXAMPLES))
app.add_typer(data.app, name="data", epilog=epilog(data.EXAMPLES))
add(app, "distill", distill.distill, distill.EXAMPLES)
add(app, "eval", evaluate.evaluate, evaluate.EXAMPLES)
add(app, "report", report.report, report.EXAMPLES)
add(app, "ablate", ablate.ablate, ablate.EXAMPLES)
add(app, "allocate", allocate.allocate, allocate.EXAMPLES)
add(app, "sensitivity", sensitivity.sensitivity, sensitivity.EXAMPLES)
add(app, "recall", recall.recall, recall.EXAMPLES)
add(app, "spikes", spikes.spikes, spikes.EXAMPLES)
add(app, "export", export.export, export.EXAMPLES)
add(app, "push", push.push, push.EXAMPLES)
add(app, "restore", restore.restore, restore.EXAMPLES)
add(app, "generate", generate.generate, generate.EXAMPLES)
add(app, "chat", chat.chat, chat.EXAMPLES)
add(app, "serve", serve.serve, serve.EXAMPLES)
add(app, "bench", bench.bench, bench.EXAMPLES)
add(app, "doctor", doctor.doctor, doctor.EXAMPLES)
