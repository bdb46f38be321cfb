"""What counts of spikes come to, place by place, and whether a student passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asnn_goose.eval.spikes.information import Information, entropy
from asnn_goose.eval.spikes.tally import PlaceTally

SILENT, ALWAYS = 0.001, 0.95
"""A channel is dead that fires in fewer of its steps, saturated that fires in more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Spikes into one matrix, or of one site; layer None: the head.

    rate         share of steps in which a channel fires, over channels and tokens; by_step the same
    spread       deviation of that rate over channels
    dead, saturated   shares of the channels
    entropy      bits of a channel's code, mean over channels
    per_spike    bits for each spike; 0 where nothing fires
    correlation  of a channel's code with that of the next token
    information  of its spikes with the teacher's features; None without a teacher
    """

    name: str
    site: str
    layer: int | None
    spikes: int
    possible: int
    rate: float
    by_step: tuple[float, ...]
    spread: float
    dead: float
    saturated: float
    entropy: float
    per_spike: float
    correlation: float
    information: Information | None = None


def place_of(tally: PlaceTally, information: Information | None = None) -> Place:
    """Everything of one place."""
    spikes_KS = tally.spikes_KS().double().numpy()
    tokens = max(1, tally.tokens)
    rate_K = spikes_KS.mean(1) / tokens
    bits = float(np.mean([entropy(row) for row in tally.counts_KQ.numpy()]))
    per_token = spikes_KS.sum(1).mean() / tokens
    return Place(
        name=tally.name,
        site=tally.short,
        layer=tally.layer,
        spikes=int(spikes_KS.sum()),
        possible=spikes_KS.size * tally.tokens,
        rate=float(rate_K.mean()),
        by_step=tuple((spikes_KS.mean(0) / tokens).tolist()),
        spread=float(rate_K.std()),
        dead=float((rate_K < SILENT).mean()),
        saturated=float((rate_K > ALWAYS).mean()),
        entropy=bits,
        per_spike=bits / float(per_token) if per_token else 0.0,
        correlation=tally.correlation(),
        information=information,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One thing that a student should be: what was found, what is wanted."""

    name: str
    found: float
    wanted: str
    passed: bool


LIMITS = {"dead": 0.05, "saturated": 0.10, "least rate": 0.2, "most rate": 0.6, "cka": 0.3}


def gates(places: Sequence[Place], cka: Mapping[int, float]) -> list[Gate]:
    """Over all places, channels alike; those of a teacher only where there was one.

    cka  layer -> unbiased CKA of the student's hidden states with the teacher's
    """
    found = list(_own_gates(places)) if places else []
    told = [place.information.above for place in places if place.information is not None]
    if told:
        share, name = float(np.mean(told)), "places that tell more of the teacher than shuffled"
        found.append(Gate(name=name, found=share, wanted="all", passed=share == 1.0))
    if cka and places:
        mean, name = float(np.mean(list(cka.values()))), "CKA with the teacher, mean over layers"
        least = LIMITS["cka"]
        found.append(Gate(name=name, found=mean, wanted=f"> {least:g}", passed=mean > least))
    return found


def _own_gates(places: Sequence[Place]) -> Iterator[Gate]:
    """What a student shows by itself."""
    weights = [place.possible / max(1, len(place.by_step)) for place in places]
    for name in ("dead", "saturated"):
        share = float(np.average([getattr(place, name) for place in places], weights=weights))
        most = LIMITS[name]
        yield Gate(
            name=f"{name} channels", found=share, wanted=f"< {most:.0%}", passed=share < most
        )
    rate = sum(p.spikes for p in places) / max(1, sum(p.possible for p in places))
    low, high = LIMITS["least rate"], LIMITS["most rate"]
    yield Gate(
        name="firing rate", found=rate, wanted=f"{low:g} to {high:g}", passed=low <= rate <= high
    )
