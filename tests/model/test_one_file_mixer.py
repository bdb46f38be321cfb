"""A mixer is one file and one row: this file, which nothing else of the house knows of."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.model import GooseCache, GooseConfig, GooseForCausalLM, convert
from asnn_goose.model.mixers import MIXERS
from asnn_goose.model.mixers.mixer import Mixer, MixerOutput
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.groups import parameter_group
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection, block_matrix
from asnn_goose.model.parts.state import State
from asnn_goose.model.starts.balance import balance
from asnn_goose.trace import ATTENTION, Window
from asnn_goose.train.loop import run
from asnn_goose.train.stages import STAGES

TINY_RUN = Path(__file__).parents[1] / "train" / "tiny_run.py"
STEPS, BROKEN_AT = 12, 8


class LinearMixer(Mixer):
    """Linear attention (arXiv 2006.16236) with fading: S_t = d S_{t-1} + k v^T, y = q S."""

    signals = ATTENTION

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        for name, columns in self.columns(config).items():
            rows = config.hidden_size if name == "output" else config.mixer_size
            bias = config.output_bias if name == "output" else config.qkv_bias
            self.add_module(
                name,
                block_matrix(name, columns, rows, bias=bias, table=config.precision, layer=layer),
            )
        self.fade = nn.Parameter(torch.zeros(self.heads, 1, 1))

    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Token by token: a reference, not a kernel."""
        B, T = x_BTD.shape[:2]
        q, k, v = (
            self.get_submodule(name)(x_BTD, membranes).view(B, T, self.heads, self.head_size)
            for name in ("queries", "keys", "values")
        )
        if window.mask_BT is not None:
            k = k * window.mask_BT[..., None, None]
        memory = q.new_zeros(B, self.heads, self.head_size, self.head_size)
        memory = memory if state is None else state["memory"]
        documents_BT, y = window.documents_BT, []
        for t in range(T):
            if documents_BT is not None and t:
                fresh_B = documents_BT[:, t] != documents_BT[:, t - 1]
                memory = memory.masked_fill(fresh_B[:, None, None, None], 0)
            memory = self.fade.sigmoid() * memory + k[:, t, :, :, None] * v[:, t, :, None, :]
            y.append((q[:, t, :, None, :] @ memory).flatten(1))
        out_BTD = self.get_submodule("output")(torch.stack(y, dim=1), membranes)
        signals = {"queries": q, "keys": k, "values": v}
        return MixerOutput(out_BTD, carry, {"memory": memory}, signals)

    @classmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """Its four matrices."""
        read = dict.fromkeys(("queries", "keys", "values"), config.hidden_size)
        return read | {"output": config.mixer_size}

    def matrices(self) -> dict[str, Projection]:
        """Its four matrices."""
        return {name: m for name, m in self.named_children() if isinstance(m, Projection)}

    def start_matrices(self) -> None:
        """Small, and an output of zeros."""
        for name, matrix in self.matrices().items():
            nn.init.normal_(matrix.weight, std=0.0 if name == "output" else 0.02)

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Fade slowly."""
        nn.init.constant_(self.fade, 2.0)

    def inherit(self, attention: Attention) -> None:
        """All four, with the scale of the scores in k."""
        matrices = self.matrices()
        matrices["queries"].inherit(*attention.queries)
        matrices["keys"].inherit(*attention.keys, scale=attention.scaling)
        matrices["values"].inherit(*attention.values)
        matrices["output"].inherit(*attention.output)

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The norm before it."""
        *readers, _ = self.matrices().values()
        yield BalancePlace(gains, readers, [])


def tiny_run() -> ModuleType:
    """tests/train/tiny_run.py as a module."""
    spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_run"] = module
    spec.loader.exec_module(module)
    return module


class BrokenError(Exception):
    """Raised in the middle of a run."""


def train(out: Path, *, broken_at: int = 0, resume: bool = False) -> None:
    """Convert, align and distil; stop dead at a step."""
    tiny = tiny_run()
    whole = tiny.plan()
    student = convert(tiny.teacher(), mixer="linear", rope=False)
    terms = [
        [Term(name, 1.0, LOSSES[name]()) for name in ("attention_output", "minilm")],
        [Term("kl", 1.0, VOCAB_LOSSES["kl"]()), Term("hidden", 1.0, LOSSES["hidden"]())],
    ]
    stages = [
        tiny.stage_plan(
            STAGES[old.name](
                student=student, teacher=old.stage.teacher, objective=Objective(losses), resets=True
            ),
            name=old.name,
            train={"align": "mixers", "distill": "all"}[old.name],
            steps=STEPS // 2,
            window=16,
            accumulate=1,
            accelerator=whole.accelerator,
        )
        for old, losses in zip(whole.stages, terms, strict=True)
    ]

    class Breaker(tiny.Watcher):  # type: ignore[name-defined,misc]
        def on_step(self, info: object) -> None:
            super().on_step(info)
            if len(self.steps) == broken_at:
                raise BrokenError

    run(
        replace(whole, student=student, stages=tuple(stages)),
        out=out,
        resume=resume,
        progress=Breaker(),
    )


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIXERS, "linear", LinearMixer)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Run folders: one at one go, one that was broken off and resumed."""
    outs = [tmp_path_factory.mktemp("linear") / name for name in ("whole", "broken")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(MIXERS, "linear", LinearMixer)
        train(outs[0])
        with pytest.raises(BrokenError):
            train(outs[1], broken_at=BROKEN_AT)
        train(outs[1], resume=True)
    return outs


def test_it_trains_and_goes_on_after_a_break_as_if_nothing_had_been(trained: list[Path]) -> None:
    whole, broken = ((out / "model" / "model.safetensors").read_bytes() for out in trained)
    assert whole == broken


@torch.no_grad()
def test_the_trained_student_generates_by_cache_as_in_parallel(
    trained: list[Path], row: None
) -> None:
    student = AutoModelForCausalLM.from_pretrained(trained[0] / "model")
    assert isinstance(student, GooseForCausalLM)
    assert isinstance(student.blocks[1].mixer, LinearMixer)
    tokens_BT = torch.randint(97, (2, 14), generator=torch.Generator().manual_seed(1))
    cache = GooseCache()
    pieces = tokens_BT.split([5, *[1] * 9], dim=1)
    steps = [student(x, past_key_values=cache, use_cache=True).logits for x in pieces]
    whole = student(tokens_BT).logits
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)
    prompt = {"attention_mask": torch.ones_like(tokens_BT), "pad_token_id": 0}
    found = student.generate(tokens_BT, do_sample=False, max_new_tokens=4, num_beams=2, **prompt)
    assert found.shape == (2, 18)


def test_it_saves_and_loads(trained: list[Path], row: None, tmp_path: Path) -> None:
    student: GooseForCausalLM = GooseForCausalLM.from_pretrained(trained[0] / "model")
    student.save_pretrained(tmp_path)
    again: GooseForCausalLM = GooseForCausalLM.from_pretrained(tmp_path)
    assert again.config.mixer == "linear"
    for name, tensor in student.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_its_matrices_take_precision_and_its_channels_balance(row: None) -> None:
    torch.manual_seed(0)
    student = convert(tiny_run().teacher(), mixer="linear", rope=False)
    groups = {n: parameter_group(n) for n, _ in student.named_parameters()}
    assert groups["blocks.0.mixer.queries.weight"] == "matrix"
    assert groups["blocks.0.mixer.fade"] == "vector"
    tokens_BT = torch.arange(20).view(2, 10)
    before = student(tokens_BT).logits.detach()
    trace = student.trace(tokens_BT, frozenset({"hidden", "mixer_out"}))
    assert balance(student, [trace], strength=0.5) == 2 * 3
    torch.testing.assert_close(student(tokens_BT).logits, before, atol=1e-4, rtol=1e-4)
    student.set_precision({"queries": {"planes": 1, "steps": 1, "neuron": "lif"}})
    assert not torch.allclose(student(tokens_BT).logits, before)
    with pytest.raises(ValueError, match=r"precision.receptance: this model's blocks have queries"):
        student.set_precision({"receptance": {"planes": 1}})


def test_from_scratch_it_starts_as_it_says(row: None) -> None:
    config = GooseConfig(
        mixer="linear", vocab_size=31, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, head_size=8, intermediate_size=24,
    )  # fmt: skip
    mixer = GooseForCausalLM(config).blocks[0].mixer
    assert torch.equal(mixer.fade, torch.full_like(mixer.fade, 2.0))
    assert mixer.matrices()["keys"].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert not mixer.matrices()["output"].weight.any()


def test_a_loss_on_what_it_lacks_is_refused_by_name(row: None) -> None:
    teacher = tiny_run().teacher()
    student = convert(teacher, mixer="linear", rope=False)
    for kind in ("align", "distill"):
        with pytest.raises(
            ValueError,
            match=r"matrix_orientation needs the signal log_decay, .* mixer 'linear' gives keys, ",
        ):
            STAGES[kind](
                student=student,
                teacher=teacher,
                objective=Objective(
                    [Term("matrix_orientation", 1, LOSSES["matrix_orientation"]())]
                ),
            )
