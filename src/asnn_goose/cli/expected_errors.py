"""What a user can act on ends as one message, not as a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

USAGE = 2
"""Exit code of every expected error, as of a wrong option."""

INTERRUPTED = 130


@contextmanager
def expected_errors() -> Iterator[None]:
    """Decorator of a verb: print an expected error on stderr and exit with its code.

    Anything else is a bug of ours and keeps its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(0) from None  # the reader has seen enough, as with `| head`
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if not is_expected(error):
            raise
        typer.echo(f"error: {message(error)}", err=True)
        raise typer.Exit(getattr(error, "exit_code", USAGE)) from None


def is_expected(error: Exception) -> bool:
    """True for our own error classes, our own ValueErrors, and what the file system refuses.

    Decided by where an error comes from, so that no heavy module is imported to name its class.
    """
    if type(error).__module__.startswith("asnn_goose."):
        return True
    return isinstance(error, OSError) or (isinstance(error, ValueError) and _is_ours(error))


def _is_ours(error: Exception) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("asnn_goose.")


def message(error: Exception) -> str:
    """The error's own words; of an error of the file system, what and which file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
