from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.goose.kept import STREAM
from asnn_goose.model.starts.balance import balance
from asnn_goose.trace import Trace

Fresh = Callable[..., GooseForCausalLM]
GATED = {"mlp": "gated", "intermediate_size": 128}
NO_BONUS = {"bonus": False, "token_shift": False}


def uneven(fresh: Fresh, **settings: Any) -> GooseForCausalLM:
    """A student whose channels differ in size, and whose shifts, gates and biases speak."""
    student = fresh(**settings)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.blocks.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for block in student.blocks:
            block.mixer_norm.weight[5] = 40.0
            block.mlp_norm.weight[9] = 0.02
    return student.eval()


@torch.no_grad()
def stream_of(student: GooseForCausalLM, tokens_BT: Tensor) -> Trace:
    return student.trace(tokens_BT, STREAM)


@pytest.mark.parametrize(
    "settings",
    [
        GATED,
        GATED | NO_BONUS,
        GATED | {"norm": "layer", "mlp_bias": True},
        GATED | {"precision": {"*": {"rotate": True}}},
        {"mlp": "channel_mix"},
        {"mlp": "plain", "hidden_act": "gelu"},
    ],
)
def test_a_dense_student_computes_what_it_did(
    fresh: Fresh, tokens_BT: Tensor, settings: dict[str, Any]
) -> None:
    student = uneven(fresh, **settings).double()
    before = student(tokens_BT).logits.detach()
    weight = student.blocks[1].mixer.key.weight.clone()
    balance(student, [stream_of(student, tokens_BT)], strength=0.5)
    torch.testing.assert_close(student(tokens_BT).logits, before, atol=1e-8, rtol=1e-8)
    assert not torch.allclose(student.blocks[1].mixer.key.weight, weight)


@torch.no_grad()
def sizes(student: GooseForCausalLM, tokens_BT: Tensor, matrices: list[str]) -> list[Tensor]:
    """Root mean squares of what the matrices of block 1 read, and of their columns together."""
    seen: list[Tensor] = []
    found = [student.get_submodule(f"blocks.1.{name}") for name in matrices]
    hook = found[0].register_forward_pre_hook(lambda m, x: seen.append(x[0].flatten(0, -2)))
    student(tokens_BT)
    hook.remove()
    columns = torch.cat([matrix.weight for matrix in found])
    return [x.square().mean(0).sqrt() for x in (seen[0], columns)]


@pytest.mark.parametrize(
    ("matrices", "places"),
    [
        (["mixer.receptance", "mixer.key", "mixer.value"], 12),
        (["mixer.output"], 12),
        (["mlp.gate", "mlp.up"], 12),
        (["mlp.down"], 12),
    ],
)
def test_channels_become_like_their_columns(
    fresh: Fresh, tokens_BT: Tensor, matrices: list[str], places: int
) -> None:
    """At strength 1/2, up to one factor for all channels of a place."""
    student = uneven(fresh, **GATED, **NO_BONUS)
    assert balance(student, [stream_of(student, tokens_BT)], strength=0.5) == places
    channels, columns = sizes(student, tokens_BT, matrices)
    ratio = channels / columns
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), atol=0.0, rtol=2e-3)


def test_strength_1_makes_channels_alike(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = uneven(fresh, **GATED, **NO_BONUS)
    balance(student, [stream_of(student, tokens_BT)], strength=1.0)
    channels, _ = sizes(student, tokens_BT, ["mlp.down"])
    torch.testing.assert_close(channels, channels.mean().expand_as(channels), atol=0.0, rtol=2e-3)


def test_a_bonus_keeps_the_group_norm(fresh: Fresh, tokens_BT: Tensor) -> None:
    """It adds values that the group norm's gain does not scale."""
    student = uneven(fresh, **GATED)
    before = student.blocks[0].mixer.output.weight.clone()
    assert balance(student, [stream_of(student, tokens_BT)], strength=0.5) == 9
    assert torch.equal(student.blocks[0].mixer.output.weight, before)


def test_learned_scales_start_anew(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = uneven(fresh, **GATED)
    stream = stream_of(student, tokens_BT)
    student.set_precision({"down": {"planes": 1, "ternary": "lsq"}})
    balance(student, [stream], strength=0.9)
    again = uneven(fresh, **GATED)
    balance(again, [stream], strength=0.9)
    again.set_precision({"down": {"planes": 1, "ternary": "lsq"}})
    for a, b in zip(student.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_norm_of_its_own_is_refused(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = uneven(fresh, **GATED)
    student.set_precision({"down": {"sub_norm": True}})
    with pytest.raises(ValueError, match="balance: a matrix has sub_norm"):
        balance(student, [], strength=0.5)


def test_a_silent_channel_stays_finite(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = uneven(fresh, **GATED)
    with torch.no_grad():
        for parameter in student.blocks[1].mlp_norm.parameters():
            parameter[7] = 0.0
    balance(student, [stream_of(student, tokens_BT)], strength=0.5)
    assert all(bool(parameter.isfinite().all()) for parameter in student.parameters())


@pytest.mark.parametrize("neuron", ["spikelm", "spikingbert", "learned"])
def test_neurons_measure_the_balanced_channels(
    fresh: Fresh, tokens_BT: Tensor, neuron: str
) -> None:
    """After balancing they spike as in a student that has met nothing before it."""
    spikes = GATED | NO_BONUS | {"precision": {"*": {"steps": 1, "neuron": neuron, "code": "rate"}}}
    met, new = uneven(fresh, **spikes), uneven(fresh, **spikes)
    met.train()(tokens_BT)
    met.load_state_dict({n: p for n, p in new.state_dict().items() if "neuron" not in n}, False)
    stream = [stream_of(new.eval(), tokens_BT)]
    for student in (met, new):
        balance(student.eval(), stream, strength=0.5)
    found, wanted = (student.train()(tokens_BT).logits for student in (met, new))
    torch.testing.assert_close(found, wanted)
