from __future__ import annotations

import math

import torch

from asnn_goose.model import GooseConfig, GooseForCausalLM


def published() -> GooseForCausalLM:
    torch.manual_seed(0)
    return GooseForCausalLM(
        GooseConfig(
            vocab_size=300,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=2,
            head_size=64,
            intermediate_size=512,
        )
    )


def test_new_blocks_are_the_identity() -> None:
    model = published()
    trace = model.trace(torch.randint(0, 300, (2, 9)), frozenset({"hidden"}))
    assert all(torch.equal(hidden, trace.hidden[0]) for hidden in trace.hidden)


def test_vectors_follow_the_published_formulas() -> None:
    model = published()
    layer, channel, width, layers = 2, 70, 128, 4
    mixer = model.blocks[layer].mixer
    share, late, early = channel / (width - 1), layer / (layers - 1), 1 - layer / layers
    z = ((channel % 64) - 31.5) / 31.5
    zigzag, linear = z * abs(z), share - 0.5
    wanted = {
        mixer.decay.bias: -6 + 6 * share ** (1 + late**0.3) + 0.5 + 2.5 * zigzag,
        mixer.rate.bias: -0.19 + 0.3 * zigzag + 0.4 * linear,
        mixer.value_mix.bias: 0.73 - 0.4 * linear,
        mixer.removal: 0.71 - 0.1 * linear,
        mixer.replacement: 1.02,
        mixer.norm.weight: ((1 + layer) / layers) ** 0.7,
    }
    for parameter, value in wanted.items():
        assert math.isclose(float(parameter[channel]), value, rel_tol=1e-4)
    for row, power in enumerate((0.2, 0.9, 0.7, 0.7, 0.9, 0.2)):
        mix = float(mixer.shift.mix[row, channel])
        assert math.isclose(mix, 1 - (channel / width) ** (power * early), rel_tol=1e-4)
    channel_mix = float(model.blocks[layer].mlp.shift.mix[0, channel])
    assert math.isclose(channel_mix, 1 - (channel / width) ** early**4, rel_tol=1e-4)
    assert float(mixer.bonus[0, 0]) == float(torch.tensor(-0.04))


def test_matrices_follow_the_published_gains() -> None:
    model = published()
    mixer = model.blocks[1].mixer
    identity = torch.eye(128)
    for weight, gain in (
        (mixer.receptance.weight, 1.0),
        (mixer.key.weight, 0.1),
        (mixer.value.weight, 1.0),
        (model.lm_head.weight, 0.5 * (300 / 128) ** 0.5),
    ):
        gram = weight.T @ weight / gain**2
        assert torch.allclose(gram, identity, atol=1e-4)
    assert model.blocks[0].mixer.value_mix is None
    assert not mixer.decay.down.any()
    assert float(model.embedding.weight.abs().max()) <= 1e-4


def test_adapters_start_with_the_published_gain() -> None:
    """0.1 sqrt(rows/columns) where an adapter has more rows than columns, else 0.1."""
    torch.manual_seed(0)
    model = GooseForCausalLM(
        GooseConfig(
            vocab_size=30, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            head_size=16, intermediate_size=64, decay_rank=128, rate_rank=8,
        )
    )  # fmt: skip
    tall, flat = model.blocks[0].mixer.decay.up, model.blocks[0].mixer.rate.up
    assert torch.allclose(tall.T @ tall, 0.01 * 128 / 32 * torch.eye(32), atol=1e-6)
    assert torch.allclose(flat @ flat.T, 0.01 * torch.eye(8), atol=1e-6)


def test_a_fresh_model_learns() -> None:
    model = published().train()
    tokens_BT = torch.arange(40).repeat(2, 3)[:, :64]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = model(tokens_BT, labels=tokens_BT).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.8 * math.log(300)
    assert losses[-1] < 0.5 * losses[0]
