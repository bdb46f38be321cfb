"""What a run is said to need on machines that are not here, against values worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.recipe import OnMachines, on_machines, parse_machines
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.machines import DEVICES

LLAMA_7B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
TEACHER = 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 2 * 32000 * 4096 + 4096
STUDENT = 6_931_480_576
# Decay, rate and gate in every layer; values are mixed in all but the first.
LOW_RANK = 2 * 4096 * (32 * (160 + 160 + 320) + 31 * 96)
TEACHER_BLOCKS = TEACHER - 2 * 32000 * 4096 - 4096
BLOCKS = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + LOW_RANK
HEAD = 32000 * 4096


@pytest.fixture
def seven_billion(
    tmp_path: Path, changed: Callable[..., dict[str, Any]]
) -> Callable[..., OnMachines]:
    """Its distillation on 500 M tokens, on machines, from a folder without weights."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_7B))

    def make(machines: str, **train: Any) -> OnMachines:
        raw = changed(f"teacher.0.model='{tmp_path}'", "teacher.0.dtype=bf16")
        size = {"tokens": "500M", "window": 4096, "batch": 2}
        raw["stage"] = [raw["stage"][1] | size]
        raw["train"] = {"precision": "bf16", "checkpointing": True, **train}
        return on_machines(check_recipe(raw, source=""), parse_machines(machines))

    return make


def test_seven_billion_in_parts_on_64_devices(seven_billion: Callable[..., OnMachines]) -> None:
    """Worked out by hand: 954 steps of 64 x 8192 tokens, held up by the network."""
    found = seven_billion("8x8xH100", shard=True)
    (stage,) = found.stages
    assert (found.teacher, found.student) == (TEACHER, STUDENT) == (6_738_415_616, 6_931_480_576)
    assert (stage.steps, stage.tokens) == (954, 500_170_752)
    # The teacher once, the student forward twice and backward, its head three times.
    products = TEACHER_BLOCKS + 4 * BLOCKS + (3 + 1) * HEAD
    assert stage.compute_s == pytest.approx(8192 * 2 * products / (0.3 * 989e12))
    assert stage.compute_s == pytest.approx(1.8595, abs=1e-4)
    # Three times all weights and once their gradients in fp32, the teacher's blocks in bf16.
    sent = (3 + 1) * 4 * STUDENT + 2 * TEACHER_BLOCKS
    assert stage.sent_bytes == sent * 63 // 64 == 121_920_970_752
    assert stage.exchange_s == pytest.approx(stage.sent_bytes / 50e9)
    assert stage.step_s == stage.exchange_s > stage.compute_s
    assert found.hours == pytest.approx(0.6462, abs=1e-4)
    assert found.dollars == pytest.approx(124.07, abs=0.01)
    assert stage.tokens_per_s == pytest.approx(215_011, abs=1)


def test_its_memory(seven_billion: Callable[..., OnMachines]) -> None:
    one, many = seven_billion("1x1xH100"), seven_billion("8x8xH100", shard=True)
    weights, passing = 4 * (1 + 3) * STUDENT, 2e9 + 11_551_113_216 + 196_608_000
    assert one.stages[0].memory_bytes == weights + 2 * TEACHER + passing
    # A 64th of the student, and together what is outside of its blocks and two MLPs, with their
    # gradients; of the teacher a 64th of the blocks, one of them, and all the rest.
    together = 8 * (262_410_240 + 2 * 3 * 4096 * 11008)
    teacher = 2 * (TEACHER_BLOCKS / 64 + TEACHER_BLOCKS / 32 + TEACHER - TEACHER_BLOCKS)
    assert many.stages[0].memory_bytes == weights / 64 + together + teacher + passing
    assert not one.fits
    assert many.fits


def test_one_device_sends_nothing_and_whole_students_only_gradients(
    seven_billion: Callable[..., OnMachines],
) -> None:
    assert seven_billion("1x1xA100").stages[0].sent_bytes == 0
    (stage,) = seven_billion("1x8xA100").stages
    assert stage.sent_bytes == 2 * 4 * STUDENT * 7 // 8
    assert stage.exchange_s == pytest.approx(stage.sent_bytes / DEVICES["A100"].link_bytes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8xH100", "wanted machines x devices x kind"),
        ("0x8xH100", "wanted machines x devices x kind"),
        ("8x8xH10", "did you mean 'H100'"),
    ],
)
def test_what_is_no_machine_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_machines(text)
