"""What a teacher said of one window, as bytes: its most likely words, or its inner vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asnn_goose.names import check_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 2.0**-11
"""Log-probabilities are kept in whole units of this many nats; 0 to -32 fit sixteen bits."""

BLOCK = 64
"""Neighbouring channels that share the scale of eight-bit features."""

FEATURES = ("fp16", "int8")
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopWords:
    """The most likely words of T tokens, and what all the others have together.

    ids_TK    their numbers (int64)
    log_p_TK  their log-probabilities at temperature 1 (fp32)
    rest_TG   log of the sum of p^(1/tau) over the other words, at each of G temperatures (fp32);
              -inf where there are none
    """

    ids_TK: NDArray[np.int64]
    log_p_TK: NDArray[np.float32]
    rest_TG: NDArray[np.float32]


def id_type(vocabulary: int) -> np.dtype[Any]:
    """How the number of a word is kept."""
    return np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)


def top_bytes(*, top: int, temperatures: int, vocabulary: int) -> int:
    """Bytes of one token's words."""
    return top * (id_type(vocabulary).itemsize + 2) + 4 * temperatures


def pack_top(words: TopWords, *, vocabulary: int) -> bytes:
    """All ids, then all log-probabilities (rounded to UNIT, -32 at least), then the rest."""
    levels_TK = np.clip(np.rint(words.log_p_TK / -UNIT), 0, np.iinfo(np.uint16).max)
    parts = (
        words.ids_TK.astype(id_type(vocabulary)),
        levels_TK.astype(np.uint16),
        words.rest_TG.astype(np.float32),
    )
    return b"".join(part.tobytes() for part in parts)


def unpack_top(payload: bytes, *, top: int, temperatures: int, vocabulary: int) -> TopWords:
    """What `pack_top` made bytes of. Raises ValueError where they are not of whole tokens."""
    size = top_bytes(top=top, temperatures=temperatures, vocabulary=vocabulary)
    count, over = divmod(len(payload), size)
    if over:
        raise ValueError(f"{len(payload)} bytes are not of whole tokens of {size} bytes")
    ids, kept = id_type(vocabulary), count * top
    levels = np.frombuffer(payload, np.uint16, kept, kept * ids.itemsize)
    rest = np.frombuffer(payload, np.float32, count * temperatures, kept * (ids.itemsize + 2))
    return TopWords(
        ids_TK=np.frombuffer(payload, ids, kept).reshape(count, top).astype(np.int64),
        log_p_TK=levels.reshape(count, top).astype(np.float32) * np.float32(-UNIT),
        rest_TG=rest.reshape(count, temperatures),
    )


def feature_bytes(width: int, *, kind: str) -> int:
    """Bytes of one vector of features."""
    return 2 * width if kind == "fp16" else width + 4 * _blocks(width)


def pack_features(x_TD: NDArray[np.float32], *, kind: str) -> bytes:
    """Vectors as fp16 (at most its largest number), or as int8 with a scale every BLOCK channels.

    Raises ValueError for an unknown kind.
    """
    check_name(FEATURES, kind, setting="features")
    if kind == "fp16":
        return np.clip(x_TD, -_LARGEST, _LARGEST).astype(np.float16).tobytes()
    tokens, width = x_TD.shape
    padded = np.zeros((tokens, _blocks(width) * BLOCK), np.float32)
    padded[:, :width] = x_TD
    x_TGC = padded.reshape(tokens, -1, BLOCK)
    scale_TG1 = np.abs(x_TGC).max(-1, keepdims=True) / np.float32(127)
    inverse_TG1 = np.divide(1, scale_TG1, out=np.zeros_like(scale_TG1), where=scale_TG1 > 0)
    codes_TD = np.rint(x_TGC * inverse_TG1).astype(np.int8).reshape(tokens, -1)[:, :width]
    return bytes(codes_TD.tobytes() + scale_TG1.tobytes())


def unpack_features(payload: bytes, *, width: int, kind: str) -> NDArray[np.float32]:
    """The vectors (T,D) again. Raises ValueError where they are not whole."""
    tokens, over = divmod(len(payload), feature_bytes(width, kind=kind))
    if over:
        raise ValueError(f"{len(payload)} bytes are not of whole vectors of {width} channels")
    if kind == "fp16":
        return np.frombuffer(payload, np.float16).reshape(tokens, width).astype(np.float32)
    codes_TD = np.frombuffer(payload, np.int8, tokens * width).reshape(tokens, width)
    scale_TG = np.frombuffer(payload, np.float32, offset=tokens * width).reshape(tokens, -1)
    return codes_TD * np.repeat(scale_TG, BLOCK, axis=1)[:, :width]


def _blocks(width: int) -> int:
    return -(-width // BLOCK)
