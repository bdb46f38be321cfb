"""RWKV-7's time mixing (Peng et al. 2025, arXiv 2503.14456): its settings, slots and state.

Every part of it can be switched on its own:
  token_shift      mix every input with the token before it
  value_shift      mix every channel of v with the token before it (ours): with `bonus` a head can
                   look one token back without its state
  decay_rank, rate_rank, value_rank, gate_rank   low-rank sizes; 0 takes the published rule
  gate             "sigmoid" (published), "one_plus" (ARWKV: starts at exactly 1) or "none"
  v_first          mix the first block's values into later ones: "mix", "detached" (no gradient into
                   the first block, ARWKV) or "none"
  removal_key      separate direction k * k_k for what the state forgets
  key_replacement  scale the written key with the learning rate through k_a
  bonus            the current token's own term through r_k
  group_norm       normalise every head's output
  rope             rotate r and k by position (RADLADS), with the base `rope_theta`, or with that of
                   `rope_thetas` for every layer, 0 for none; the first `rope_channels` of a head, 0
                   for all
  qk_norm          RMS-normalise r and k before that, as Qwen3 does with q and k: every "head" for
                   itself, or "all" as one as in OLMo 2 (`qk_norm_over`)
"""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.heads import cells, last_input, matrices, memories, wide
from asnn_goose.shape.limits import Fault, Only, Setting, Size, Switch, Words, is_size, setting
from asnn_goose.shape.slots import SiteSlot, Slot, StateSlot, VectorSlot, low_rank

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


def _slots(settings: Settings, layer: int) -> Iterator[Slot]:
    """Its parts in the order in which a packed file and the engine take them."""
    width, inner, gated = settings["hidden_size"], wide(settings), settings["gate"] != "none"
    by_head = (settings["num_attention_heads"], settings["head_size"])
    *readers, output = matrices(settings, "receptance", "key", "value")
    yield from readers
    # Sites stand where the engine meets them: behind the matrices that make k and v.
    for name in ("k", "v"):
        yield SiteSlot(name=name, columns=inner, precision=name)
    yield output
    yield from low_rank("decay", width, settings["decay_rank"], inner)
    yield from low_rank("rate", width, settings["rate_rank"], inner)
    if layer > 0 and settings["v_first"] != "none":  # block 0 gives the values that others mix in
        yield from low_rank("value_mix", width, settings["value_rank"], inner)
    if gated:
        yield from low_rank("gate", width, settings["gate_rank"], inner, bias=False)
    for switch, name, shape in (
        ("token_shift", "shift.mix", (6 if gated else 5, width)),
        ("value_shift", "value_shift.mix", (1, inner)),
        ("removal_key", "removal", (inner,)),
        ("key_replacement", "replacement", (inner,)),
        ("bonus", "bonus", by_head),
        ("group_norm", "norm.weight", (inner,)),
        ("group_norm", "norm.bias", (inner,)),
        ("qk_norm", "query_norm.weight", (normed_channels(settings),)),
        ("qk_norm", "key_norm.weight", (normed_channels(settings),)),
    ):
        if settings.get(switch, False):  # older files do not say them all, and have none
            yield VectorSlot(name=name, shape=shape)


def normed_channels(settings: Settings) -> int:
    """Channels that one of the norms of r and k has together: those of a head, or all."""
    heads = int(settings["num_attention_heads"]) if settings.get("qk_norm_over") == "all" else 1
    return heads * int(settings["head_size"])


def rotary_base(settings: Settings, layer: int) -> float:
    """The base by which a block turns r and k; 0 where it does not."""
    if not settings["rope"]:
        return 0.0
    by_layer = settings.get("rope_thetas")
    return float(settings["rope_theta"] if by_layer is None else by_layer[layer])


def _state(settings: Settings) -> tuple[StateSlot, ...]:
    """The memory, and what is shifted: the last input, the last values."""
    found = (memories(settings), *last_input(settings))
    if not settings.get("value_shift", False):  # older files do not say it, and have none
        return found
    return *found, StateSlot(name="value", shape=(wide(settings),))


def _recurrence(settings: Settings) -> tuple[int, int]:
    """On the N x N numbers of every head: decay, S alpha, its outer product, v k^T and S r."""
    return 4 * cells(settings), 5 * cells(settings)


def _faults(settings: Settings) -> Iterator[Fault]:
    size, channels = settings["head_size"], settings.get("rope_channels", 0)
    if settings["rope"] and (size % 2 and not channels):
        yield Fault("head_size", size, "even, for rope = true")
    if channels > size:
        yield Fault("rope_channels", channels, f"at most the head size {size}")


def _completed(settings: Settings) -> dict[str, int]:
    found = settings["hidden_size"]
    width = found if is_size(found) else 0  # what is no size is named with the faults
    return {n: published_rank(f, width) for n, f in RANKS.items() if not settings[n]}


RWKV7 = Half(
    slots=_slots,
    kept=lambda settings: KEPT * wide(settings),
    settings={
        # The engine's kernels take a head's rows by 16, and hold its vectors on the stack.
        "head_size": setting(64, Size(), packed=Size(least=16, most=128, multiple=16)),
        **{name: setting(0, Size(least=0), packed=Size(most=1 << 14)) for name in RANKS},
        "shift_rank": NO_SHIFT_RANK,
        "inner_steps": NO_INNER_STEPS,
        "gate": setting("sigmoid", Words(("sigmoid", "one_plus", "none"))),
        "v_first": setting("mix", Words(("mix", "detached", "none"))),
        "value_shift": setting(False, Switch(), later=True),
        "removal_key": setting(True, Switch()),
        "key_replacement": setting(True, Switch()),
        "bonus": setting(True, Switch()),
        "group_norm": setting(True, Switch()),
        "rope": setting(False, Switch()),
        "rope_channels": setting(
            0, Size(least=0, multiple=2), packed=Size(least=0, most=128, multiple=2), later=True
        ),
        "qk_norm": setting(False, Switch(), later=True),
        "qk_norm_over": setting("head", Words(("head", "all")), later=True),
    },
    state=_state,
    recurrence=_recurrence,
    faults=_faults,
    completed=_completed,
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
