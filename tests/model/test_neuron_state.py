"""Neuron state is recurrent state: every neuron of the table, in every place where one may sit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseCache, GooseForCausalLM
from asnn_goose.model.neurons import LIF, NEURONS
from asnn_goose.trace import Window

Fresh = Callable[..., GooseForCausalLM]
VOCAB = frozenset({"vocab"})


def everywhere(neuron: str) -> dict[str, Any]:
    """Its spikes at every matrix, at the sites k and v, and before the head."""
    # Absolute thresholds of a LIF are set low, so that many of them fire.
    entry = {"steps": 1, "neuron": neuron} | ({"threshold": 0.1} if neuron == "lif" else {})
    return dict.fromkeys(("*", "k", "v", "head"), entry)


def student_with(fresh: Fresh, neuron: str, **changes: Any) -> GooseForCausalLM:
    model = fresh(precision=everywhere(neuron), **changes)
    model.train()
    model(torch.arange(40).view(2, 20))  # what is measured on a first batch is measured
    return model.eval()


@pytest.fixture(scope="module", params=sorted(NEURONS))
def model(request: pytest.FixtureRequest, fresh: Fresh) -> Iterator[GooseForCausalLM]:
    with torch.no_grad():
        yield student_with(fresh, request.param)


def steps(model: GooseForCausalLM, tokens_BT: Tensor, cache: GooseCache) -> Tensor:
    pieces = tokens_BT.split([7, *[1] * (tokens_BT.shape[1] - 7)], dim=1)
    found = [model(piece, past_key_values=cache, use_cache=True).logits for piece in pieces]
    return torch.cat(found, dim=1)


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool(((found - wanted).abs() <= 1e-4 * wanted.abs().max()).all())


@torch.no_grad()
def test_parallel_forward_is_step_by_step(model: GooseForCausalLM, tokens_BT: Tensor) -> None:
    assert close(steps(model, tokens_BT[:, :19], GooseCache()), model(tokens_BT[:, :19]).logits)


@torch.no_grad()
def test_left_padding_charges_nothing(model: GooseForCausalLM, tokens_BT: Tensor) -> None:
    padded_BT, mask_BT = tokens_BT[:, :19].clone(), torch.ones(2, 19).long()
    padded_BT[1, :6], mask_BT[1, :6] = 5, 0
    alone = model(tokens_BT[1:, 6:19]).logits
    assert close(model(padded_BT, attention_mask=mask_BT).logits[1:, 6:], alone)


@torch.no_grad()
def test_documents_begin_at_rest(model: GooseForCausalLM, tokens_BT: Tensor) -> None:
    documents_BT = (torch.arange(19) >= 8).long().expand(2, 19)
    trace = model.trace(tokens_BT[:, :19], VOCAB, window=Window(documents_BT=documents_BT))
    alone = model.trace(tokens_BT[:, 8:19], VOCAB)
    found, wanted = (x.vocab(slice(None)).unflatten(0, (2, -1)) for x in (trace, alone))
    assert close(found[:, 8:], wanted)


@torch.no_grad()
def test_generate_reads_its_own_tokens_as_the_whole_window_does(
    model: GooseForCausalLM, tokens_BT: Tensor
) -> None:
    prompt_BT = tokens_BT[:1, :9]
    settings = {"attention_mask": torch.ones_like(prompt_BT), "pad_token_id": 0}
    found = model.generate(
        prompt_BT, max_new_tokens=8, do_sample=False, output_logits=True,
        return_dict_in_generate=True, **settings,
    )  # fmt: skip
    whole = model(found.sequences).logits[:, 8:-1]
    assert close(torch.stack(found.logits, dim=1), whole)
    beams = model.generate(prompt_BT, max_new_tokens=5, num_beams=3, do_sample=False, **settings)
    assert beams.shape == (1, 14)


@pytest.fixture
def spiking(fresh: Fresh) -> GooseForCausalLM:
    return student_with(fresh, "lif")


@torch.no_grad()
def test_membranes_are_there_move_and_are_kept_in_fp32(
    spiking: GooseForCausalLM, tokens_BT: Tensor
) -> None:
    cache = GooseCache()
    half = spiking.bfloat16()
    whole = half(tokens_BT[:, :19]).logits
    found = steps(half, tokens_BT[:, :19], cache)
    matrices = ("receptance", "key", "value", "output", "mlp_key", "mlp_value")
    for block in cache.blocks:
        assert block.neurons.keys() == {*matrices, "k", "v"}
        assert all(v.dtype == torch.float32 and v.any() for v in block.neurons.values())
    assert cache.head["head"].dtype == torch.float32
    assert float((found - whole).abs().mean() / whole.std()) < 0.5


@torch.no_grad()
def test_a_cache_forks_and_is_reordered_with_its_membranes(
    spiking: GooseForCausalLM, tokens_BT: Tensor
) -> None:
    cache = GooseCache()
    steps(spiking, tokens_BT[:, :12], cache)
    fork, other = cache.fork(), cache.fork()
    assert (fork.get_seq_length(), GooseCache().fork().get_seq_length()) == (12, 0)
    wanted = spiking(tokens_BT[:, 12:13], past_key_values=cache, use_cache=True).logits
    again = spiking(tokens_BT[:, 12:13], past_key_values=fork, use_cache=True).logits
    assert torch.equal(again, wanted)
    other.reorder_cache(torch.tensor([1, 0]))
    turned = spiking(tokens_BT[:, 12:13].flip(0), past_key_values=other, use_cache=True).logits
    assert close(turned.flip(0), wanted)


@torch.no_grad()
def test_a_cache_is_cropped_to_all_or_nothing(spiking: GooseForCausalLM, tokens_BT: Tensor) -> None:
    cache = GooseCache()
    steps(spiking, tokens_BT[:, :12], cache)
    cache.crop(12)
    assert cache.get_seq_length() == 12
    with pytest.raises(NotImplementedError, match=r"keep a fork\(\)"):
        cache.crop(-1)
    cache.crop(0)
    assert (cache.get_seq_length(), cache.blocks, cache.head) == (0, (), {})


@pytest.mark.parametrize("ternary", [False, True])
def test_a_lif_neuron_skips_padding_and_forgets_at_documents(ternary: bool) -> None:
    h_BTK = 3 * torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(4))
    neuron = LIF(8, ternary=ternary)
    mask_BT = torch.tensor([[False, False, True, True, True, True]])
    found, state = neuron.forward_with_state(h_BTK, None, Window(mask_BT=mask_BT))
    alone, wanted = neuron.forward_with_state(h_BTK[:, 2:], None)
    assert not found[:, :2].any()
    assert torch.equal(found[:, 2:], alone)
    assert torch.equal(state, wanted)
    documents_BT = torch.tensor([[4, 4, 5, 5, 5, 5]])
    found, state = neuron.forward_with_state(h_BTK, wanted, Window(documents_BT=documents_BT))
    assert torch.equal(found[:, 2:], alone)
    assert torch.equal(state, wanted)
    assert torch.equal(found[:, :2], neuron.forward_with_state(h_BTK[:, :2], wanted)[0])


def test_a_neuron_without_state_says_so() -> None:
    with pytest.raises(NotImplementedError, match="MeanThreshold carries no state"):
        NEURONS["mean"](4).forward_with_state(torch.ones(1, 2, 4), None)
