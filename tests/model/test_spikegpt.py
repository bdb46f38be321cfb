"""SpikeGPT as a system: what flows in it, and what it carries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.eval.student_work import student_work
from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, pack
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.presets import preset_settings

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_size": 16,
}


@torch.no_grad()
def made(preset: str = "spikegpt", **changes: object) -> GooseForCausalLM:
    """A student whose every part speaks, and whose neurons fire."""
    torch.manual_seed(0)
    settings = SHAPE | preset_settings(preset, width=64) | changes
    student = GooseForCausalLM(GooseConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    for parameter in student.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return student.eval()


PLACES = frozenset({"hidden", "mixer_out", "mlp_out"})


@torch.no_grad()
def test_branches_add_spikes_to_a_stream_that_starts_binary(tokens_BT: Tensor) -> None:
    student = made()
    trace = student.trace(tokens_BT, PLACES)
    for out_BTD in (*trace.mixer_out, *trace.mlp_out):
        assert set(out_BTD.unique().tolist()) == {0.0, 1.0}
    # The stream less LN0 of the binary words is whole numbers: what fired, added up.
    words_BTD = student.embedding_norm((student.embedding(tokens_BT) >= 0).float())
    torch.testing.assert_close(trace.hidden[0], words_BTD)
    fired = trace.hidden[-1] - words_BTD
    torch.testing.assert_close(fired, fired.round(), atol=1e-5, rtol=0)
    assert fired.max() > 1


@torch.no_grad()
def test_a_neuron_per_branch_is_carried_in_decoding(tokens_BT: Tensor) -> None:
    cache = made()(tokens_BT, use_cache=True).past_key_values
    for block in cache.blocks:
        assert block.neurons.keys() == {"mixer_out", "mlp_out"}
        assert all(v.shape == (2, 64) and v.any() for v in block.neurons.values())
    first, second = cache.blocks[0].neurons, cache.blocks[1].neurons
    assert not torch.equal(first["mixer_out"], second["mixer_out"])


def test_from_zero_outputs_an_atan_learns_and_a_rectangle_never(tokens_BT: Tensor) -> None:
    """W_o = W_V = 0 puts every membrane at 0: h(-1) is 0.092 of an ATan, 0 of a rectangle."""
    moved = {}
    for surrogate in ("atan", "rectangle"):
        lif = {"steps": 1, "neuron": {"name": "lif", "surrogate": surrogate}}
        precision = {"mixer_out": lif, "mlp_out": lif}
        torch.manual_seed(0)
        settings = SHAPE | preset_settings("spikegpt", width=64) | {"precision": precision}
        student = GooseForCausalLM(GooseConfig(**settings))
        student(tokens_BT, labels=tokens_BT).loss.backward()
        moved[surrogate] = bool(student.blocks[1].mlp.value.weight.grad.any())
    assert moved == {"atan": True, "rectangle": False}


def test_the_whole_stream_drops_out_in_training_alone(tokens_BT: Tensor) -> None:
    student = made(dropout=0.5)
    needs = frozenset({"hidden"})
    still = student.trace(tokens_BT, needs).hidden[-1]
    assert torch.equal(student.trace(tokens_BT, needs).hidden[-1], still)
    torch.manual_seed(3)
    hidden = student.train().trace(tokens_BT, needs).hidden
    zeros = [float((x_BTD == 0).float().mean()) for x_BTD in hidden]
    assert zeros[0] < 0.05
    assert 0.45 < zeros[1] < 0.6
    assert all(share > 0.45 for share in zeros[1:])


def test_words_and_branches_take_their_places_in_precision(tokens_BT: Tensor) -> None:
    student = made("rwkv4")
    before = student(tokens_BT).logits
    lif = {"steps": 1, "neuron": "lif", "threshold": 0.1}
    student.set_precision({"1.mlp_out": lif})
    assert [block.mlp_out_neuron is None for block in student.blocks] == [True, False, True]
    assert not torch.allclose(student(tokens_BT).logits, before)
    student.set_precision({"embedding": {"steps": 1, "neuron": "heaviside"}})
    assert student.blocks[1].mlp_out_neuron is None
    assert student.embedding_neuron is not None
    student.set_precision({})
    torch.testing.assert_close(student(tokens_BT).logits, before)
    with pytest.raises(ValueError, match=r"precision\.embedding: every word .* without state"):
        student.set_precision({"embedding": lif})
    with pytest.raises(ValueError, match=r"precision\.mixer_out: a signal has spikes, no planes"):
        student.set_precision({"mixer_out": {"planes": 1}})
    with pytest.raises(ValueError, match=r"precision\.3\.mlp_out: the last of 3 layers is 2"):
        student.set_precision({"3.mlp_out": lif})


def test_spikes_outside_of_matrices_are_not_packed() -> None:
    student = GooseForCausalLM(GooseConfig(**SHAPE, intermediate_size=64))
    for place in ("embedding", "1.mixer_out"):
        student.set_precision({place: {"steps": 1}})
        with pytest.raises(ExportError, match=rf"precision\.{place}: spikes there are for"):
            pack(student, PackSettings())


@torch.no_grad()
def test_its_matrices_read_dense_vectors_and_cost_what_a_dense_twins_do(tokens_BT: Tensor) -> None:
    """Only what branches *give* is events: the norms before the matrices make them dense again."""
    spiking = {part.part: part for part in student_work(made(), tokens_BT)}
    dense = {part.part: part for part in student_work(made("rwkv4"), tokens_BT)}
    for part in ("mixer", "mlp", "head"):
        assert spiking[part].operations == dense[part].operations
    assert spiking["mixer"].multiplications == 3 * 4 * 64 * 64
    # Two LIF neurons a channel and block: two additions, a comparison, a product with 1/tau.
    assert spiking["neurons"].operations == {"fp32_add": 3.0 * 6 * 64, "fp32_mult": 6.0 * 64}
    assert dense["neurons"].operations == {"fp32_add": 0.0, "fp32_mult": 0.0}
