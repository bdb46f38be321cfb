"""A served student under load, on the loopback address only.

    python bench/server_load.py PACKED [--clients 64] [--seconds 60] [--vanish 0.2] [--rubbish 0.1]
                                       [--tokens 48] [--requests N] [--context 4000]
                                       [--threads 2] [--check]

Clients stream seeded answers one after another; every whole answer is compared with the one that
the same request had alone. A share of them closes the connection after some tokens, a share sends
what is no request. Said are tokens/s beside the engine's own for as many sequences, the time
between tokens, the server's memory after half of the time and at the end, open files, and the
time to the first token of a follow-up to a long conversation, in decode steps. The clients compute
on the same machine: give them a core of their own where there is one.

--check fails (exit status 1) unless every answer is whole and its own, the 99th percentile between
tokens is at most 3 times the median, tokens/s at least .8 of the engine's, memory within 1 %, and
the follow-up begins within 3 steps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.served import Server, start

from asnn_goose.infer.engine import Engine

TASKS, WARM = 6, 0.5
FOLLOWED, STEPS = 7, 20
RUBBISH = (b"", b"{", b"\xff\xfe", b'{"messages": 5}', b'{"messages": []}', b"[" * 9999)


@dataclass(slots=True)
class Record:
    """What all clients saw."""

    asked: int = 0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    whole: int = 0
    vanished: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


async def send(server: Server, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request, sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    return reader, writer


def request(prompt: Any, *, seed: int, tokens: int) -> bytes:
    """A streamed completion; its log-probabilities make every token an event."""
    body = {"prompt": prompt, "seed": seed, "max_tokens": tokens, "stream": True, "logprobs": 0}
    return json.dumps(body).encode()


async def events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Events of a stream, to its [DONE]."""
    status = (await reader.readline()).split()
    if status[1:2] != [b"200"]:
        raise ConnectionError(f"status {status[1:2]}")
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            return
        if line.startswith(b"data: "):
            yield json.loads(line[6:])
    raise ConnectionError("the stream has not ended")


async def answer(
    server: Server,
    content: bytes,
    record: Record,
    *,
    leave: int = 0,
    until: float = float("inf"),
) -> str | None:
    """The text of an answer; None where the client left after so many tokens.

    Tokens count `until` the time is over: then fewer and fewer clients are left.
    """
    reader, writer = await send(server, content)
    text, tokens, last = "", 0, 0.0
    try:
        async for event in events(reader):
            if "error" in event:
                raise ConnectionError(str(event["error"]))
            choice, now = event["choices"][0], time.perf_counter()
            text += choice["text"]
            if choice["logprobs"] is None:
                continue
            if last:
                record.gaps.append(now - last)
            tokens, last = tokens + 1, now
            record.tokens += time.monotonic() < until
            if tokens == leave:
                return None
        return text
    finally:
        writer.close()


async def refused(server: Server, record: Record) -> None:
    """Send rubbish; anything but a 4xx is wrong."""
    reader, writer = await send(server, random.choice(RUBBISH))
    status = (await reader.readline()).split()[1:2]
    writer.close()
    record.refused += 1
    if not (status and status[0].startswith(b"4")):
        record.wrong.append(f"rubbish was answered with {status}")


async def client(
    server: Server,
    tasks: dict[bytes, str],
    until: float,
    options: argparse.Namespace,
    record: Record,
) -> None:
    """Ask until the time is over, or all requests are made."""
    vanish, rubbish = options.vanish, options.rubbish
    while time.monotonic() < until and record.asked < options.requests:
        record.asked += 1
        chance, content = random.random(), random.choice(list(tasks))
        try:
            if chance < rubbish:
                await refused(server, record)
                continue
            leave = (
                random.randint(1, max(1, options.tokens // 2)) if chance < rubbish + vanish else 0
            )
            text = await answer(server, content, record, leave=leave, until=until)
        except (OSError, EOFError) as error:
            record.wrong.append(str(error))
            continue
        if text is None:
            record.vanished += 1
        elif text == tasks[content]:
            record.whole += 1
        else:
            record.wrong.append(f"{text!r} instead of {tasks[content]!r}")


async def follow_up(server: Server, context: int) -> tuple[float, float]:
    """Seconds of a decode step, and to the first token of a follow-up, the median of a few."""
    alone, words = Record(), [random.randrange(100, 250) for _ in range(context)]
    await answer(server, request(words, seed=0, tokens=16), alone)
    times = []
    for word in range(101, 101 + FOLLOWED):
        started, found = time.perf_counter(), list[float]()
        reader, writer = await send(server, request([*words, word], seed=0, tokens=4))
        async for event in events(reader):
            if event["choices"][0]["logprobs"] is not None:
                found.append(time.perf_counter() - started)
        times.append(found[0])
        writer.close()
    return statistics.median(alone.gaps), statistics.median(times)


def own_rate(packed: str, threads: int, sequences: int) -> float:
    """Tokens/s of the engine by itself, on as many sequences that each go their own way."""
    engine, random_ = Engine.load(packed, threads=threads), random.Random(0)
    states = [engine.start() for _ in range(sequences)]

    def words(count: int) -> list[list[int]]:
        # The same words in all would fire the same neurons, and read fewer columns.
        size = engine.vocab_size
        return [[random_.randrange(size) for _ in range(count)] for _ in range(sequences)]

    engine.advance(states, words(8))
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        engine.advance(states, words(1))
        times.append(time.perf_counter() - started)
    return sequences / statistics.median(times)


async def known_answers(server: Server, tokens: int) -> dict[bytes, str]:
    """Requests, and what each is answered alone."""
    tasks = dict[bytes, str]()
    for seed in range(TASKS):
        prompt = [random.randrange(100, 250) for _ in range(24 + 8 * seed)]
        content = request(prompt, seed=seed, tokens=tokens)
        tasks[content] = str(await answer(server, content, Record()))
    return tasks


async def measure(server: Server, options: argparse.Namespace) -> tuple[float, dict[str, bool]]:
    """Load the server; print what was seen: tokens/s, and which other bars hold."""
    random.seed(0)
    tasks = await known_answers(server, options.tokens)
    step, first = await follow_up(server, options.context)
    record, began = Record(), time.monotonic()
    until = began + options.seconds
    crowd = [client(server, tasks, until, options, record) for _ in range(options.clients)]
    running, warm, files = asyncio.gather(*crowd), 0.0, 0
    # The last look is at the end of the load, before its clients leave.
    while time.monotonic() < until and not running.done():
        last = server.mebibytes
        half = time.monotonic() >= began + WARM * options.seconds
        if not warm and (half or record.asked >= WARM * options.requests):
            warm, files = last, server.files
        await asyncio.sleep(0.1)
    await running
    speed = record.tokens / min(options.seconds, time.monotonic() - began)
    middle, late = (statistics.quantiles(record.gaps, n=100)[n] for n in (49, 98))
    print(f"{record.asked} requests: {record.whole} whole answers, {record.vanished} left")
    print(f"{record.refused} of rubbish refused")
    print(f"wrong: {len(record.wrong)} {record.wrong[:3]}")
    print(f"between tokens {1e3 * middle:.1f} ms, p99 {late / middle:.1f} times as long")
    print(f"memory {warm:.0f} -> {last:.0f} MiB")
    print(f"open files {files} under load, {server.files} after")
    print(f"follow-up to {options.context} tokens: {first / step:.1f} steps of {1e3 * step:.1f} ms")
    return speed, {
        "every answer its own": not record.wrong and record.whole > 0,
        "p99 at most 3 medians": late <= 3 * middle,
        "memory within 1 %": last <= 1.01 * warm,
        "follow-up within 3 steps": first <= 3 * step,
    }


def main() -> int:
    """Carry out what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packed")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--vanish", type=float, default=0.0)
    parser.add_argument("--rubbish", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=48, help="of an answer")
    parser.add_argument("--requests", type=float, default=float("inf"), help="at most")
    parser.add_argument("--context", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    settings = (options.packed, options.threads, options.clients)
    # On both sides of the load: a machine is not as fast at all times.
    before = own_rate(*settings)
    server = start(*settings)
    try:
        speed, bars = asyncio.run(measure(server, options))
    finally:
        server.process.terminate()
        server.process.wait()
    rates = (before, own_rate(*settings))
    share = speed / statistics.mean(rates)
    own = " and ".join(f"{rate:.0f}" for rate in rates)
    print(f"{speed:.0f} tokens/s, {share:.2f} of the engine's own {own}")
    bars["0.8 of the engine's rate"] = share >= 0.8
    missed = [bar for bar, holds in bars.items() if not holds]
    print(f"bars not reached: {', '.join(missed) or 'none'}")
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
