"""A text is tokenised once, whole or not at all, and again when anything about it changes."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from asnn_goose.data import shards
from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN
from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard, separator_id, shard, tokenizer_fingerprint
from asnn_goose.sources import SourceError, teacher_folder

TEXTS = ["one", "zwei Wörter", "", "three"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    return path


@pytest.fixture
def no_tokenising(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def fail(*_: object) -> None:
            raise AssertionError("tokenised again")

        monkeypatch.setattr(shards, "_write", fail)

    return forbid


def only_folder(cache: Path) -> Path:
    [folder] = (cache / "shards").iterdir()
    return folder


def texts_of(made: Shard, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    parts = np.split(np.asarray(made.tokens_N, np.int64), made.starts[1:])
    assert all(part[-1] == made.meta.separator for part in parts)
    return [tokenizer.decode(part[:-1].tolist()) for part in parts]


def test_tokens_are_the_text_with_separators(
    file: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    made = shard(file, "all", tokenizer)
    assert isinstance(made.tokens_N, np.memmap)
    assert texts_of(made, tokenizer) == ["one", "zwei Wörter", "three"]
    # One token per byte and a separator per document.
    size = len("onezwei Wörterthree".encode())
    assert (made.meta.documents, made.meta.bytes, made.meta.tokens) == (3, size, size + 3)
    assert len(made.tokens_N) == size + 3
    assert made.meta.separator == tokenizer.eos_token_id == 256
    assert (made.meta.name, made.meta.split) == ("own.jsonl", "all")


def test_many_documents_keep_their_order(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = [f"document {number}" for number in range(150)]
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert texts_of(shard(file, "all", tokenizer), tokenizer) == texts


def test_second_call_only_opens(
    file: Path, tokenizer: PreTrainedTokenizerFast, no_tokenising: Callable[[], None]
) -> None:
    first = shard(file, "all", tokenizer)
    no_tokenising()
    second = shard(file, "all", tokenizer)
    assert np.array_equal(first.tokens_N, second.tokens_N)
    assert np.array_equal(first.starts, second.starts)
    assert first.meta == second.meta


def test_padding_and_truncation_make_no_other_shard(
    file: Path, tokenizer: PreTrainedTokenizerFast, no_tokenising: Callable[[], None]
) -> None:
    first = shard(file, "all", tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer(["a", "long one"], padding=True, truncation=True, max_length=2)
    no_tokenising()
    assert shard(file, "all", tokenizer).meta == first.meta


def test_truncation_left_in_the_tokenizer_cuts_nothing(
    file: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer(["a", "long one"], padding=True, truncation=True, max_length=2)
    assert texts_of(shard(file, "all", tokenizer), tokenizer) == ["one", "zwei Wörter", "three"]


def test_any_change_makes_another_shard(
    file: Path,
    cache: Path,
    tokenizer: PreTrainedTokenizerFast,
    make_tokenizer: Callable[..., object],
) -> None:
    shard(file, "all", tokenizer)
    count = 1
    other = make_tokenizer(eos_token="<|endoftext|>", bos_token="<s>")
    for arguments in ((file, "train", tokenizer), (file, "all", other)):
        shard(*arguments)  # type: ignore[arg-type]
        count += 1
        assert len(list((cache / "shards").iterdir())) == count
    file.write_text('{"text": "changed"}\n')
    assert texts_of(shard(file, "all", tokenizer), tokenizer) == ["changed"]


def test_interrupted_tokenising_leaves_nothing(
    file: Path,
    cache: Path,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupt)  # once all tokens are written
        with pytest.raises(KeyboardInterrupt):
            shard(file, "all", tokenizer)
    assert list((cache / "shards").iterdir()) == []
    assert shard(file, "all", tokenizer).meta.documents == 3


@pytest.mark.parametrize("damaged", ["tokens.bin", "documents.npy", "meta.json"])
@pytest.mark.parametrize("how", ["short", "long", "gone"])
def test_damaged_shard_is_made_again_and_says_so(
    file: Path,
    cache: Path,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
    damaged: str,
    how: str,
) -> None:
    first = shard(file, "all", tokenizer)
    wanted = np.array(first.tokens_N)
    path = only_folder(cache) / damaged
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if how == "short" else content + content)
    with caplog.at_level(logging.WARNING):
        again = shard(file, "all", tokenizer)
    # Bytes after the end of documents.npy are never read, so they do no harm.
    harmless = (damaged, how) == ("documents.npy", "long")
    assert ("is damaged" in caplog.text) != harmless
    assert np.array_equal(again.tokens_N, wanted)
    assert again.meta == first.meta
    assert harmless or path.read_bytes() == content
    assert len(list((cache / "shards").iterdir())) == 1


def test_lost_document_starts_are_noticed(
    file: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    first = shard(file, "all", tokenizer)
    np.save(only_folder(cache) / "documents.npy", first.starts[:-1])
    assert np.array_equal(shard(file, "all", tokenizer).starts, first.starts)
    assert "documents.npy has shape (2,), wanted (3,)" in caplog.text


def test_wide_vocabulary_takes_four_bytes(
    file: Path, cache: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    narrow = shard(file, "all", tokenizer)
    assert narrow.meta.dtype == narrow.tokens_N.dtype.name == "uint16"
    tokenizer.add_tokens([f"<extra {number}>" for number in range(65_536 - len(tokenizer) - 1)])
    assert shard(file, "all", tokenizer).meta.dtype == "uint16"
    last = "<the last one>"
    tokenizer.add_tokens(["<the last of two bytes>", last])
    assert len(tokenizer) == 65_537
    file.write_text(json.dumps({"text": last}) + "\n")
    wide = shard(file, "all", tokenizer)
    assert wide.meta.dtype == wide.tokens_N.dtype.name == "uint32"
    assert wide.tokens_N.tolist() == [65_536, 256]


def test_empty_split_is_named(file: Path, cache: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    file.write_text('{"text": "a lonely text"}\n')
    with pytest.raises(DataError, match=r"own\.jsonl has no text in its split 'test'"):
        shard(file, "test", tokenizer)
    assert list((cache / "shards").iterdir()) == []


def test_bad_line_is_named_and_leaves_nothing(
    file: Path, cache: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    file.write_text('{"text": "good"}\nbad\n')
    with pytest.raises(DataError, match=r"own\.jsonl, line 2"):
        shard(file, "all", tokenizer)
    assert list((cache / "shards").iterdir()) == []


def test_cache_that_cannot_be_written_is_named(
    file: Path, cache: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    cache.write_text("a file where the cache should be")
    with pytest.raises(SourceError, match="ASNN_GOOSE_CACHE"):
        shard(file, "all", tokenizer)


def test_separator_is_the_best_there_is(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> None:
    both = make_tokenizer(bos_token="<s>", eos_token="</s>")
    assert separator_id(both) == both.eos_token_id
    only_bos = make_tokenizer(bos_token="<s>")
    assert separator_id(only_bos) == only_bos.bos_token_id
    chat = make_tokenizer(eos_token="<|im_end|>", unk_token="<|endoftext|>")
    assert separator_id(chat) == chat.unk_token_id != chat.eos_token_id
    with pytest.raises(DataError, match=r"wanted <\|endoftext\|>, an eos token or a bos token"):
        separator_id(make_tokenizer())


def test_fingerprint_outlives_the_process(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(tmp_path)
    program = (
        "import sys\n"
        "from transformers import PreTrainedTokenizerFast as Fast\n"
        "from asnn_goose.data.shards import tokenizer_fingerprint as fingerprint\n"
        "print(fingerprint(Fast.from_pretrained(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == tokenizer_fingerprint(tokenizer)


def test_fingerprint_of_a_tokenizer_without_a_backend() -> None:
    class Slow:
        def __init__(self, **vocabulary: int) -> None:
            self.get_vocab = lambda: vocabulary

    prints = [
        tokenizer_fingerprint(Slow(**vocabulary))  # type: ignore[arg-type]
        for vocabulary in ({"a": 0, "b": 1}, {"b": 1, "a": 0}, {"a": 1, "b": 0})
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.network
def test_real_shard_with_the_real_tokenizer() -> None:
    folder = Path(teacher_folder("smollm2-135m"))
    [gguf] = folder.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
    made = shard(DEFAULT_OUT_OF_DOMAIN[0], "test", tokenizer)
    assert (made.meta.documents, made.meta.tokens, made.meta.bytes) == (6, 922_453, 4_017_386)
    assert tokenizer.decode(made.meta.separator) == "<|endoftext|>"
    assert np.flatnonzero(made.tokens_N == made.meta.separator).tolist() == [
        *(made.starts[1:] - 1),
        made.meta.tokens - 1,
    ]
    assert tokenizer.decode(made.tokens_N[:4].tolist()).startswith("EMMA")


@pytest.mark.parametrize("kind", ["byte_fallback", "sentencepiece", "byte_level"])
@pytest.mark.parametrize("bos", [True, False])
def test_documents_are_cut_as_transformers_cuts_them(
    of_kind: Callable[..., PreTrainedTokenizerFast], kind: str, bos: bool, tmp_path: Path
) -> None:
    file, tokenizer = tmp_path / "a.jsonl", of_kind(kind, bos=bos)
    texts = ["the goose", "naïve 雪 </s> a", "日本語"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    wanted = [token for text in texts for token in [*tokenizer(text)["input_ids"], 2]]
    assert shard(file, "all", tokenizer).tokens_N.tolist() == wanted


def test_ids_beyond_16_bits_are_kept_whatever_the_number_of_words(tmp_path: Path) -> None:
    core = Tokenizer(models.WordLevel({"a": 0, "b": 70_000, "</s>": 1}, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")
    (tmp_path / "a.txt").write_text("a b")
    assert shard(tmp_path / "a.txt", "all", tokenizer).tokens_N.tolist() == [0, 70_000, 1]
