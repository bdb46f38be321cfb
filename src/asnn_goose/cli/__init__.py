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


teacher.app.command("cache", epilog=cache.EXAMPLES)(cache.cache)
teacher.app.command("lab", epilog=lab.EXAMPLES)(lab.lab)
teacher.app.command("tune", epilog=tune.EXAMPLES)(tune.tune)
teacher.app.command("write", epilog=write.EXAMPLES)(write.write)
teacher.app.command("answer", epilog=answer.EXAMPLES)(answer.answer)
app.add_typer(teacher.app, name="teacher", epilog=teacher.EXAMPLES)
app.add_typer(data.app, name="data", epilog=data.EXAMPLES)
app.command("distill", epilog=distill.EXAMPLES)(distill.distill)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("ablate", epilog=ablate.EXAMPLES)(ablate.ablate)
app.command("allocate", epilog=allocate.EXAMPLES)(allocate.allocate)
app.command("sensitivity", epilog=sensitivity.EXAMPLES)(sensitivity.sensitivity)
app.command("recall", epilog=recall.EXAMPLES)(recall.recall)
app.command("spikes", epilog=spikes.EXAMPLES)(spikes.spikes)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("push", epilog=push.EXAMPLES)(push.push)
app.command("restore", epilog=restore.EXAMPLES)(restore.restore)
app.command("generate", epilog=generate.EXAMPLES)(generate.generate)
app.command("chat", epilog=chat.EXAMPLES)(chat.chat)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
