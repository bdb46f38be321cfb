"""Prompt in, text out: the part of `generate` that needs torch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from asnn_goose.cli.sampling import Sampling, stream
from asnn_goose.cli.subject import Subject
from asnn_goose.data.shards import separator_id
from asnn_goose.eval.meter import measured

CONTEXT = 8
"""Prompt tokens that the decoder sees before the first drawn one."""


def write(
    subject: Subject,
    prompt: str,
    *,
    tokens: int,
    sampling: Sampling,
    seed: int | None = None,
    stop: bool = True,
) -> None:
    """Print prompt and continuation on stdout as they come, speed and memory on stderr.

    An empty prompt starts a new document. With `stop` the text ends where the model ends a
    document.
    """
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    ids_T = prompt_ids(subject.tokenizer, prompt)
    drawn = stream(subject.model, ids_T, tokens=tokens, sampling=sampling, generator=generator)
    if stop:
        ends = end_ids(subject.tokenizer)
        drawn = takewhile(lambda token: token not in ends, drawn)
    count = 0
    print(prompt, end="", flush=True)
    with measured() as reading:
        for piece in pieces(subject.tokenizer, ids_T, drawn):
            count += 1
            print(piece, end="", flush=True)
    print(flush=True)
    print(
        f"[{count} tokens, {count / reading.seconds:.1f} tokens/s,"
        f" peak memory {reading.peak_bytes / 1e6:.0f} MB]",
        file=sys.stderr,
    )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> Tensor:
    """Ids (T,) of a prompt; of an empty one the token that stands between two documents."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
    return torch.tensor(ids or [separator_id(tokenizer)])


def end_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens after which a text is over."""
    return {separator_id(tokenizer), tokenizer.eos_token_id} - {None}


def pieces(
    tokenizer: PreTrainedTokenizerBase, prompt_T: Tensor, drawn: Iterable[int]
) -> Iterator[str]:
    """One piece of text per token, empty while a character is incomplete.

    The end of the prompt tells the decoder whether a space belongs before the first piece.
    """
    decoder = DecodeStream(ids=prompt_T[-CONTEXT:].tolist(), skip_special_tokens=True)
    for token in drawn:
        yield decoder.step(tokenizer.backend_tokenizer, token) or ""
