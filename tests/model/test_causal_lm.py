from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from asnn_goose.model import GooseCache, GooseConfig, GooseForCausalLM

PARTS: list[dict[str, Any]] = [
    {},
    {"rope": True, "token_shift": False, "bonus": False},
    {"token_shift": False, "value_shift": True},
    {"token_shift": False, "value_shift": True, "qkv_bias": True},
    {"gate": "none", "group_norm": False, "v_first": "none"},
    {"gate": "one_plus", "removal_key": False, "key_replacement": False, "v_first": "detached"},
    {"mlp": "gated", "norm": "rms", "embedding_norm": False, "tie_word_embeddings": True},
    {"qkv_bias": True, "output_bias": True, "mlp_bias": True},
]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("parts", PARTS)
@torch.no_grad()
def test_parallel_forward_is_recurrent_decode(
    fresh: Callable[..., GooseForCausalLM], parts: dict[str, Any], tokens_BT: Tensor
) -> None:
    model = fresh(**parts)
    whole = model(tokens_BT).logits
    cache = GooseCache()
    pieces = [
        model(token, past_key_values=cache, use_cache=True).logits
        for token in tokens_BT.split([20, *[1] * 21], dim=1)
    ]
    assert relative(torch.cat(pieces, dim=1), whole) < 1e-4
    assert cache.get_seq_length() == 41


@pytest.mark.parametrize("parts", PARTS)
@torch.no_grad()
def test_left_padding_changes_nothing(
    fresh: Callable[..., GooseForCausalLM], parts: dict[str, Any], tokens_BT: Tensor
) -> None:
    model = fresh(**parts)
    alone = [model(tokens_BT[:1]).logits, model(tokens_BT[1:, 11:]).logits]
    padded_BT, mask_BT = tokens_BT.clone(), torch.ones_like(tokens_BT)
    padded_BT[1, :11], mask_BT[1, :11] = 5, 0
    cache = GooseCache()
    first = model(
        padded_BT[:, :30], attention_mask=mask_BT[:, :30], past_key_values=cache, use_cache=True
    )
    rest = model(padded_BT[:, 30:], attention_mask=mask_BT, past_key_values=cache, use_cache=True)
    found = torch.cat((first.logits, rest.logits), dim=1)
    assert relative(found[:1], alone[0]) < 1e-4
    assert relative(found[1:, 11:], alone[1]) < 1e-4


def test_padding_right_of_a_token_is_refused(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[0, -1] = 0
    with pytest.raises(ValueError, match="pad on the left"):
        fresh()(tokens_BT, attention_mask=mask_BT)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_generate_in_a_padded_batch_is_generate_alone(
    fresh: Callable[..., GooseForCausalLM], options: dict[str, Any], tokens_BT: Tensor
) -> None:
    model = fresh()
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, **options}
    padded_BT, mask_BT = tokens_BT.clone(), torch.ones_like(tokens_BT)
    padded_BT[1, :9], mask_BT[1, :9] = 0, 0
    both = model.generate(padded_BT, attention_mask=mask_BT, **settings)
    short = tokens_BT[1:, 9:]
    alone = model.generate(short, attention_mask=torch.ones_like(short), **settings)
    assert torch.equal(both[1, 41:], alone[0, short.shape[1] :])


@torch.no_grad()
def test_state_does_not_grow(fresh: Callable[..., GooseForCausalLM]) -> None:
    model, sizes = fresh(), []
    cache = GooseCache()
    for token in torch.arange(60).view(60, 1, 1):
        model(token, past_key_values=cache, use_cache=True)
        total = sum(t.numel() for b in cache.blocks for t in b.tensors())
        sizes.append(total)
    assert len(set(sizes)) == 1
    assert sizes[0] == 3 * (64 + 4 * 16 * 16 + 64)


@torch.no_grad()
def test_causality(fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor) -> None:
    model = fresh()
    changed_BT = tokens_BT.clone()
    changed_BT[:, 25] = (changed_BT[:, 25] + 1) % 97
    before, after = model(tokens_BT).logits, model(changed_BT).logits
    assert torch.equal(before[:, :25], after[:, :25])
    assert not torch.allclose(before[:, 25:], after[:, 25:])


@pytest.mark.parametrize("parts", PARTS)
def test_every_parameter_gets_a_gradient(
    fresh: Callable[..., GooseForCausalLM], parts: dict[str, Any], tokens_BT: Tensor
) -> None:
    model = fresh(**parts).train()
    model(tokens_BT, labels=tokens_BT).loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_checkpointing_gives_the_same_gradients(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = fresh().train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(tokens_BT, labels=tokens_BT).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_through_the_auto_classes(
    fresh: Callable[..., GooseForCausalLM], tied: bool, tmp_path: Path, tokens_BT: Tensor
) -> None:
    model = fresh(tie_word_embeddings=tied, rope=True)
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, GooseForCausalLM)
    assert again.config.rope
    assert (again.lm_head.weight is again.embedding.weight) == tied
    assert torch.equal(again(tokens_BT).logits, model(tokens_BT).logits)


@torch.no_grad()
def test_trace_agrees_with_forward(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    model = fresh()
    trace = model.trace(
        tokens_BT, frozenset({"vocab", "hidden", "mixer_in", "mixer_out", "queries"})
    )
    result = model(tokens_BT, output_hidden_states=True)
    assert torch.equal(trace.vocab(slice(0, 82)), result.logits.flatten(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(trace.hidden, result.hidden_states, strict=True))
    found = [len(trace.mixer_in), len(trace.mixer_out), len(trace.signals["queries"])]
    assert found == [3, 3, 3]
    assert trace.signals.keys() == {"queries"}
    with pytest.raises(ValueError, match="attention"):
        model.trace(tokens_BT, frozenset({"attention"}))


@torch.no_grad()
def test_driving_the_mixers_with_the_students_own_inputs_gives_its_outputs(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    model = fresh()
    own = model.trace(tokens_BT, frozenset({"mixer_in", "mixer_out"}))
    driven = model.drive(own.mixer_in)
    assert all(torch.equal(a, b) for a, b in zip(driven.mixer_out, own.mixer_out, strict=True))
    with pytest.raises(ValueError, match="2 inputs for 3 blocks"):
        model.drive(own.mixer_in[:2])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"gate": "tanh"}, "gate = 'tanh'"),
        ({"head_size": 0}, "head_size = 0"),
        ({"norm": "x"}, "norm"),
    ],
)
def test_a_wrong_setting_is_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GooseConfig(**(setting))


def test_published_ranks() -> None:
    config = GooseConfig(hidden_size=768)
    ranks = (config.decay_rank, config.rate_rank, config.value_rank, config.gate_rank)
    assert ranks == (64, 64, 32, 128)
