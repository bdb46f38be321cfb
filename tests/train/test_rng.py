from __future__ import annotations

import json
import random

import numpy as np
import torch

from asnn_goose.train import rng


def draw() -> list[float]:
    return [
        float(torch.rand(())),
        float(torch.randn(())),
        random.random(),
        random.gauss(),
        float(np.random.rand()),
        float(np.random.randn()),
    ]


def test_states_survive_json_and_go_on_where_they_were() -> None:
    draw()
    tensors, plain = rng.tensors(torch.device("cpu")), json.dumps(rng.plain())
    expected = [draw(), draw()]
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    assert draw() != expected[0]
    rng.restore_tensors(tensors, torch.device("cpu"))
    rng.restore_plain(json.loads(plain))
    assert [draw(), draw()] == expected
    assert tensors["cpu"].dtype == torch.uint8
