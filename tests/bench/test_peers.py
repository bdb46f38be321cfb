"""Peers: measured where they are, and a reason where they are not."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from bench.peers import ik_llama, litespark, llama_cpp
from bench.peers.peer import NotRunError, Peer, not_run, watched
from bench.peers.random_llama import TEACHER, TQ2_0_SHAPES, Shape, write_random_llama
from bench.peers.tq2_0 import BLOCK, Ggml

NUMBERS = {"decode": 2, "prefill": 2, "repeats": 1, "threads": 1}


def program(file: Path, text: str) -> None:
    file.write_text(f"#!{sys.executable}\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_a_missing_build_of_llama_cpp(tmp_path: Path) -> None:
    bench = llama_cpp.LlamaBench(folder=tmp_path)
    peers = [llama_cpp.teacher_q4_1(bench, tmp_path / "x.gguf")]
    peers += llama_cpp.random_tq2_0(bench, tmp_path / "x.gguf", tmp_path)
    for peer in peers:
        assert peer.decode is None
        assert "not run: no llama-bench" in str(peer)
        assert "build_llama_cpp.sh" in str(peer)
    with pytest.raises(NotRunError, match="no libggml-base"):
        Ggml(tmp_path)


def test_missing_wheel_and_folder(tmp_path: Path) -> None:
    for wheel in (None, tmp_path / "no.whl"):
        peer = ik_llama.random_iq2_bn(wheel, tmp_path / "x.gguf", tmp_path, **NUMBERS)
        assert "not run:" in str(peer)
        assert "--ik-llama WHEEL" in str(peer)
    for folder in (None, tmp_path):
        peer = litespark.block_products(folder, decode=1, threads=1)
        assert "not run: pass --litespark FOLDER" in str(peer)


def test_llama_bench_is_read(tmp_path: Path) -> None:
    rows = (
        '[{"n_gen": 0, "samples_ts": [800.0, 900.0, 700.0], "model_size": 97000000},'
        ' {"n_gen": 128, "samples_ts": [80.0, 82.0], "model_size": 97000000}]'
    )
    program(tmp_path / "llama-bench", f"print('''a word first\n{rows}''')")
    peer = llama_cpp.teacher_q4_1(llama_cpp.LlamaBench(folder=tmp_path), tmp_path / "x.gguf")
    assert (peer.prefill, peer.decode) == (800.0, 81.0)
    assert "97 MB" in str(peer)


def test_a_program_that_fails_says_so(tmp_path: Path) -> None:
    program(tmp_path / "llama-bench", "import sys; sys.exit('failed to load model')")
    peer = llama_cpp.teacher_q4_1(llama_cpp.LlamaBench(folder=tmp_path), tmp_path / "x.gguf")
    assert str(peer).endswith("not run: llama-bench failed (1): failed to load model")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_the_programs_own() -> None:
    script = "import time; x = bytearray(80_000_000); time.sleep(0.3); print('done')"
    said, memory = watched([sys.executable, "-c", script])
    assert said == "done\n"
    assert memory is not None
    assert 80e6 < memory < 130e6


def test_one_line_per_peer() -> None:
    assert str(Peer(name="x", decode=1234.56, note="n")).split() == ["x", "1,234.6", "-", "-", "n"]
    assert str(not_run("x", ValueError("two\nlines"))).endswith("not run: two lines")


def test_legal_widths_and_products() -> None:
    assert TEACHER.macs == 134_479_872
    for shape in TQ2_0_SHAPES:
        kv = shape.kv_heads * 64
        assert all(n % BLOCK == 0 for n in (shape.width, shape.middle))
        assert (shape.width // 64) % shape.kv_heads == 0
        assert kv % 64 == 0


def test_random_llama_is_ternary_and_keeps_the_tokenizer(tmp_path: Path) -> None:
    source, made = tmp_path / "source.gguf", tmp_path / "made.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b"])
    writer.add_bos_token_id(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    shape = Shape(layers=2, width=128, kv_heads=1, middle=192, vocabulary=32)
    write_random_llama(made, shape, tokenizer=source)
    found = gguf.GGUFReader(made)
    assert found.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert found.fields["tokenizer.ggml.bos_token_id"].contents() == 1
    tensors = {tensor.name: tensor for tensor in found.tensors}
    assert len(tensors) == 2 + 2 * 9
    down = np.asarray(tensors["blk.1.ffn_down.weight"].data)
    assert down.shape == (128, 192)
    assert set(np.unique(down * 32)) == {-1, 0, 1}


@pytest.mark.skipif("ASNN_GOOSE_LLAMA_CPP" not in os.environ, reason="needs a built libggml")
def test_tq2_0_multiplies() -> None:
    ggml = Ggml(Path(os.environ["ASNN_GOOSE_LLAMA_CPP"]))
    random = np.random.default_rng(0)
    weight = random.integers(-1, 2, (48, 512)).astype(np.float32)
    x, y = random.standard_normal(512, np.float32), np.full(48, np.nan, np.float32)
    ggml.multiplier(weight, x, y)(2)
    np.testing.assert_allclose(y, weight @ x, atol=0.02 * np.abs(weight @ x).max())
    with pytest.raises(NotRunError, match="multiple of 256, not of 64"):
        ggml.multiplier(weight[:, :64], x[:64], y)
