"""Logits of llama.cpp, through its C interface and without its headers.

Structures of settings grow from release to release. They are only passed on here, by value and on
the stack, where a longer one than the library knows does no harm; the few fields that are set have
stood at the start of theirs since they exist.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.peers.peer import NotRunError
from numpy.typing import NDArray


class _Settings(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 256)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


N_CTX, N_BATCH, N_UBATCH = range(3)
"""Fields of the context's settings, counted in 32-bit words."""


class LlamaCpp:
    """A model in a GGUF file, read by the libraries in a folder.

    Raises NotRunError where they are not there or refuse the file.
    """

    def __init__(self, libraries: Path, file: Path, *, threads: int, context: int) -> None:
        self._library = _load(libraries)
        self._context_length, self._threads = context, threads
        self._model = self._library.llama_model_load_from_file(
            str(file).encode(), self._library.llama_model_default_params()
        )
        if not self._model:
            raise NotRunError(f"llama.cpp refuses {file}")
        words = self._library.llama_model_get_vocab(self._model)
        self.vocabulary = int(self._library.llama_vocab_n_tokens(words))

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T,V) after every token, from an empty state."""
        context = self._context()
        self._decode(context, ids, start=0)
        rows = [self._library.llama_get_logits_ith(context, n) for n in range(len(ids))]
        found = np.stack([np.ctypeslib.as_array(row, (self.vocabulary,)).copy() for row in rows])
        self._library.llama_free(context)
        return found

    def decode_rate(self, *, tokens: int, warm_up: int = 8) -> float:
        """Tokens per second, one at a time from an empty state on, without drawing."""
        context, started = self._context(), 0.0
        for place in range(warm_up + tokens):
            if place == warm_up:
                started = time.perf_counter()
            self._decode(context, [place % self.vocabulary], start=place)
            # Asked for, because a library may compute until somebody looks.
            self._library.llama_get_logits_ith(context, 0)
        seconds = time.perf_counter() - started
        self._library.llama_free(context)
        return tokens / seconds

    def _context(self) -> Any:
        settings = self._library.llama_context_default_params()
        for field in (N_CTX, N_BATCH, N_UBATCH):
            settings.words[field] = self._context_length
        context = self._library.llama_init_from_model(self._model, settings)
        if not context:
            raise NotRunError("llama.cpp makes no context of this model")
        self._library.llama_set_n_threads(context, self._threads, self._threads)
        return context

    def _decode(self, context: Any, ids: Sequence[int], *, start: int) -> None:
        """Read tokens from this place on, with logits of all of them."""
        batch = self._library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for number, token in enumerate(ids):
            batch.token[number], batch.pos[number] = token, start + number
            batch.logits[number], batch.n_seq_id[number], batch.seq_id[number][0] = 1, 1, 0
        failed = self._library.llama_decode(context, batch)
        self._library.llama_batch_free(batch)
        if failed:
            raise NotRunError("llama_decode failed")


def _load(folder: Path) -> Any:
    """The library, with what it can compute on and the signatures that are used here."""
    ggml, llama = (_one(folder, name) for name in ("ggml", "llama"))
    ctypes.CDLL(str(ggml), mode=ctypes.RTLD_GLOBAL).ggml_backend_load_all_from_path(
        str(folder).encode()
    )
    library: Any = ctypes.CDLL(str(llama))
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    for name, result, arguments in (
        ("llama_model_default_params", _Settings, []),
        ("llama_context_default_params", _Settings, []),
        ("llama_model_load_from_file", pointer, [ctypes.c_char_p, _Settings]),
        ("llama_model_get_vocab", pointer, [pointer]),
        ("llama_vocab_n_tokens", number, [pointer]),
        ("llama_init_from_model", pointer, [pointer, _Settings]),
        ("llama_set_n_threads", None, [pointer, number, number]),
        ("llama_batch_init", _Batch, [number, number, number]),
        ("llama_batch_free", None, [_Batch]),
        ("llama_decode", number, [pointer, _Batch]),
        ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, number]),
        ("llama_free", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.llama_backend_init()
    return library


def _one(folder: Path, name: str) -> Path:
    """lib{name}.so, or with a version in its name."""
    found = sorted(folder.glob(f"lib{name}.*"))
    if not found:
        raise NotRunError(f"no lib{name} in {folder}: build it with bench/peers/build_llama_cpp.sh")
    return found[0]
