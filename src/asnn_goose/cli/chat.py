"""`asnn-goose chat`: talk with a student on the engine."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose.cli import options
from asnn_goose.cli.expected_errors import message
from asnn_goose.cli.tables import aside
from asnn_goose.places import SubjectError

if TYPE_CHECKING:
    from asnn_goose.infer.conversation import Conversation
    from asnn_goose.infer.sampler import Sampling
    from asnn_goose.subject.engine_model import EngineModel

COMMANDS = "/reset, /save FILE, /load FILE, /quit"

EXAMPLES = (
    "asnn-goose chat runs/demo",
    'asnn-goose chat goose.packed --system "You answer in one sentence." --temperature 0.5',
    "asnn-goose chat goose.packed --greedy < questions.txt",
)


def chat(
    model: Annotated[
        str, typer.Argument(help="A packed folder, a run folder, or a student's folder.")
    ],
    system: Annotated[
        str | None, typer.Option(help="System prompt.  [default: the template's own, if any]")
    ] = None,
    tokens: Annotated[int, options.count_of("Tokens of one answer at most.")] = 500,
    temperature: options.Temperature = 0.7,
    top_p: options.TopP = 0.95,
    top_k: options.TopK = 0,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    greedy: options.Greedy = False,
    stop: options.Stop = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    draft: options.Draft = None,
    draft_tokens: options.DraftTokens = options.DRAFT_TOKENS,
) -> None:
    """Chat in the terminal; the model keeps its state, so each turn reads only what is new.

    Ctrl-C stops an answer, /reset starts over, /save FILE and /load FILE keep a chat, /quit or
    Ctrl-D ends. From a pipe, every line is a turn.
    """
    from asnn_goose.infer.sampler import Sampling

    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        greedy=greedy,
    )
    loaded = load(model, threads=threads, draft=draft, draft_tokens=draft_tokens)
    conversation = begin(model, loaded, sampling, system=system, seed=seed)
    stops = options.stop_strings(stop)
    for line in turns(greeting=f"{model}; {COMMANDS}"):
        if line in ("/quit", "/exit"):
            return
        if line.startswith("/"):
            obey(conversation, line)
        else:
            reply(conversation, line, limit=tokens, stops=stops)


def load(model: str, *, threads: int | None, draft: str | None, draft_tokens: int) -> EngineModel:
    """The student on the engine, and what drafts for it."""
    from asnn_goose.subject.engine_model import load_engine

    return load_engine(model, threads=threads, draft=draft, draft_tokens=draft_tokens, tell=aside)


def begin(
    model: str, loaded: EngineModel, sampling: Sampling, *, system: str | None, seed: int | None
) -> Conversation:
    """A chat without a word yet. Raises SubjectError for a model without a chat template."""
    from asnn_goose.infer.chat_template import read_chat_template
    from asnn_goose.infer.conversation import Conversation
    from asnn_goose.infer.sampler import Drawer

    template = read_chat_template(loaded.folder)
    if template is None:
        raise SubjectError(
            f"{model} has no chat template: chat needs a student of an instruct teacher (or put a"
            f" chat_template.jinja into {loaded.folder}); asnn-goose generate continues plain text"
        )
    drawer = Drawer(sampling, seed=seed, native=loaded.engine.backend == "native")
    return Conversation(
        loaded.engine,
        loaded.vocabulary,
        template,
        drawer=drawer,
        system=system,
        drafting=loaded.drafting,
    )


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
    from asnn_goose.infer.backend import EngineError

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
        aside(f"error: {message(error)}")
    else:
        aside(f"[{command[1:]}: {len(conversation.messages)} messages]")


def reply(conversation: Conversation, said: str, *, limit: int, stops: Sequence[str]) -> None:
    """Print the answer as it comes; Ctrl-C ends it."""
    from asnn_goose.infer.text import TextError

    started, read = time.perf_counter(), conversation.read
    with interruptible() as cancelled:
        answer = conversation.answer(said, limit=limit, stops=stops, cancelled=cancelled)
        try:
            for piece in answer:
                print(piece, end="", flush=True)
        except TextError as error:
            aside(f"error: {message(error)}")
            return
        print(flush=True)
    seconds = time.perf_counter() - started
    aside(
        f"[read {conversation.read - read} tokens, drew {conversation.drawn} in {seconds:.1f} s"
        f"{', stopped' if cancelled() else ''}]"
    )


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only makes the yielded function true; the next one interrupts."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        # The second one means it: whatever hangs must be left.
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
