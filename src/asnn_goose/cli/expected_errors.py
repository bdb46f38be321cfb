"""What a user can act on ends as one message, not as a traceback."""

from __future__ import annotations

import errno
import re
import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from asnn_goose.numbers import size

USAGE = 2
"""Exit code of every expected error, as of a wrong option."""

INTERRUPTED = 130

TRAINING = frozenset(
    {"accelerate", "gguf", "huggingface_hub", "lxml", "matplotlib", "rdata", "safetensors"}
    | {"scipy", "tomli_w", "torch", "transformers"}
)
"""Packages of the extra [train], by the names of their modules."""


@contextmanager
def expected_errors() -> Iterator[None]:
    """Decorator of a verb: print an expected error on stderr and exit with its code.

    Anything else is a bug of ours and keeps its traceback.
    """
    try:
        yield
    # Before OSError, of which it is one.
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
    """True for our own error classes, our own ValueErrors, and what the system refuses.

    Decided by where an error comes from, so that no heavy module is imported to name its class.
    """
    if type(error).__module__.startswith("asnn_goose.") or _is_memory(error):
        return True
    if isinstance(error, ModuleNotFoundError):
        return str(error.name).partition(".")[0] in TRAINING
    return isinstance(error, OSError) or (isinstance(error, ValueError) and _is_ours(error))


def _is_memory(error: Exception) -> bool:
    """Whether there was no memory: Python, numpy, torch and a GPU each say so in their own way."""
    words = ("DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough memory")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(one in str(error) for one in words)


def _memory_message(error: Exception) -> str:
    """What was asked for, what there may be, and what takes less."""
    asked = re.search(r"allocate ([\d.]+ \w+)", str(error))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    bounds = (
        "" if limit == resource.RLIM_INFINITY else f" of the {size(limit)} that ulimit -v gives"
    )
    return (
        f"out of memory: {asked[1] if asked else 'a piece'} more was not to be had{bounds}; "
        "distill --dry-run says what a recipe takes. Less take a smaller batch (with accumulate as "
        "much larger nothing else changes), window or chunk, and train.checkpointing = true"
    )


def _is_ours(error: Exception) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("asnn_goose.")


def message(error: Exception) -> str:
    """The error's own words; of an error of the file system, what and which file.

    Of a package that is missing, how it is installed; where memory is, what takes less.
    """
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error.name} is not installed, and this needs it: pip install 'asnn-goose[train]'"
            " (torch first from https://pytorch.org where no GPU build is wanted)"
        )
    if _is_memory(error):
        return _memory_message(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
