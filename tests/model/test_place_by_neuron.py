"""Every neuron in every place of the table of precision: it works, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.model import GooseCache, GooseConfig, GooseForCausalLM
from asnn_goose.model.neurons import NEURONS, Neuron
from asnn_goose.model.parts.groups import parameter_group, trainable

MATRICES = ("receptance", "key", "value", "output", "gate", "up", "down")
SITES = ("k", "v", "mixer_out", "mlp_out")
PLACES = (*MATRICES, *SITES, "embedding", "head")
CHOICES: dict[str, dict[str, Any]] = {
    **{name: {"neuron": name} for name in NEURONS},
    # Their thresholds are absolute, and set low, so that some fire.
    "lif": {"neuron": "lif", "threshold": 0.05},
    "lif learned": {
        "neuron": {"name": "lif", "decay": "learned", "tau": 3.0},
        "threshold": 0.05,
    },
    "learned by channel": {"neuron": {"name": "learned", "per": "channel"}},
    "lsq_plus by channel": {"neuron": {"name": "lsq_plus", "per": "channel"}},
    "real_spike by channel": {"neuron": {"name": "real_spike", "per": "channel"}},
}
TOKENS = 10
both = [(place, choice) for place in PLACES for choice in CHOICES]


def fresh(precision: dict[str, Any]) -> GooseForCausalLM:
    torch.manual_seed(0)
    model = GooseForCausalLM(
        GooseConfig(
            vocab_size=40, hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
            head_size=32, intermediate_size=64, mlp="gated", tie_word_embeddings=False,
            precision=precision,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter_group(name) != "quantiser":
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 40, (2, TOKENS), generator=torch.Generator().manual_seed(seed))


def entry(place: str, choice: str) -> dict[str, dict[str, Any]]:
    return {place: {"steps": 1} | CHOICES[choice]}


def neurons(model: GooseForCausalLM) -> dict[str, Neuron]:
    """The outermost ones: a neuron may be made of another."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, Neuron)}
    return {name: m for name, m in found.items() if name.rpartition(".")[0] not in found}


def refused(place: str, choice: str) -> bool:
    """Whether the table says no, in which case it names the place."""
    name = CHOICES[choice]["neuron"]
    stateful = NEURONS[name if isinstance(name, str) else name["name"]].stateful
    if place != "embedding" or not stateful:
        return False
    with pytest.raises(ValueError, match=r"precision\.embedding: .*without state"):
        fresh(entry(place, choice))
    return True


@pytest.mark.parametrize(("place", "choice"), both)
def test_what_is_learned_is_learned(place: str, choice: str) -> None:
    """From the first batch on, in the optimiser's right group, with an effect on the logits."""
    if refused(place, choice):
        return
    model = fresh(entry(place, choice)).train()
    assert len(neurons(model)) == 1
    ((at, neuron),) = neurons(model).items()
    model(tokens(), labels=tokens()).loss.backward()
    for name, parameter in neuron.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.count_nonzero() > 0, f"nothing reaches {name}"
        full = f"{at}.{name}"
        assert full in trainable(model, "all") & trainable(model, "body")
        assert (full in trainable(model, "blocks")) == (place not in ("embedding", "head"))
        mixers = (*MATRICES[:4], "k", "v", "mixer_out")
        assert (full in trainable(model, "mixers")) == (place in mixers)
        if "unlearned" not in name:
            assert parameter_group(full) == "quantiser"
    model.eval()
    before = model(tokens()).logits
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.mul_(1.5)
    moved = not torch.equal(model(tokens()).logits, before)
    assert moved == bool(list(neuron.parameters()))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("choice", ["learned", "spikelm", "lsq_plus"])
@pytest.mark.parametrize("training", [False, True])
def test_a_precision_that_comes_later_is_no_other(place: str, choice: str, training: bool) -> None:
    model = fresh({}).train(training)
    model.set_precision(entry(place, choice))
    ((at, neuron),) = neurons(model).items()
    ((wanted_at, wanted),) = neurons(fresh(entry(place, choice))).items()
    assert (at, type(neuron)) == (wanted_at, type(wanted))
    assert all(module.training == training for module in neuron.modules())
    assert torch.equal(
        model(tokens()).logits, fresh(entry(place, choice)).train(training)(tokens()).logits
    )


@pytest.fixture(scope="module", params=both, ids=" ".join)
def trained(request: pytest.FixtureRequest) -> GooseForCausalLM:
    """One step of training, so that what is measured and learned is away from its beginning."""
    place, choice = request.param
    if refused(place, choice):
        pytest.skip("refused by name")
    model = fresh(entry(place, choice)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model(tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    return model.eval()


@torch.no_grad()
def test_with_a_cache_and_saved(trained: GooseForCausalLM, tmp_path: Path) -> None:
    cache, ids = GooseCache(), tokens(1)
    pieces = [trained(x, past_key_values=cache, use_cache=True).logits for x in ids.split(3, 1)]
    whole = trained(ids).logits
    assert float((torch.cat(pieces, 1) - whole).abs().max() / whole.std()) < 1e-3
    trained.save_pretrained(tmp_path)
    again = GooseForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(ids).logits, whole)


@torch.no_grad()
def test_packed_or_refused_by_name(trained: GooseForCausalLM, tmp_path: Path) -> None:
    ((at, neuron),) = neurons(trained).items()
    settings = PackSettings(dense="f32", low_rank="f32", head="f16")
    trained.embedding.weight.copy_(trained.embedding.weight.half())
    trained.lm_head.weight.copy_(trained.lm_head.weight.half())
    place = at.removesuffix(".neuron").removesuffix("_neuron").rpartition(".")[2]
    outside = place in ("embedding", "head", "mixer_out", "mlp_out")
    unfolded = place in ("k", "v") and hasattr(neuron, "unlearned")
    if neuron.training_only or outside or unfolded:
        with pytest.raises(ExportError, match=rf"\b{place}\b"):
            export_packed(trained, tmp_path / "packed", settings=settings)
        return
    export_packed(trained, tmp_path / "packed", settings=settings)
    engine = Engine(read_packed(tmp_path / "packed"), threads=1)
    ids = tokens(1)[0].numpy().astype(np.int32)
    found = torch.from_numpy(np.concatenate(list(engine.score(engine.start(), ids))))
    whole = trained(tokens(1)[:1]).logits[0]
    assert float((found - whole).abs().max() / whole.std()) < 2e-3
