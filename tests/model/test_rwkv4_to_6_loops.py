"""RWKV-4, 5 and 6 held against their papers and released code, token by token, in fp64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model import GooseConfig, GooseForCausalLM

Fresh = Callable[..., GooseForCausalLM]
Weights = dict[str, Tensor]


def of(module: nn.Module) -> Weights:
    return {name: p.detach().double() for name, p in module.named_parameters()}


def inputs(*, count: int, width: int = 64, tokens: int = 9) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(4)
    return tuple(
        torch.randn(1, tokens, width, generator=generator, dtype=torch.float64)
        for _ in range(count)
    )


def rwkv4(w: Weights, x_TD: Tensor) -> Tensor:
    """arXiv 2305.13048, equations 11 to 18; mu weighs the token itself."""
    mu = dict(zip("kvr", 1 - w["shift.mix"], strict=True))
    before_TD = F.pad(x_TD, (0, 0, 1, 0))[:-1]
    k, v, r = (
        (x_TD * mu[letter] + before_TD * (1 - mu[letter])) @ w[f"{name}.weight"].T
        for letter, name in (("k", "key"), ("v", "value"), ("r", "receptance"))
    )
    decay, outputs = w["decay"].exp(), []
    for t in range(len(x_TD)):
        weights = [torch.exp(-(t - 1 - i) * decay + k[i]) for i in range(t)]
        weights.append(torch.exp(w["bonus"] + k[t]))
        total = sum(a * b for a, b in zip(weights, v[: t + 1], strict=True))
        outputs.append(w["output.weight"] @ (torch.sigmoid(r[t]) * total / sum(weights)))
    return torch.stack(outputs)


def rwkv6(w: Weights, x_TD: Tensor, *, heads: int, dynamic: bool) -> Tensor:
    """arXiv 2404.05892, sections 3 and 4."""
    delta_TD = F.pad(x_TD, (0, 0, 1, 0))[:-1] - x_TD
    if dynamic:
        seen = x_TD + delta_TD * w["shift.mix"][0]
        rank = w["shift.up"].shape[1]
        inner = torch.tanh(seen @ w["shift.down"])
        mixed = {
            letter: x_TD
            + delta_TD
            * (w["shift.mix"][1 + i] + inner[:, i * rank : (i + 1) * rank] @ w["shift.up"][i])
            for i, letter in enumerate("wkvrg")
        }
        d = w["decay.bias"] + torch.tanh(mixed["w"] @ w["decay.down"]) @ w["decay.up"]
    else:
        mixed = {a: x_TD + delta_TD * mu for a, mu in zip("kvrg", w["shift.mix"], strict=True)}
        d = w["decay"].expand(len(x_TD), -1)
    r, k, v, g = (
        mixed[letter] @ w[f"{name}.weight"].T
        for letter, name in (("r", "receptance"), ("k", "key"), ("v", "value"), ("g", "gate"))
    )
    size, fade = r.shape[1] // heads, torch.exp(-torch.exp(d))
    state = torch.zeros(heads, size, size, dtype=torch.float64)  # [key, value]
    outputs = []
    for t in range(len(x_TD)):
        y = torch.zeros(heads, size, dtype=torch.float64)
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            written = torch.outer(k[t, part], v[t, part])
            y[h] = r[t, part] @ (state[h] + torch.diag(w["bonus"][h]) @ written)
            state[h] = torch.diag(fade[t, part]) @ state[h] + written
        # The released code: GroupNorm(eps 1e-5) of y / 8.
        y = y / 8
        y = (y - y.mean(1, keepdim=True)) / torch.sqrt(y.var(1, keepdim=True, correction=0) + 1e-5)
        y_C = y.flatten() * w["norm.weight"] + w["norm.bias"]
        outputs.append(w["output.weight"] @ (y_C * F.silu(g[t])))
    return torch.stack(outputs)


@torch.no_grad()
def test_rwkv4_is_its_papers_sum(fresh: Fresh) -> None:
    student = fresh(mixer="rwkv4").double()
    x = inputs(count=3)
    for block, x_BTD, found in zip(student.blocks, x, student.drive(x).mixer_out, strict=True):
        torch.testing.assert_close(found[0], rwkv4(of(block.mixer), x_BTD[0]))


@pytest.mark.parametrize("mixer", ["rwkv5", "rwkv6"])
@torch.no_grad()
def test_rwkv5_and_6_are_their_papers_loop(fresh: Fresh, mixer: str) -> None:
    student = fresh(mixer=mixer, gate="silu").double()
    for block in student.blocks:  # outputs small enough that the group norm's eps is seen
        block.mixer.value.weight.mul_(0.02)
    x = inputs(count=3)
    for block, x_BTD, found in zip(student.blocks, x, student.drive(x).mixer_out, strict=True):
        wanted = rwkv6(of(block.mixer), x_BTD[0], heads=4, dynamic=mixer == "rwkv6")
        torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-8)


@torch.no_grad()
def test_rwkv6_that_follows_nothing_is_rwkv5(fresh: Fresh) -> None:
    five, six = (fresh(mixer=mixer, gate="silu") for mixer in ("rwkv5", "rwkv6"))
    for old, new in zip(five.blocks, six.blocks, strict=True):
        shared = old.mixer.state_dict()
        shared["decay.bias"], mix = shared.pop("decay"), shared.pop("shift.mix")
        new.mixer.load_state_dict(shared, strict=False)
        new.mixer.decay.down.zero_()
        new.mixer.shift.down.zero_()
        new.mixer.shift.mix[2:].copy_(mix)
    x = tuple(one.float() for one in inputs(count=3))
    for old, new in zip(five.drive(x).mixer_out, six.drive(x).mixer_out, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_gated_channel_mix_is_the_released_one(fresh: Fresh) -> None:
    mlp = fresh(mixer="rwkv4", mlp="gated_channel_mix").double().blocks[1].mlp
    w, (x_BTD,) = of(mlp), inputs(count=1)
    before = F.pad(x_BTD[0], (0, 0, 1, 0))[:-1]
    x_k, x_r = (x_BTD[0] * (1 - mix) + before * mix for mix in w["shift.mix"])
    kv = torch.relu(x_k @ w["key.weight"].T).square() @ w["value.weight"].T
    from asnn_goose.model.parts.membranes import Membranes
    from asnn_goose.trace import Window

    found = mlp(x_BTD, None, Window(), Membranes(Window())).out_BTD[0]
    torch.testing.assert_close(found, torch.sigmoid(x_r @ w["receptance.weight"].T) * kv)


def published(mixer: str, **changes: object) -> GooseForCausalLM:
    torch.manual_seed(0)
    return GooseForCausalLM(
        GooseConfig(
            mixer=mixer, mlp="gated_channel_mix", vocab_size=300, hidden_size=64,
            num_hidden_layers=4, num_attention_heads=2, head_size=32, intermediate_size=256,
            **changes,  # type: ignore[arg-type]
        )
    )  # fmt: skip


LAYER, LAYERS, CHANNEL, WIDTH = 2, 4, 40, 64


def share(power: float) -> float:
    """The published mu of a channel: how much the token itself counts."""
    return (CHANNEL / WIDTH) ** power


def test_rwkv4_starts_as_published() -> None:
    student = published("rwkv4")
    mixer, late, early = student.blocks[LAYER].mixer, LAYER / (LAYERS - 1), 1 - LAYER / LAYERS
    part = CHANNEL / (WIDTH - 1)
    assert mixer.decay[CHANNEL].item() == pytest.approx(-5 + 8 * part ** (0.7 + 1.3 * late))
    zigzag = ((CHANNEL + 1) % 3 - 1) * 0.5
    assert mixer.bonus[CHANNEL].item() == pytest.approx(math.log(0.3) + zigzag)
    wanted = (share(early), share(early) + 0.3 * late, share(early / 2))
    for mix, mu in zip(mixer.shift.mix[:, CHANNEL].tolist(), wanted, strict=True):
        assert 1 - mix == pytest.approx(mu, rel=1e-5)
    assert not any(m.weight.any() for m in (mixer.key, mixer.receptance, mixer.output))
    gram = mixer.value.weight @ mixer.value.weight.T
    torch.testing.assert_close(gram, torch.eye(WIDTH), atol=1e-5, rtol=0)
    # Embedding: orthogonal columns with gain 1e-4 sqrt(V); head: 1/2 sqrt(V / D).
    columns = student.embedding.weight.T @ student.embedding.weight
    torch.testing.assert_close(columns, 1e-8 * 300 * torch.eye(WIDTH), atol=1e-10, rtol=0)
    assert float(torch.linalg.svdvals(student.lm_head.weight)[0].detach()) == pytest.approx(
        0.5 * (300 / WIDTH) ** 0.5, rel=1e-4
    )
    # Its channel mix: a tall orthogonal key, gate and value of zeros.
    mlp = student.blocks[LAYER].mlp
    key = torch.linalg.svdvals(mlp.key.weight.detach())
    torch.testing.assert_close(key, torch.full_like(key, 2.0))
    assert not mlp.receptance.weight.any()
    assert not mlp.value.weight.any()
    for mix in mlp.shift.mix[:, CHANNEL].tolist():
        assert 1 - mix == pytest.approx(share(early), rel=1e-5)


@pytest.mark.parametrize("name", ["rwkv5", "rwkv6"])
def test_rwkv5_and_6_start_as_published(name: str) -> None:
    mixer = published(name, gate="silu").blocks[LAYER].mixer
    late, early, part = LAYER / (LAYERS - 1), 1 - LAYER / LAYERS, CHANNEL / (WIDTH - 1)
    decay = mixer.decay if name == "rwkv5" else mixer.decay.bias
    assert decay[CHANNEL].item() == pytest.approx(-6 + 5 * part ** (0.7 + 1.3 * late))
    bonus = late * (1 - part) + ((CHANNEL + 1) % 3 - 1) * 0.1
    assert mixer.bonus.flatten()[CHANNEL].item() == pytest.approx(bonus)
    powers = {"x": early, "w": early, "k": early, "v": early, "r": early / 2, "g": early / 2}
    order = "kvrg" if name == "rwkv5" else "xwkvrg"
    for letter, mix in zip(order, mixer.shift.mix[:, CHANNEL].tolist(), strict=True):
        away = 0.3 * late if letter == "v" else 0.0
        assert mix == pytest.approx(1 - share(powers[letter]) - away, abs=1e-5)
    assert mixer.norm.weight[0].item() == pytest.approx(((1 + LAYER) / LAYERS) ** 0.7)
    for matrix, gain in ((mixer.key, 0.1), (mixer.gate, 0.1), (mixer.receptance, 1.0)):
        sizes = torch.linalg.svdvals(matrix.weight.detach())
        torch.testing.assert_close(sizes, torch.full_like(sizes, gain))
    assert not mixer.output.weight.any()
    if name == "rwkv6":
        assert (mixer.decay.up.shape, mixer.shift.up.shape) == ((64, 64), (5, 32, 64))
        assert not mixer.decay.down.any()
        assert 0.009 < float(mixer.shift.up.detach().abs().max()) <= 0.01
