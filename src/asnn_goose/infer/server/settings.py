"""What a server allows: numbers that bound memory and time, whoever asks for whatever."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server.

    slots       answers that are written at the same time, for each student
    queue       requests that may wait for a slot; the next one is turned away with 429
    header_time seconds for a connection to say what it wants
    body        bytes of a request
    body_time   seconds for a request's bytes to arrive
    prompt      tokens of a prompt
    tokens      tokens of an answer: the most that may be asked for, and what is taken unasked
    time        seconds from a request to the end of its answer
    slice       tokens of prompts that are read in one step beside answers being written; as many
                as there are answers where those are more
    Raises ValueError for a bound of 0 or less.
    """

    slots: int = 64
    queue: int = 256
    header_time: float = 20.0
    body: int = 1 << 20
    body_time: float = 20.0
    prompt: int = 32_768
    tokens: int = 4096
    time: float = 600.0
    slice: int = 8

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f"{name} = {value}: must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may come in.

    keys     API keys, one of which a request must carry; none: everybody
    hosts    names by which the server may be called; none: any. Guards a server on the loopback
             address against pages whose host name is made to lead there (DNS rebinding)
    origins  web origins whose pages may call the server (CORS); none: only its own page
    """

    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = field(default=())
