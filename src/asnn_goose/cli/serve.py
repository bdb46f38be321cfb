"""`asnn-goose serve`: an OpenAI-compatible server with a playground."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asnn_goose.cli.options import Threads, count_of
from asnn_goose.cli.tables import aside
from asnn_goose.numbers import count

if TYPE_CHECKING:
    from asnn_goose.infer.server.settings import Access

PARTING = 5
"""Seconds that answers may still take once the server is told to end."""


class States(StrEnum):
    """What the matrices of states are kept in."""

    f32 = "f32"
    bf16 = "bf16"


EXAMPLES = (
    "asnn-goose serve runs/demo",
    "asnn-goose serve goose.packed --port 9000 --cache-folder ~/.cache/goose-states",
    "asnn-goose serve runs/spiking runs/dense --name spiking --name dense",
    "asnn-goose serve runs/demo --host 0.0.0.0 --api-key secret",
)


def serve(
    student: Annotated[
        list[str],
        typer.Argument(help="Packed folders, run folders or students' folders; the first answers."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ASNN_GOOSE_API_KEY",
            metavar="KEY",
            help="Key that a request must carry; may be repeated.  [default: none is needed]",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name of a student in requests, in their order.  [default: its folder]"),
    ] = None,
    slots: Annotated[int, count_of("Answers written at the same time.")] = 64,
    queue: Annotated[int, count_of("Requests that may wait for a slot.")] = 256,
    max_prompt: Annotated[int, count_of("Tokens of a prompt at most.")] = 32_768,
    max_tokens: Annotated[int, count_of("Tokens of an answer at most.")] = 4096,
    max_body: Annotated[int, count_of("Size of a request at most.", "BYTES")] = 1_000_000,
    time_limit: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="Time of a request at most.")
    ] = 600,
    slice_: Annotated[
        int,
        typer.Option(
            "--slice",
            parser=count,
            metavar="N",
            help="Tokens of new prompts read between two tokens of the answers being written.",
        ),
    ] = 8,
    cache_memory: Annotated[int, count_of("Memory for states of prefixes.", "BYTES")] = 512_000_000,
    cache_folder: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps these states over a restart.  [default: none does]"),
    ] = None,
    cache_disk: Annotated[int, count_of("Size of that folder at most.", "BYTES")] = 4_000_000_000,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin whose pages may call; may be repeated."),
    ] = None,
    kv_heads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Key-value heads of the teacher, for the playground's comparison.  [default: as"
            " many as the student has heads]",
        ),
    ] = None,
    threads: Threads = None,
    states: Annotated[
        States, typer.Option(help="bf16 takes half the memory of every conversation.")
    ] = States.f32,
) -> None:
    """Serve students to OpenAI clients, with a playground that shows their spikes, at /.

    Many answers are written at the same time; states of prompts' beginnings are kept, so that a
    conversation or a shared system prompt is never read twice. Ctrl-C ends it.
    """
    from asnn_goose.infer.server.app import make_app
    from asnn_goose.infer.server.settings import Limits
    from asnn_goose.subject.served import Options, load_students

    options = Options(
        names=name or [],
        cache_memory=cache_memory,
        cache_folder=cache_folder,
        cache_disk=cache_disk,
        kv_heads=kv_heads,
        threads=threads,
        states="bf16" if states is States.bf16 else "f32",
    )
    limits = Limits(
        slots=slots,
        queue=queue,
        prompt=max_prompt,
        tokens=max_tokens,
        body=max_body,
        time=time_limit,
        slice=slice_,
    )
    access = access_for(host, keys=api_key or [], origins=allow_origin or [])
    students = load_students(student, options, limits, tell=aside)
    app = make_app(students, limits=limits, access=access)
    # Our own socket, so that a port that is taken is told before anything else, and port 0 can be
    # shown.
    with listening(host, port) as sock:
        # An address of IPv6 has colons of its own.
        shown = f"[{host}]" if ":" in host else host
        names = ", ".join(s.name for s in students)
        aside(f"serving {names} on http://{shown}:{sock.getsockname()[1]}/")
        run(app, sock, header_time=limits.header_time)


def run(app: Any, sock: socket.socket, *, header_time: float) -> None:
    """Serve on an open socket until a signal ends it."""
    import uvicorn

    from asnn_goose.infer.server.patience import patient

    settings = uvicorn.Config(
        app,
        http=patient(header_time),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=PARTING,
    )
    uvicorn.Server(settings).run(sockets=[sock])


def access_for(host: str, *, keys: Sequence[str], origins: Sequence[str]) -> Access:
    """Who may come in at an address; a warning where that is everybody."""
    from asnn_goose.infer.server.settings import Access

    if "" in keys:
        raise ValueError("--api-key '': must not be empty; leave it out to need none")
    loopback = is_loopback(host)
    if not loopback and not keys:
        typer.echo(
            f"warning: {host} can be reached from outside, and no --api-key is set: everybody who"
            " reaches it may use this machine",
            err=True,
        )
    # Only on the loopback can all right names be known; elsewhere a name of the network may lead
    # here.
    hosts = ("localhost", "127.0.0.1", "::1", host.lower()) if loopback else ()
    return Access(keys=tuple(keys), hosts=hosts, origins=tuple(origins))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError, with the address, where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
