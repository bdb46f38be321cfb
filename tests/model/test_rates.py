"""A student at equilibrium: counted rates go to the formula's, whose gradient they have."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.goose.rates import ClosedForm, Counted, Step, trace_at_equilibrium
from asnn_goose.model.neurons.spikingbert import SpikingBERT
from asnn_goose.trace import Window

NEURON = {"neuron": "spikingbert", "steps": 4, "code": "rate", "threshold": 3.0}
NEEDS = frozenset({"vocab", "hidden"})


def student(**settings: Any) -> GooseForCausalLM:
    torch.manual_seed(0)
    usual = {
        "vocab_size": 31,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "head_size": 16,
        "mlp": "plain",
        "hidden_act": "linear",
        "precision": {"*": NEURON},
    }
    found = GooseForCausalLM(GooseConfig(**(usual | settings)))
    for name, parameter in found.named_parameters():
        if parameter.ndim == 2 and not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.1)  # else a new block is the identity
        del name
    return found.train()


def tokens() -> Tensor:
    return torch.randint(0, 31, (2, 9), generator=torch.Generator().manual_seed(1))


def at(model: GooseForCausalLM, steps: int) -> tuple[Any, float]:
    return trace_at_equilibrium(model, tokens(), NEEDS, window=Window(), steps=steps)


@pytest.mark.parametrize("signed", [True, False])
def test_a_chain_of_affine_layers_is_within_a_step_of_the_formula(signed: bool) -> None:
    """Layer i + 1 sees layer i's spike of the same step; each layer errs by 1/T at most."""
    torch.manual_seed(2)
    neurons = [SpikingBERT(8, steps=4, code="rate", signed=signed).eval() for _ in range(4)]
    for neuron in neurons:
        neuron.v_th.fill_(1.0)
        neuron.measured.fill_(True)
    matrices = [0.3 * torch.randn(8, 8, dtype=torch.float64) / 8**0.5 for _ in range(3)]
    x_BK = torch.rand(5, 8, dtype=torch.float64) * (2 if signed else 1) - (1 if signed else 0)

    def layers(membranes: Any) -> list[Tensor]:
        a_BK, found = x_BK, []
        for number, neuron in enumerate(neurons):
            a_BK = membranes.spikes(f"{number}", neuron, a_BK)
            found.append(a_BK)
            if number < 3:
                a_BK = a_BK @ matrices[number] + 0.2
        return found

    wanted = layers(ClosedForm(Window()))
    for count in (10, 100, 1000):
        step, totals = Step(Window()), [torch.zeros_like(x_BK)] * 4
        for _ in range(count):
            totals = [t + s for t, s in zip(totals, layers(step), strict=True)]
        for depth, (total, a_BK) in enumerate(zip(totals, wanted, strict=True), start=1):
            # What a layer errs by reaches the next one through a matrix of norm below 1.
            assert float((total / count - a_BK).abs().max()) <= 2 * depth / count
        first = float((totals[0] / count - wanted[0]).abs().max())
        assert first <= 1 / count + 1e-12


def test_a_constant_input_is_counted_down_to_whole_spikes() -> None:
    neuron = SpikingBERT(3, steps=4, code="rate").eval()
    neuron.measured.fill_(True)
    h_BK = torch.tensor([[0.25, -0.55, 3.0]], dtype=torch.float64)
    found_BK = Counted(Window(), steps=8).spikes("x", neuron, h_BK)
    assert found_BK.tolist() == [[0.25, -0.5, 1.0]]


def test_more_steps_come_nearer_and_the_values_are_the_counted_ones() -> None:
    model = student()
    gaps = [at(model, steps)[1] for steps in (4, 16, 256)]
    assert gaps[0] > 2 * gaps[1] > 10 * gaps[2]
    trace, _ = at(model, 256)
    formula, _ = at(model, 4)
    assert not torch.allclose(trace.hidden[-1], formula.hidden[-1], atol=1e-3)


def test_gradients_are_those_of_the_formula_whatever_the_steps() -> None:
    """A loss that is linear in the outputs sees the same slopes at any number of steps."""
    model, found = student(), []
    at(model, 1)  # the first batch sets the ranges
    for steps in (2, 50):
        model.zero_grad()
        trace, _ = at(model, steps)
        (trace.hidden[-1].sum() + trace.hidden[1].sum()).backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert "blocks.0.mlp.up.weight" in found[0]
    assert "blocks.0.mixer.receptance.weight" in found[0]
    for name, gradient in found[0].items():
        assert gradient.equal(found[1][name]), name
    model.zero_grad()
    star = formula_of(model)
    (star[-1].sum() + star[1].sum()).backward()
    for name, gradient in found[0].items():
        wanted = model.get_parameter(name).grad
        torch.testing.assert_close(
            gradient, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max())
        )


def formula_of(model: GooseForCausalLM) -> list[Tensor]:
    """Hidden states of the chain of a*, written out."""
    window = Window(position_BT=torch.arange(9).expand(2, 9))
    x_BTD = model._embed(model.embedding(tokens()), window.position_BT)
    found, carry = [x_BTD], None
    for block in model.blocks:
        formula = ClosedForm(window)
        mixed = block.mixer(block.mixer_norm(x_BTD), carry, None, window, formula)
        x_BTD, carry = x_BTD + mixed.out_BTD, mixed.carry
        x_BTD = x_BTD + block.mlp(block.mlp_norm(x_BTD), None, window, formula).out_BTD
        found.append(x_BTD)
    return found


def test_memory_does_not_grow_with_the_steps() -> None:
    """Saved tensors are counted: a graph over time would hold some at every step."""
    model = student()
    at(model, 1)
    kept: dict[int, int] = {}
    for steps in (10, 100):
        sizes: list[int] = []

        def pack(x: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(x.numel())
            return x

        tracemalloc.start()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            at(model, steps)
        tracemalloc.stop()
        kept[steps] = sum(sizes)
    assert kept[10] == kept[100] > 0


def test_other_neurons_and_other_needs_are_refused() -> None:
    with pytest.raises(ValueError, match="neuron MeanThreshold: at equilibrium neurons are"):
        at(student(precision={"*": {"steps": 2}}), 2)
    with pytest.raises(ValueError, match="at equilibrium there is hidden, vocab"):
        trace_at_equilibrium(
            student(), tokens(), frozenset({"mixer_out"}), window=Window(), steps=2
        )
    with pytest.raises(ValueError, match="the head reads no spikes"):
        at(student(precision={"*": NEURON, "head": NEURON}), 2)


@pytest.mark.parametrize(
    "settings",
    [{}, {"parallel": True}, {"norm_place": "after"}, {"norm_place": "both", "logit_cap": 2.0}],
)
def test_a_student_without_spikes_is_its_own_equilibrium(settings: dict[str, Any]) -> None:
    model = student(precision={}, **settings)
    trace, gap = at(model, 3)
    plain = model.trace(tokens(), NEEDS)
    assert gap == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(trace.vocab(slice(None)), plain.vocab(slice(None)))
    assert replace(trace, final_BTD=None).hidden[0].equal(plain.hidden[0])
