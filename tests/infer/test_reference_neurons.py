"""The oracle's neurons: fixed amplitudes, sites without a matrix, and all that are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.forms import ExportError
from asnn_goose.infer.reference.model import Reference
from asnn_goose.infer.reference.spikes import Neurons, encode_fixed
from asnn_goose.model.neurons import NEURONS

Make = Callable[..., Any]

SITE = {"steps": 2, "code": "radix3", "threshold": 3.0}
PRECISION: dict[str, dict[str, Any]] = {
    "*": {"planes": 2, "steps": 3, "threshold": 3.0},
    "1.k": SITE,
    "0.v": SITE | {"code": "rate"},
}


def logits_of(model: Any, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(input_ids=torch.tensor(ids)[None]).logits[0])


@pytest.mark.parametrize("changes", [{}, {"rope": True, "qkv_bias": True}], ids=str)
def test_fixed_amplitudes_and_sites_are_those_of_pytorch(
    changes: dict[str, Any], student: Make, packed: Make, with_amplitudes: Make, ids: np.ndarray
) -> None:
    model = with_amplitudes(student(mlp="gated", precision=PRECISION, **changes))
    reference = Reference(packed(model))
    found = reference.forward([reference.new_state()], [ids], every=True)
    np.testing.assert_allclose(found, logits_of(model, ids), atol=1e-3)
    assert set(reference.counts()) >= {"blocks.1.mixer.k", "blocks.0.mixer.v", "blocks.0.mlp.up"}


PLACES = [
    (neuron, steps)
    for neuron in sorted(set(NEURONS) - {"heaviside", "gif", "lsq_plus"})  # they take no threshold
    for steps in (1, 3)
    if (neuron, steps) != ("lif", 3)
]


@pytest.mark.parametrize(("neuron", "steps"), PLACES)
def test_every_neuron_is_that_of_pytorch_or_refused(
    neuron: str, steps: int, student: Make, packed: Make, ids: np.ndarray
) -> None:
    code = "radix2" if neuron == "salient" else "rate"
    entry = {"planes": 1, "steps": steps, "code": code, "threshold": 1.5, "neuron": neuron}
    model = student(mlp="gated", num_hidden_layers=2, precision={"*": entry})
    model.train()
    logits_of(model, ids)  # what is measured on the first batch
    model.eval()
    if model.blocks[0].mlp.up.neuron.training_only:
        with pytest.raises(ExportError, match="are for training only"):
            packed(model)
        return
    reference = Reference(packed(model))
    found = reference.forward([reference.new_state()], [ids], every=True)
    np.testing.assert_allclose(found, logits_of(model, ids), atol=1e-3)


def test_a_bias_of_the_ternary_method_is_that_of_pytorch(
    student: Make, packed: Make, ids: np.ndarray
) -> None:
    precision = {"*": {"planes": 1, "steps": 3, "threshold": 3.0, "ternary": "tequila"}}
    model = student(mlp="gated", precision=precision)
    for block in model.blocks:
        block.mixer.key.ternary.strength = block.mlp.down.ternary.strength = 0.3
    reference = Reference(packed(model))
    found = reference.forward([reference.new_state()], [ids], every=True)
    np.testing.assert_allclose(found, logits_of(model, ids), atol=1e-3)
    model.blocks[0].mlp.down.ternary.strength = 0.0
    assert np.abs(found - logits_of(model, ids)).max() > 1e-2


def test_a_fixed_amplitude_does_not_follow_the_token() -> None:
    x_K = np.array([0.25, 0.75, -1.25, 9, -0.5], np.float32)
    graded = encode_fixed(x_K, steps=2, code="radix3", amplitude=0.5)
    assert (graded.levels_K.tolist(), graded.amplitude) == ([0, 2, -2, 4, -1], 0.5)
    one = encode_fixed(x_K, steps=1, code="rate", amplitude=3.0, fires=0.5)
    assert (one.levels_K.tolist(), one.amplitude) == ([0, 1, -1, 1, 0], 3)
    strange = encode_fixed(np.array([np.nan, np.inf], "f4"), steps=2, code="rate", amplitude=1.0)
    assert strange.levels_K.tolist() == [0, 2]
    tiny = encode_fixed(x_K, steps=2, code="rate", amplitude=1e-42)
    assert (tiny.levels_K.tolist(), tiny.amplitude) == ([0] * 5, 0)


def test_a_site_gives_back_what_its_spikes_stand_for() -> None:
    x_K = np.array([4, -2, 1, -1], np.float32)
    entry = {"steps": 1, "code": "rate", "rotate": False}
    relative = Neurons("k", {"k.threshold": np.array([0.75], np.float32)}, entry)
    assert relative.values(x_K).tolist() == [3, -3, 0, 0]
    assert relative.spikes == (2, 4)
    numbers = {"k.amplitude": np.array([0.5], "f4"), "k.fires": np.array([1], "f4")}
    assert Neurons("k", numbers, entry).values(x_K).tolist() == [0.5, -0.5, 0, 0]
    assert Neurons("k", {}, None).values(x_K) is x_K
