"""SpikeBERT made causal: inner steps, counts that fade, two stages of distillation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asnn_goose.eval.student_work import student_work
from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.losses.embedding_table import EmbeddingTable
from asnn_goose.losses.hidden import Hidden
from asnn_goose.model import GooseConfig, GooseForCausalLM, Teacher, convert, student_config
from asnn_goose.model.neurons import LIF
from asnn_goose.model.neurons.lif import inner_lif
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.presets import preset_settings
from asnn_goose.trace import Batch, Trace, Window
from asnn_goose.train.stages import STAGES

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_size": 16,
}


@torch.no_grad()
def made(**changes: object) -> GooseForCausalLM:
    torch.manual_seed(0)
    settings = SHAPE | preset_settings("spikebert", width=64) | changes
    student = GooseForCausalLM(GooseConfig(**settings))
    for name, parameter in student.named_parameters():
        if name.endswith("_norm.bias"):
            parameter.add_(1.0)  # so that many neurons fire
    return student.eval()


@torch.no_grad()
def test_running_counts_are_masked_attention(tokens_BT: Tensor) -> None:
    """(Q K^T, lower triangle, times w^(t-i)) V is what the state gives."""
    mixer = made().blocks[0].mixer
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.rand(8, 21, 4, 16, generator=generator).round() for _ in range(3))
    y, _ = mixer._sums(q, k, v, None, Window())
    w_H = torch.exp(-0.6065306597126334 * torch.sigmoid(mixer.decay))
    age = torch.arange(21).unsqueeze(1) - torch.arange(21)
    fade_HTT = (w_H[:, None, None] ** age.clamp_min(0)).tril()
    score = torch.einsum("bthn,bshn->bhts", q, k) * fade_HTT
    torch.testing.assert_close(y, torch.einsum("bhts,bshn->bthn", score, v), rtol=1e-4, atol=1e-3)


def test_heads_start_with_short_and_long_memories() -> None:
    rate_H = 0.6065306597126334 * torch.sigmoid(made().blocks[0].mixer.decay.detach())
    torch.testing.assert_close(rate_H[0].item(), 2.0**-2)
    torch.testing.assert_close(rate_H[-1].item(), 2.0**-7)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 4, 16, 64])
def test_steps_of_a_constant_current_fire_at_the_rate_of_the_closed_form(steps: int) -> None:
    """From rest V_n = I (1 - (1 - 1/tau)^n), a hard reset: a spike every n* steps."""
    neuron = LIF(3, tau=10.0, along="steps", detach=True)
    current = torch.tensor([0.9, 1.5, 12.0])
    h = current.expand(2 * steps, 5, 3)
    spikes, state = neuron.forward_with_state(h, None, Window(copies=steps))
    assert state.shape == (2 * steps, 0)
    rates = spikes.unflatten(0, (2, steps)).mean(1)[0, 0]
    wanted = []
    for size in current.tolist():
        if size <= 1:
            wanted.append(0.0)
            continue
        each = next(n for n in range(1, 100) if size * (1 - 0.9**n) > 1)
        wanted.append(1 / each)
    assert bool(((rates - torch.tensor(wanted)).abs() <= 1 / steps).all())
    assert torch.equal(spikes[:, 0], spikes[:, 4])  # tokens leave nothing to each other


@torch.no_grad()
def test_matrices_behind_neurons_see_events_and_cost_additions(tokens_BT: Tensor) -> None:
    student = made()
    seen: dict[str, Tensor] = {}
    for name, module in student.blocks[1].named_modules():
        if hasattr(module, "coded"):
            module.register_forward_pre_hook(lambda _, a, name=name: seen.update({name: a[0]}))
    student(tokens_BT)
    for name in ("mixer.output", "mlp.down"):
        assert set(seen[name].unique().tolist()) == {0.0, 1.0}
    for name in ("mixer.queries", "mlp.up"):  # the stream: binary words and what fired, added up
        assert torch.equal(seen[name], seen[name].round())
    work = {part.part: part for part in student_work(student, tokens_BT)}
    assert work["mixer"].multiplications == work["mlp"].multiplications == 0
    events = sum(float(seen[f"mixer.{n}"].sum()) for n in ("queries", "keys", "values", "output"))
    assert 0 < events * 64 / tokens_BT.numel() < work["mixer"].additions
    assert work["head"].multiplications == 97 * 64  # a mean over the steps


@torch.no_grad()
def test_every_step_has_its_own_state_and_a_sequence_keeps_them_together(
    tokens_BT: Tensor,
) -> None:
    student = made(inner_steps=3)
    cache = student(tokens_BT, use_cache=True).past_key_values
    memory = cache.blocks[0].mixer["memory"]
    assert memory.shape == (2, 3, 4, 16, 16)
    assert not torch.equal(memory[0, 0], memory[0, 2])
    whole = student(tokens_BT).logits
    cache.reorder_cache(torch.tensor([1, 0]))
    more = student(tokens_BT.flip(0)[:, -1:], past_key_values=cache, use_cache=True).logits
    longer = torch.cat((tokens_BT, tokens_BT[:, -1:]), dim=1)
    torch.testing.assert_close(more[:, 0], student(longer).logits[:, -1].flip(0), atol=1e-4, rtol=0)
    assert whole.shape == (2, 41, 97)


@torch.no_grad()
def test_one_inner_step_is_none_at_all(tokens_BT: Tensor) -> None:
    """The copies are a matter of the whole student: mixers see rows."""
    student = made(inner_steps=1)
    x_BTD = torch.rand(2, 9, 64).round()
    mixed = student.blocks[0].mixed(x_BTD, None, Window())
    driven = student.drive((x_BTD, x_BTD)).mixer_out[0]
    assert torch.equal(mixed.out_BTD, driven)
    assert Membranes(Window()).window.copies == 1


def test_a_teacher_has_nothing_that_it_could_inherit(teacher: Teacher) -> None:
    own = {"rope": False, "inner_steps": 4, "bonus": True}
    with pytest.raises(ValueError, match="spiking_attention': it inherits nothing; set start"):
        convert(teacher, mixer="spiking_attention", **own)


def test_a_membrane_comes_as_near_in_few_steps_as_in_the_published_sixteen() -> None:
    assert inner_lif(3, steps=16).cell.tau == pytest.approx(10.0)
    for steps in (1, 4, 16):
        assert (1 - 1 / inner_lif(3, steps=steps).cell.tau) ** steps == pytest.approx(0.9**16)
    assert inner_lif(3, steps=4, threshold=0.5).cell.threshold == 0.5


def test_the_spiking_mlp_wants_inner_steps() -> None:
    with pytest.raises(ValueError, match="mlp = 'spiking': must be of a mixer with inner steps"):
        GooseConfig(mlp="spiking")
    with pytest.raises(ValueError, match="inner_steps = 0: must be a whole number of at least 1"):
        GooseConfig(mixer="spiking_attention")


def batch(tokens_BT: Tensor) -> Batch:
    return Batch(
        tokens_BT=tokens_BT,
        labels_BT=tokens_BT.roll(-1, 1),
        documents_BT=torch.zeros_like(tokens_BT),
    )


def test_a_copied_teacher_costs_nothing_in_the_first_stage(tokens_BT: Tensor) -> None:
    """With identity transforms, of features that are normed, as BERT's are."""
    torch.manual_seed(0)
    normed = torch.nn.functional.layer_norm(torch.randn(3, 2, 41, 16), (16,))
    trace = Trace(hidden=tuple(normed.unbind()), width=16, blocks=2)
    loss = Hidden(distance="mse", layer_map="first", transform=True)
    loss.meet(trace, trace)
    assert float(loss(trace, trace, batch(tokens_BT)).detach()) < 1e-9
    moved = replace(trace, hidden=tuple(x.roll(1, -1) for x in normed.unbind()))
    assert float(loss(moved, trace, batch(tokens_BT)).detach()) > 0.1


def test_a_transform_for_every_pair_and_every_width(tokens_BT: Tensor) -> None:
    student = Trace(hidden=(torch.randn(2, 41, 8),) * 3, width=8, blocks=2)
    teacher = Trace(hidden=(torch.randn(2, 41, 16),) * 5, width=16, blocks=4)
    loss = Hidden(distance="mse", layer_map="first", transform=True)
    with pytest.raises(ValueError, match="the transforms have not met both models"):
        loss(student, teacher, batch(tokens_BT))
    loss.meet(student, teacher)
    assert [n for n, _ in loss.named_parameters() if n.endswith("maps.1.weight")]
    loss(student, teacher, batch(tokens_BT)).backward()
    assert all(p.grad is not None and p.grad.any() for p in loss.parameters())
    with pytest.raises(ValueError, match="transform = true: it has maps of its own"):
        Hidden(layer_map="learned", transform=True)


def test_word_vectors_follow_the_teachers(tokens_BT: Tensor) -> None:
    table = torch.randn(97, 16)
    student = Trace(embedding_VD=(table + 0.5).requires_grad_(), width=16)
    teacher = Trace(embedding_VD=table, width=16)
    loss = EmbeddingTable()
    loss.meet(student, teacher)
    found = loss(student, teacher, batch(tokens_BT))
    torch.testing.assert_close(found, torch.tensor(0.25))
    found.backward()
    words = tokens_BT.unique()
    still = torch.ones(97, dtype=torch.bool).index_fill_(0, words, False)
    assert not student.embedding_VD.grad[still].any()
    assert student.embedding_VD.grad[words].all()
    with pytest.raises(ValueError, match="no embedding table"):
        loss(Trace(), teacher, batch(tokens_BT))


def test_both_stages_train(teacher: Teacher, tokens_BT: Tensor) -> None:
    torch.manual_seed(0)
    student = GooseForCausalLM(student_config(teacher, preset="spikebert")).train()
    features = Term("hidden", 0.1, Hidden(distance="mse", layer_map="first", transform=True))
    second = [
        Term("embedding_table", 1.0, LOSSES["embedding_table"]()),
        Term("hidden", 5.0, Hidden(distance="mse", layer_map="first", transform=True)),
        Term("kl", 1.0, VOCAB_LOSSES["kl"]()),
    ]
    for terms in ([features], second):
        stage = STAGES["distill"](student=student, teacher=teacher, objective=Objective(terms))
        stage.introduce()
        optimiser = torch.optim.Adam(stage.parameters(), lr=3e-3)
        found = []
        for _ in range(6):
            total = sum(stage(batch(tokens_BT)).values())
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            found.append(float(total.detach()))
        assert found[-1] < found[0]
