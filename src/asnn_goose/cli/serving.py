"""What `serve` does: load students, and hand the application to uvicorn."""

from __future__ import annotations

import importlib
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asnn_goose.cli.engine_model import load_engine
from asnn_goose.cli.places import SubjectError

if TYPE_CHECKING:
    from asnn_goose.infer.server.settings import Access, Limits
    from asnn_goose.infer.server.student import Student

NEEDED = ("fastapi", "uvicorn", "llguidance", "prometheus_client")
PARTING = 5
"""Seconds that answers may still take once the server is told to end."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of `serve` that are for the students."""

    names: Sequence[str]
    cache_memory: int
    cache_folder: Path | None
    cache_disk: int
    kv_heads: int | None
    threads: int | None
    limits: Mapping[str, int]


def run(
    paths: Sequence[str],
    options: Options,
    *,
    host: str,
    port: int,
    keys: Sequence[str],
    origins: Sequence[str],
) -> None:
    """Serve until interrupted. Raises SubjectError where a library or a name is missing."""
    check_installed()
    import uvicorn

    from asnn_goose.infer.server.app import make_app
    from asnn_goose.infer.server.settings import Limits

    limits = Limits(**options.limits)
    access = access_for(host, keys=keys, origins=origins)
    students = load_students(paths, options, limits)
    app = make_app(students, limits=limits, access=access)
    with listening(host, port) as sock:
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"serving {', '.join(s.name for s in students)} on", err=True, nl=False)
        typer.echo(f" http://{shown}:{sock.getsockname()[1]}/", err=True)
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=PARTING
        )
        uvicorn.Server(settings).run(sockets=[sock])


def check_installed() -> None:
    """Raise SubjectError where a library of the server is not installed."""
    for library in NEEDED:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise SubjectError(
                f"{library} is missing: pip install 'asnn-goose[serve]' brings all that serve needs"
            ) from error


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


def load_students(paths: Sequence[str], options: Options, limits: Limits) -> list[Student]:
    """The students, each with an engine of its own."""
    names = list(options.names) + [default_name(path) for path in paths[len(options.names) :]]
    if len(names) > len(paths):
        raise SubjectError(f"{len(names)} --name for {len(paths)} students: give one each at most")
    if len(set(names)) < len(names):
        raise SubjectError(f"two students are called {', '.join(names)}: tell apart with --name")
    return [
        load_student(path, name, options, limits) for path, name in zip(paths, names, strict=True)
    ]


def load_student(path: str, name: str, options: Options, limits: Limits) -> Student:
    """One student, ready to serve."""
    from asnn_goose.eval.serving import serving_costs
    from asnn_goose.infer.chat_template import read_chat_template
    from asnn_goose.infer.server.state_folder import StateFolder
    from asnn_goose.infer.server.state_store import StateStore
    from asnn_goose.infer.server.student import Student

    loaded = load_engine(path, threads=options.threads)
    root = options.cache_folder
    folder = (
        StateFolder(root.expanduser(), loaded.engine, limit=options.cache_disk) if root else None
    )
    return Student(
        name,
        loaded.engine,
        loaded.vocabulary,
        template=read_chat_template(loaded.folder),
        store=StateStore(loaded.engine, memory=options.cache_memory, folder=folder),
        limits=limits,
        costs=serving_costs(loaded.engine.model, kv_heads=options.kv_heads),
    )


def default_name(path: str) -> str:
    """What a student is called after: its folder, or what holds a folder called packed or model."""
    folder = Path(path).expanduser().resolve()
    return folder.parent.name if folder.name in {"packed", "model"} else folder.name
