"""Teachers with scaled rotations: their logits are Transformers', or they are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from asnn_goose.model import Teacher, convert, load_teacher
from asnn_goose.model.families import TeacherError
from asnn_goose.trace import Window

KINDS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "longrope": {
        "factor": 4.0,
        "short_factor": [1.0] * 8,
        "long_factor": [1.0 + n / 2 for n in range(8)],
        "original_max_position_embeddings": 16,
    },
}
BY_LENGTH = {"dynamic", "longrope"}
VOCAB = frozenset({"vocab"})

of_every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


@pytest.fixture
def folder(
    of_family: Callable[..., Teacher], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> Callable[[str], Path]:
    """A teacher that was made for 16 tokens, as a folder."""

    def make(kind: str) -> Path:
        scaling = {"rope_type": kind, "rope_theta": 10000.0, **KINDS[kind]}
        teacher = of_family("llama", words=97, max_position_embeddings=16, rope_parameters=scaling)
        teacher.model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


@pytest.fixture
def tokens() -> Tensor:
    """A window of 40 tokens."""
    return torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(0))


def logits(teacher: Teacher, tokens_BT: Tensor, documents_BT: Tensor | None = None) -> Tensor:
    trace = teacher.trace(tokens_BT, VOCAB, window=Window(documents_BT=documents_BT))
    return trace.vocab(slice(None)).view(*tokens_BT.shape, -1)


@of_every_kind
@torch.no_grad()
def test_a_folder_is_what_transformers_makes_of_it(
    kind: str, folder: Callable[[str], Path], of_family: Callable[..., Teacher], tokens: Tensor
) -> None:
    place = folder(kind)
    teacher = load_teacher(str(place))
    for length in (12, 40):  # below what it was made for, and beyond
        theirs = AutoModelForCausalLM.from_pretrained(place).eval()
        wanted = theirs(tokens[:, :length]).logits
        found = logits(load_teacher(str(place)), tokens[:, :length])
        assert (found.log_softmax(-1) - wanted.log_softmax(-1)).abs().max() < 1e-4
    plain = of_family("llama", words=97, max_position_embeddings=16).model(tokens).logits
    assert (plain.log_softmax(-1) - wanted.log_softmax(-1)).abs().max() > 1e-2
    assert teacher.config.rope_parameters["rope_type"] == kind


@of_every_kind
@torch.no_grad()
def test_documents_are_read_as_if_alone_or_refused(
    kind: str, folder: Callable[[str], Path], tokens: Tensor
) -> None:
    teacher = load_teacher(str(folder(kind)))
    documents = torch.tensor([[0] * 12 + [1] * 28, [0] * 30 + [1] * 10])
    if kind in BY_LENGTH:
        with pytest.raises(TeacherError, match=f"rope_type = '{kind}'.* 16 tokens, not 40"):
            logits(teacher, tokens, documents)
        tokens, documents = tokens[:, :16], documents[:, :16]
    found = logits(teacher, tokens, documents)
    for row in range(2):
        for number in documents[row].unique():
            there = documents[row] == number
            alone = logits(teacher, tokens[row : row + 1, there])
            assert torch.allclose(found[row, there], alone[0], atol=1e-4)


@of_every_kind
def test_a_student_would_inherit_other_angles_and_is_refused(
    kind: str, folder: Callable[[str], Path]
) -> None:
    teacher = load_teacher(str(folder(kind)))
    with pytest.raises(ValueError, match=rf"rope = true: .* rope_type = '{kind}'.*rope = false"):
        convert(teacher, rope=True)
    assert convert(teacher, rope=False).config.rope is False


@of_every_kind
def test_losses_on_queries_are_refused(
    kind: str, folder: Callable[[str], Path], tokens: Tensor
) -> None:
    with pytest.raises(TeacherError, match=f"rope_type = '{kind}'"):
        load_teacher(str(folder(kind))).trace(tokens, frozenset({"queries", "keys"}))
