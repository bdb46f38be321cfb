"""A model that is not whole is refused, by the name of what is wrong, and never filled up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from asnn_goose.model import GooseForCausalLM, Teacher, TeacherError, load_teacher
from asnn_goose.model.assistant import load_student
from asnn_goose.places import SubjectError

Weights = dict[str, Tensor]
BLOCK = {"teacher": "model.layers", "student": "blocks"}


@pytest.fixture(scope="session")
def whole(
    llama: Callable[..., Teacher],
    fresh: Callable[..., GooseForCausalLM],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Folders of a sound teacher and a sound student."""
    root = tmp_path_factory.mktemp("whole")
    llama(vocab_size=257).model.save_pretrained(root / "teacher")
    fresh(vocab_size=257).save_pretrained(root / "student")
    for name in BLOCK:
        tokenizer.save_pretrained(root / name)
    return {name: root / name for name in BLOCK}


@pytest.fixture(params=sorted(BLOCK))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(whole: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole[kind], tmp_path / "model"))


def load(kind: str, folder: Path) -> None:
    (load_teacher if kind == "teacher" else load_student)(str(folder))


def change(folder: Path, rewrite: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(rewrite(load_file(file)), file, metadata={"format": "pt"})


def without(end: str) -> Callable[[Weights], Weights]:
    return lambda weights: {n: w for n, w in weights.items() if not n.startswith(end)}


def test_a_sound_one_loads(kind: str, folder: Path) -> None:
    load(kind, folder)


def test_tensors_that_are_missing_are_named(kind: str, folder: Path) -> None:
    change(folder, without("lm_head"))
    with pytest.raises(TeacherError, match=r"the files lack lm_head\.weight"):
        load(kind, folder)


@pytest.mark.parametrize(("layers", "said"), [(2, "knows no"), (4, "lack")])
def test_other_layers_than_the_configuration_has_are_named(
    kind: str, folder: Path, layers: int, said: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = layers
    (folder / "config.json").write_text(json.dumps(config))
    number = min(layers, 3) if said == "lack" else 2
    with pytest.raises(TeacherError, match=rf"{said} {BLOCK[kind]}\.{number}\..* and \d+ more"):
        load(kind, folder)


def test_another_shape_is_named(kind: str, folder: Path) -> None:
    change(folder, lambda weights: weights | {"lm_head.weight": torch.zeros(258, 64)})
    with pytest.raises(
        TeacherError, match=r"lm_head.weight has the shape \(258, 64\).*\(257, 64\)"
    ):
        load(kind, folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(kind: str, folder: Path, value: float) -> None:
    def spoil(weights: Weights) -> Weights:
        weights["lm_head.weight"][7, 3] = value
        return weights

    change(folder, spoil)
    with pytest.raises(TeacherError, match=r"lm_head.weight holds numbers that are not finite"):
        load(kind, folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "model.safetensors is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\x40" * 50, "cannot be loaded"),
    ],
)
def test_a_damaged_file_is_named(kind: str, folder: Path, content: bytes, said: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(TeacherError, match=said):
        load(kind, folder)


def test_a_cut_file_is_refused(kind: str, folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TeacherError, match=r"cannot be loaded.*incomplete"):
        load(kind, folder)


@pytest.mark.parametrize("content", ["{}", "{", "[1]", ""])
def test_a_damaged_configuration_is_refused(folder: Path, kind: str, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(TeacherError, match=r"is no student|cannot be loaded"):
        load(kind, folder)


@pytest.mark.parametrize("setting", ["num_hidden_layers", "hidden_size", "vocab_size"])
def test_no_room_is_made_for_more_than_the_files_hold(
    folder: Path, kind: str, setting: str
) -> None:
    """A thousand million of them: whoever began with it would not come back."""
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stated | {setting: 10**9}))
    with pytest.raises(TeacherError, match=f"config.json says {setting} = 1000000000, and the"):
        load(kind, folder)


def test_a_token_of_an_enormous_number_is_refused(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole["teacher"], tmp_path / "model"))
    rules = json.loads((folder / "tokenizer.json").read_text())
    rules["model"]["vocab"]["far"] = 2**31
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    with pytest.raises(TeacherError, match="has a token 2147483648: wanted less than 16777216"):
        load_teacher(str(folder))


@pytest.mark.parametrize("content", [None, "{}", "{"])
def test_a_missing_or_broken_tokenizer_is_named(
    whole: dict[str, Path], tmp_path: Path, content: str | None
) -> None:
    folder = Path(shutil.copytree(whole["teacher"], tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    if content is not None:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(TeacherError, match=r"cannot be loaded|tokenizer"):
        load_teacher(str(folder))


def test_shards_are_checked_as_one_file_is(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole["teacher"], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    load_teacher(str(whole["teacher"])).model.save_pretrained(folder, max_shard_size="50KB")
    files = sorted(folder.glob("model-*.safetensors"))
    assert len(files) > 2
    load_teacher(str(folder))
    files[1].unlink()
    with pytest.raises(TeacherError, match=r"cannot be loaded.*model-00002"):
        load_teacher(str(folder))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    gone = [name for name, file in index["weight_map"].items() if file == files[1].name]
    index["weight_map"] = {n: f for n, f in index["weight_map"].items() if n not in gone}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TeacherError, match="the files lack"):
        load_teacher(str(folder))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_ids_and_positions_beyond_the_tables_are_named(
    family: str,
    of_family: Callable[..., Teacher],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    of_family(family).model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    teacher = load_teacher(str(tmp_path))
    with pytest.raises(TeacherError, match=r"token or position 97.*only 97 rows"):
        teacher.trace(torch.tensor([[1, 97]]), frozenset({"vocab"}))
    with pytest.raises(TeacherError, match=r"97"):
        teacher.model(input_ids=torch.tensor([[97]]))
    if family == "gpt2":
        with pytest.raises(TeacherError, match=r"position 48.*only 48 rows"):
            teacher.model(input_ids=torch.zeros(1, 49, dtype=torch.long))


def test_padding_of_a_vocabulary_holds_no_words(
    fresh: Callable[..., GooseForCausalLM], tmp_path: Path
) -> None:
    fresh(vocab_size=257, real_vocab_size=250).save_pretrained(tmp_path)
    student = load_student(str(tmp_path))
    student(input_ids=torch.tensor([[249]]))
    with pytest.raises(TeacherError, match=r"token or position 250.*only 250 rows"):
        student(input_ids=torch.tensor([[250]]))


@pytest.mark.parametrize("type_", [torch.int8, torch.bool])
def test_whole_numbers_without_their_scale_are_refused(
    kind: str, folder: Path, type_: torch.dtype
) -> None:
    def rewrite(weights: Weights) -> Weights:
        name = sorted(n for n, w in weights.items() if w.ndim == 2)[0]
        return weights | {name: (100 * weights[name]).to(type_)}

    change(folder, rewrite)
    with pytest.raises(TeacherError, match=r"is of type (I8|BOOL) in .*no quantization_config"):
        load(kind, folder)


@pytest.mark.parametrize("type_", [torch.bfloat16, torch.float16, torch.float64])
def test_every_kind_of_fraction_is_read(kind: str, folder: Path, type_: torch.dtype) -> None:
    change(folder, lambda weights: {name: w.to(type_) for name, w in weights.items()})
    load(kind, folder)


def test_a_head_beside_a_tied_one_is_refused(
    llama: Callable[..., Teacher], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = llama(vocab_size=257, tie_word_embeddings=True).model
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    own = model.get_input_embeddings().weight.detach().clone()
    change(tmp_path, lambda weights: weights | {"lm_head.weight": own})
    load_teacher(str(tmp_path))
    change(tmp_path, lambda weights: weights | {"lm_head.weight": own + 1})
    with pytest.raises(TeacherError, match="ties the head to the embedding, and the files hold an"):
        load_teacher(str(tmp_path))


@pytest.mark.parametrize(("content", "said"), [("{cut", "not readable as JSON"), ("[]", "object")])
def test_ends_are_not_lost_with_a_broken_file(
    kind: str, folder: Path, content: str, said: str
) -> None:
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(TeacherError, match=rf"generation_config\.json .*{said}"):
        load(kind, folder)


def test_a_pickle_is_not_opened(folder: Path, kind: str) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    load(kind, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin is a pickle.*convert it"):
        load(kind, folder)


@pytest.mark.parametrize("place", ["../other.safetensors", "/etc/passwd"])
def test_an_index_names_nothing_outside(folder: Path, kind: str, place: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": place}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TeacherError, match="outside of"):
        load(kind, folder)


def test_code_beside_the_weights_is_not_run(folder: Path, kind: str, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    places = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": places}))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    load(kind, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": places}))
    with pytest.raises((TeacherError, SubjectError)):
        load(kind, folder)
    assert not (tmp_path / "ran").exists()
