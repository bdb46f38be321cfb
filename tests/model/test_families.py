from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GraniteConfig

from asnn_goose.model import GooseCache, GooseForCausalLM, Teacher, TeacherError, convert
from asnn_goose.model.parts.groups import parameter_group
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.rows import linear
from asnn_goose.model.scales import scales
from asnn_goose.model.teacher import FAMILIES, real_words
from asnn_goose.ops.rotary import rotate
from asnn_goose.trace import NEEDS, Rotation, Window, capped

KINDS = [
    "llama",
    "llama-80",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "smollm3",
    "phi3",
    "granite",
    "granite-untied",
    "olmo2",
    "olmo3",
    "gemma2",
    "gemma3_text",
    "gpt_neox",
    "gpt_neox-serial",
    "falcon",
    "falcon-new",
    "falcon-serial",
]

Make = Callable[..., Teacher]


def close(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-4)


def test_every_family_is_tested() -> None:
    assert {kind.split("-")[0] for kind in KINDS} == set(FAMILIES)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_with_the_teachers_mixers_a_student_gives_its_logits(
    kind: str, of_family: Make, tokens_BT: Tensor
) -> None:
    teacher = of_family(kind)
    trace, student = teacher.trace(tokens_BT, NEEDS), convert(teacher)
    x_BTD = student.trace(tokens_BT, frozenset({"hidden"})).hidden[0]
    for index, block in enumerate(student.blocks):
        assert close(x_BTD, trace.hidden[index])
        assert close(block.mixer_norm(x_BTD), trace.mixer_in[index])
        mixed_BTD, window = x_BTD + block.mixer_after(trace.mixer_out[index]), Window()
        mlp_in_BTD = block.mlp_norm(x_BTD if block.parallel else mixed_BTD)
        added_BTD = block.mlp(mlp_in_BTD, None, window, Membranes(window)).out_BTD
        assert close(added_BTD, trace.mlp_out[index])
        x_BTD = mixed_BTD + block.mlp_after(added_BTD)
    z_BTV = student.lm_head(student.final_norm(x_BTD))
    logits_nV = capped(z_BTV, student.config.logit_cap).flatten(0, 1)
    assert close(logits_nV, teacher.model(tokens_BT).logits.flatten(0, 1))
    assert close(logits_nV, trace.vocab(slice(0, 82)))
    assert trace.final_norm is not None
    assert close(trace.final_norm(trace.hidden[-1]), trace.final_BTD)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_queries_keys_and_values_are_inherited(
    kind: str, of_family: Make, tokens_BT: Tensor
) -> None:
    teacher = of_family(kind)
    trace = teacher.trace(tokens_BT, NEEDS)
    student = convert(teacher, variant="goose", v_first="none")
    driven = student.drive(trace.mixer_in)
    for index, mixer in enumerate(block.mixer for block in student.blocks):
        assert close(driven.signals["queries"][index], trace.signals["queries"][index])
        assert close(driven.signals["keys"][index], trace.signals["keys"][index])
        assert close(driven.signals["values"][index], trace.signals["values"][index])
        found = linear(teacher.attention(index), teacher.family.output, teacher.heads)
        output = found.times(teacher.scales.residual)
        assert torch.equal(mixer.output.weight, output.weight_OK)
        assert (mixer.output.bias is None) == (output.bias_O is None)
        assert output.bias_O is None or torch.equal(mixer.output.bias, output.bias_O)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_trace_holds_what_attention_is_made_of(
    kind: str, of_family: Make, tokens_BT: Tensor
) -> None:
    teacher = of_family(kind)
    trace = teacher.trace(tokens_BT, NEEDS)
    for index in range(2):
        q, k, v = (
            trace.signals["queries"][index],
            trace.signals["keys"][index],
            trace.signals["values"][index],
        )
        assert q.shape == k.shape == v.shape
        theta, channels = trace.rotation(index)
        if theta:
            position_BT = torch.arange(41).expand(2, 41)
            q, k = (rotate(x, position_BT, theta=theta, channels=channels) for x in (q, k))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=reach(teacher, index))
        output = linear(teacher.attention(index), teacher.family.output, teacher.heads)
        mixed_BTD = F.linear(y.transpose(1, 2).flatten(2), *output.times(teacher.scales.residual))
        assert close(mixed_BTD, trace.mixer_out[index])


def reach(teacher: Teacher, layer: int) -> Tensor:
    """Which of 41 tokens see which: the ones before, within a sliding window where there is one."""
    back = torch.arange(41)[:, None] - torch.arange(41)
    kinds = getattr(teacher.config, "layer_types", None)
    sliding = kinds is not None and kinds[layer] == "sliding_attention"
    return (back >= 0) & (back < (teacher.config.sliding_window if sliding else 41))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "-" not in kind])
def test_a_student_of_every_family_learns(kind: str, of_family: Make, tokens_BT: Tensor) -> None:
    student = convert(of_family(kind), variant="radlads").train()
    student(tokens_BT, labels=tokens_BT).loss.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter_group(name) in {"embedding", "norm", "matrix", "vector"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "-" not in kind])
@torch.no_grad()
def test_decoding_and_padding_change_nothing(kind: str, of_family: Make, tokens_BT: Tensor) -> None:
    student = convert(of_family(kind))
    whole_BTV = student(tokens_BT[:, 5:]).logits
    cache = GooseCache()
    pieces = [
        student(piece, past_key_values=cache, use_cache=True).logits
        for piece in tokens_BT[:, 5:].split([20, *[1] * 16], dim=1)
    ]
    assert torch.allclose(torch.cat(pieces, dim=1), whole_BTV, atol=1e-3)
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[:, :5] = 0
    padded_BTV = student(tokens_BT, attention_mask=mask_BT).logits
    assert torch.allclose(padded_BTV[:, 5:], whole_BTV, atol=1e-3)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@torch.no_grad()
def test_a_student_is_saved_whole(
    kind: str, of_family: Make, tmp_path: Path, tokens_BT: Tensor
) -> None:
    student = convert(of_family(kind, words=90))
    student.save_pretrained(tmp_path)
    again: GooseForCausalLM = GooseForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again(tokens_BT).logits, student(tokens_BT).logits)


def test_longer_contexts_than_learned_positions_are_refused(of_family: Make) -> None:
    teacher = of_family("gpt2")
    student, long_BT = convert(teacher), torch.zeros(1, 49, dtype=torch.long)
    with pytest.raises(TeacherError, match=r"49 tokens: teacher 'tiny gpt2'.*positions for 48"):
        teacher.trace(long_BT, frozenset({"vocab"}))
    for run in (student, lambda tokens: student.trace(tokens, frozenset({"vocab"}))):
        with pytest.raises(ValueError, match=r"49 tokens: .*n_positions = 48"):
            run(long_BT)
    cache = GooseCache()
    student(long_BT[:, :48], past_key_values=cache, use_cache=True)
    with pytest.raises(ValueError, match=r"49 tokens"):
        student(long_BT[:, 48:], past_key_values=cache, use_cache=True)


def test_a_key_with_a_norm_is_scaled_in_its_norm(of_family: Make) -> None:
    teacher = of_family("qwen3")
    mixer, theirs = convert(teacher).blocks[1].mixer, teacher.attention(1)
    keys = linear(theirs, teacher.family.keys, teacher.heads)
    assert torch.equal(mixer.key.weight[:32], keys.weight_OK[:32])
    assert torch.allclose(mixer.key_norm.weight * 32**0.5, theirs.k_norm.weight)


def test_layers_may_scale_their_attention(of_family: Make, tokens_BT: Tensor) -> None:
    teacher = of_family("gpt2", scale_attn_by_inverse_layer_idx=True)
    trace = teacher.trace(tokens_BT, NEEDS)
    keys = convert(teacher, v_first="none").drive(trace.mixer_in).signals["keys"]
    assert close(keys[0], trace.signals["keys"][0])
    assert close(keys[1], trace.signals["keys"][1])


def test_rotation_is_kept_only_where_there_is_one(of_family: Make) -> None:
    assert not convert(of_family("gpt2"), variant="radlads").config.rope
    assert convert(of_family("qwen3"), variant="radlads").config.rope


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("gpt2", {"n_positions": 0}, r"n_positions = 0: a student of tiny gpt2 needs 48"),
        ("gpt2", {"norm": "rms"}, r"norm = 'rms'.*needs 'layer'"),
        ("qwen3", {"qk_norm": False}, r"qk_norm = False.*needs True"),
        ("gpt2", {"precision": {"gate": {"planes": 1}}}, r"precision.gate: .*up, down"),
        ("llama", {"n_positions": -1}, r"n_positions = -1: must be a whole number of at least 0"),
        ("llama", {"real_vocab_size": 98}, r"real_vocab_size = 98: .*at most 97"),
    ],
)
def test_what_does_not_fit_is_named(
    kind: str, change: dict[str, object], message: str, of_family: Make
) -> None:
    with pytest.raises(ValueError, match=message):
        convert(of_family(kind), **change)


@torch.no_grad()
def test_padded_rows_of_a_vocabulary_get_no_probability(of_family: Make, tokens_BT: Tensor) -> None:
    teacher, tokens_BT = of_family("qwen2", words=90), tokens_BT.clamp_max(89)
    student = convert(teacher)
    assert (real_words(teacher), real_words(of_family("qwen2"))) == (90, 97)
    assert (student.config.vocab_size, student.config.real_vocab_size) == (97, 90)
    assert convert(of_family("qwen2", words=97)).config.real_vocab_size == 0
    assert torch.equal(student.embedding.weight, teacher.model.get_input_embeddings().weight)
    theirs, ours = (model.trace(tokens_BT, frozenset({"vocab"})) for model in (teacher, student))
    assert theirs.vocab(slice(0, 5)).shape == ours.vocab(slice(0, 5)).shape == (5, 90)
    logits_BTV = student(tokens_BT).logits
    assert torch.equal(logits_BTV[..., :90].flatten(0, 1), ours.vocab(slice(0, 82)))
    assert not logits_BTV.softmax(-1)[..., 90:].any()


def test_words_beyond_the_rows_of_a_model_do_not_count(of_family: Make) -> None:
    assert real_words(of_family("llama", words=99)) == 97


def test_special_tokens_are_inherited(of_family: Make) -> None:
    config = convert(of_family("qwen3", bos_token_id=3, eos_token_id=[4, 5], pad_token_id=6)).config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (3, [4, 5], 6)


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_rotations_that_are_more_than_a_base_are_refused_by_name(
    of_family: Callable[..., Teacher], tokens_BT: Tensor
) -> None:
    teacher = of_family("llama", rope_parameters=LLAMA3)
    with pytest.raises(ValueError, match=r"rope = true: .* rope_type = 'llama3'.*rope = false"):
        convert(teacher)
    assert not convert(teacher, variant="goose").config.rope
    assert not teacher.trace(tokens_BT, frozenset({"hidden", "values"})).rotations
    with pytest.raises(TeacherError, match="rope_type = 'llama3'"):
        teacher.trace(tokens_BT, frozenset({"keys"}))


def test_a_trace_knows_its_rotations_and_its_sizes(
    of_family: Callable[..., Teacher], tokens_BT: Tensor
) -> None:
    rotary = of_family("qwen3", rope_parameters={"rope_type": "default", "rope_theta": 300.0})
    trace = rotary.trace(tokens_BT, frozenset({"queries"}))
    assert (trace.rotations, trace.width, trace.head_size) == ((Rotation(300.0),) * 2, 64, 32)
    assert not of_family("gpt2").trace(tokens_BT, frozenset({"queries"})).rotations
    student = convert(rotary)
    assert student.config.rope_theta == 300.0
    ours = student.trace(tokens_BT, frozenset({"queries"}))
    assert (ours.rotations, ours.width, ours.head_size) == ((), 64, 32)
    assert (student.outline.width, rotary.outline.head_size) == (64, 32)


def test_a_head_of_its_own_is_not_scaled_as_the_embedding_is() -> None:
    config, embedding = GraniteConfig(embedding_multiplier=12.0), nn.Embedding(4, 2)
    head = nn.Linear(2, 4, bias=False)
    apart = scales(config, FAMILIES["granite"], embedding=embedding, head=head)
    head.weight = embedding.weight
    tied = scales(config, FAMILIES["granite"], embedding=embedding, head=head)
    assert (apart.embedding, apart.head) == (12.0, 1.0)
    assert (tied.embedding, tied.head) == (12.0, 12.0)
