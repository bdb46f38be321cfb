"""RWKV-7's time mixing (Peng et al. 2025, arXiv 2503.14456): its settings, slots and state."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.limits import Fault, Only, Setting, Size, Switch, Words, setting
from asnn_goose.shape.slots import Matrix, Site, Slot, State, Vector, low_rank

LEAST_KEY, LEAST_SPIKING_KEY = 1e-12, 1e-6
"""The removal key is divided by its length, which counts as at least this. A head none of whose
keys fires has length 0, where the gradient of the division would be 1e12."""

KEPT = 40
"""Numbers that a backward pass keeps, in multiples of the mixer's width: counted in PyTorch."""


def published_rank(factor: float, width: int) -> int:
    """Low-rank size of the paper: max(32, 32 * round(factor * sqrt(width) / 32))."""
    return int(max(32, 32 * round(factor * width**0.5 / 32)))


RANKS = {"decay_rank": 2.5, "rate_rank": 2.5, "value_rank": 1.7, "gate_rank": 5.0}
"""Low-rank sizes and their factors in the published rule."""


NO_SHIFT_RANK = Setting(default=0, student=Only(0), packed=None)
"""Of a mixer whose token shifts do not follow the data."""


NO_INNER_STEPS = NO_SHIFT_RANK
"""Of a mixer that sees every token once."""


def _rank() -> Setting:
    return setting(0, Size(least=0), packed=Size(most=1 << 14))


def _switch(default: bool) -> Setting:
    return setting(default, Switch())


def _slots(settings: Settings, layer: int) -> Iterator[Slot]:
    """Its parts in the order in which a packed file and the engine take them."""
    width, heads, size = (
        settings[name] for name in ("hidden_size", "num_attention_heads", "head_size")
    )
    wide, gated = heads * size, settings["gate"] != "none"
    for name in ("receptance", "key", "value"):
        yield _projection(name, rows=wide, columns=width, bias=settings["qkv_bias"])
    for name in ("k", "v"):
        yield Site(name=name, columns=wide, precision=name)
    yield _projection("output", rows=width, columns=wide, bias=settings["output_bias"])
    yield from low_rank("decay", width, settings["decay_rank"], wide)
    yield from low_rank("rate", width, settings["rate_rank"], wide)
    if layer > 0 and settings["v_first"] != "none":  # block 0 gives the values that others mix in
        yield from low_rank("value_mix", width, settings["value_rank"], wide)
    if gated:
        yield from low_rank("gate", width, settings["gate_rank"], wide, bias=False)
    for switch, name, shape in (
        ("token_shift", "shift.mix", (6 if gated else 5, width)),
        ("value_shift", "value_shift.mix", (1, wide)),
        ("removal_key", "removal", (wide,)),
        ("key_replacement", "replacement", (wide,)),
        ("bonus", "bonus", (heads, size)),
        ("group_norm", "norm.weight", (wide,)),
        ("group_norm", "norm.bias", (wide,)),
        ("qk_norm", "query_norm.weight", (size,)),
        ("qk_norm", "key_norm.weight", (size,)),
    ):
        if settings.get(switch, False):  # a packed file does not say qk_norm
            yield Vector(name=name, shape=shape)


def _projection(name: str, *, rows: int, columns: int, bias: bool) -> Matrix:
    return Matrix(name=name, rows=rows, columns=columns, part="mixer", precision=name, bias=bias)


def _state(settings: Settings) -> tuple[State, ...]:
    """The matrix memory, axes [head, value, key], and what is shifted: last input, last values."""
    heads, size = settings["num_attention_heads"], settings["head_size"]
    found = [State(name="memory", shape=(heads, size, size))]
    if settings["token_shift"]:
        found.append(State(name="shift", shape=(settings["hidden_size"],)))
    if settings.get("value_shift", False):  # older files do not say it, and have none
        found.append(State(name="value", shape=(heads * size,)))
    return tuple(found)


def _kept(settings: Settings) -> int:
    return KEPT * int(settings["num_attention_heads"] * settings["head_size"])


def _recurrence(settings: Settings) -> tuple[int, int]:
    """On the N x N numbers of every head: decay, S alpha, its outer product, v k^T and S r."""
    cells = int(settings["num_attention_heads"] * settings["head_size"] ** 2)
    return 4 * cells, 5 * cells


def _faults(settings: Settings) -> Iterator[Fault]:
    if settings["rope"] and settings["head_size"] % 2:
        yield Fault("head_size", settings["head_size"], "even, for rope = true")


def _ranks(width: int) -> dict[str, int]:
    return {name: published_rank(factor, width) for name, factor in RANKS.items()}


RWKV7 = Half(
    slots=_slots,
    kept=_kept,
    settings={
        # The engine's kernels take a head's rows by 16, and hold its vectors on the stack.
        "head_size": setting(64, Size(), packed=Size(least=16, most=128, multiple=16)),
        **{name: _rank() for name in RANKS},
        "shift_rank": NO_SHIFT_RANK,
        "inner_steps": NO_INNER_STEPS,
        "gate": setting("sigmoid", Words(("sigmoid", "one_plus", "none"))),
        "v_first": setting("mix", Words(("mix", "detached", "none"))),
        "value_shift": setting(False, Switch(), later=True),
        "removal_key": _switch(True),
        "key_replacement": _switch(True),
        "bonus": _switch(True),
        "group_norm": _switch(True),
        "rope": _switch(False),
        "qk_norm": setting(False, Switch(), packed=Only(False)),
    },
    state=_state,
    recurrence=_recurrence,
    faults=_faults,
    ranks=_ranks,
    engine=True,
)

PARTS = {"removal_key": True, "key_replacement": True, "v_first": "mix", "value_shift": False}
"""Parts that RWKV-7 has and no mixer before it, with their defaults."""


def no_parts_of_rwkv7() -> dict[str, Setting]:
    """Settings of a mixer to which these parts, and its rotations, mean nothing."""
    return {name: setting(default, Only(default)) for name, default in PARTS.items()} | {
        "rope": setting(False, Only(False)),
        "inner_steps": NO_INNER_STEPS,
    }
