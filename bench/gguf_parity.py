"""An exported GGUF in llama.cpp against the student itself: top-1 agreement and perplexity.

    python bench/gguf_parity.py STUDENT FILE.gguf --text my.txt --tokens 2000 --libraries FOLDER

Libraries are those of llama.cpp (libllama, libggml), as bench/peers/build_llama_cpp.sh builds
them (ASNN_GOOSE_LLAMA_CPP), or unpacked from the npm package @node-llama-cpp/linux-x64. Bars: 99 %
agreement on the likeliest token, perplexity within 0.5 %.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from bench.peers.llama_logits import LlamaCpp
from numpy.typing import NDArray

from asnn_goose.model.assistant import load_student
from asnn_goose.subject.torch_model import load_tokenizer

WINDOW = 500


def main() -> None:
    """Print both figures."""
    options = _options()
    ids = load_tokenizer(options.student)(options.text.read_text(encoding="utf-8")).input_ids
    windows = [ids[start : start + WINDOW] for start in range(0, options.tokens, WINDOW)]
    peer = LlamaCpp(options.libraries, options.file, threads=1, context=WINDOW)
    agreed = total = 0
    losses = np.zeros(2)
    for ours_TV, window in zip(_ours(options.student, windows), windows, strict=True):
        theirs_TV = peer.logits(window)
        agreed += int((ours_TV.argmax(1) == theirs_TV.argmax(1)).sum())
        total += len(window)
        losses += [_loss(logits_TV, window) for logits_TV in (ours_TV, theirs_TV)]
    ours, theirs = np.exp(losses / (total - len(windows)))
    print(f"{options.file.name}: {total} tokens, the same likeliest token {agreed / total:.2%}")
    print(f"perplexity {ours:.3f} here, {theirs:.3f} in llama.cpp: {theirs / ours - 1:+.3%}")


def _ours(student: str, windows: list[list[int]]) -> list[NDArray[np.float32]]:
    """Logits (T,V) of every window, in fp32."""
    model = load_student(student).train(False)
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].float().numpy() for ids in windows]


def _loss(logits_TV: NDArray[np.float32], ids: list[int]) -> float:
    """Nats of all tokens but the first."""
    log_TV = torch.from_numpy(logits_TV[:-1]).double().log_softmax(-1)
    return -float(log_TV.gather(1, torch.tensor(ids[1:])[:, None]).sum())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="run or student's folder")
    parser.add_argument("file", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=2000)
    built = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("--libraries", type=Path, default=built, required=built is None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
