"""The loop of `chat`: read a turn, print the answer, obey commands."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from asnn_goose.cli.engine_model import load_engine
from asnn_goose.cli.errors import message
from asnn_goose.cli.places import SubjectError
from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.chat_template import read_chat_template
from asnn_goose.infer.conversation import Conversation
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import TextError

COMMANDS = "/reset, /save FILE, /load FILE, /quit"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to answer: the settings of `chat`."""

    sampling: Sampling
    system: str | None
    tokens: int
    stops: Sequence[str]
    seed: int | None


def talk(model: str, options: Options, *, threads: int | None) -> None:
    """Chat until the input ends. Raises SubjectError for a model without a chat template."""
    loaded = load_engine(model, threads=threads)
    template = read_chat_template(loaded.folder)
    if template is None:
        raise SubjectError(
            f"{model} has no chat template: chat needs a student of an instruct teacher (or put a"
            f" chat_template.jinja into {loaded.folder}); asnn-goose generate continues plain text"
        )
    native = loaded.engine.backend == "native"
    conversation = Conversation(
        loaded.engine,
        loaded.vocabulary,
        template,
        drawer=Drawer(options.sampling, seed=options.seed, native=native),
        system=options.system,
    )
    for line in turns(greeting=f"{model}; {COMMANDS}"):
        if line == "/quit":
            return
        if line.startswith("/"):
            obey(conversation, line)
        else:
            reply(conversation, line, options)


def turns(*, greeting: str) -> Iterator[str]:
    """What was said, line by line and not empty; with a prompt where a person types."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # gives input() editing and history
        print(greeting, file=sys.stderr)
        lines = _typed()
    else:
        lines = iter(sys.stdin)
    yield from (said for line in lines if (said := line.strip()))


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def obey(conversation: Conversation, line: str) -> None:
    """Carry out a command; what goes wrong is said, and the chat goes on."""
    command, _, file = line.partition(" ")
    needs_file = {"/save": conversation.save, "/load": conversation.load}
    try:
        if command == "/reset":
            conversation.reset()
        elif command in needs_file and file.strip():
            needs_file[command](file.strip())
        else:
            wanted = f"{command} FILE" if command in needs_file else COMMANDS
            raise SubjectError(f"{line!r} is no command: write {wanted}")
    except (SubjectError, EngineError, OSError) as error:
        _say(f"error: {message(error)}")
    else:
        _say(f"[{command[1:]}: {len(conversation.messages)} messages]")


def reply(conversation: Conversation, said: str, options: Options) -> None:
    """Print the answer as it comes; Ctrl-C ends it."""
    started, read = time.perf_counter(), conversation.read
    with interruptible() as cancelled:
        answer = conversation.answer(
            said, limit=options.tokens, stops=options.stops, cancelled=cancelled
        )
        try:
            for piece in answer:
                print(piece, end="", flush=True)
        except TextError as error:
            _say(f"error: {message(error)}")
            return
        print(flush=True)
    seconds = time.perf_counter() - started
    _say(
        f"[read {conversation.read - read} tokens, drew {conversation.drawn} in {seconds:.1f} s"
        f"{', stopped' if cancelled() else ''}]"
    )


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only makes the yielded function true; the next one interrupts."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
