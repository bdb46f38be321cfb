"""What a recipe may say of examples, and what it is told of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asnn_goose.data.example_batches import ExampleLoader
from asnn_goose.recipe import build_run, load_recipe

REPEATS = "stage.1.repeats={ share = 0.5, distance = 8 }"
TUNED = ("stage.1.kind=sft", "stage.1.losses=[{ name = 'ce' }]", "stage.1.examples=['a.jsonl']")
PREFERRED = (
    "stage.1.kind=dpo", "stage.1.losses=[{ name = 'dpo' }]", "stage.1.examples=['a.jsonl']"
)  # fmt: skip
DRAWN = (
    "stage.1.kind=gkd", "stage.1.losses=[{ name = 'jsd' }]", "stage.1.examples=['a.jsonl']",
    "stage.1.samples={ tokens = 4 }",
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((*TUNED[:2],), "sft reads examples; name examples to read"),
        (("stage.1.examples=['a.jsonl']",), "distill reads windows of data.train; leave examples"),
        ((*TUNED, "stage.1.examples=['nothing']"), "no examples 'nothing'; choose one of ask_wiki"),
        ((*TUNED, "stage.1.losses=[{ name = 'ipo' }]"), "sft reads examples, and ipo of its"),
        ((*PREFERRED, "stage.1.losses=[{ name = 'ce' }]"), "no loss of its losses compares two"),
        ((*PREFERRED, "stage.1.losses.0.beta=0"), "beta = 0: must be above 0"),
        ((*PREFERRED, "stage.1.losses.0.betta=1"), "did you mean 'beta'"),
        ((*PREFERRED, "stage.1.balance=32"), "need text, and dpo reads pairs"),
        ((*DRAWN[:3],), "samples: belongs to gkd, and gkd needs it"),
        ((*DRAWN, "stage.1.samples.tokens=8"), "samples.tokens = 8: must be below the window of 8"),
        ((*DRAWN, "stage.1.losses=[{ name = 'ce' }]"), "ce looks at no teacher"),
        ((*TUNED, "stage.1.samples={}"), "samples: belongs to gkd"),
        (
            (*TUNED, "stage.1.window=16", "stage.1.repeats={ share = 0.5, distance = 8 }"),
            "repeats: windows of text",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    error_of: Callable[..., str], settings: tuple[str, ...], words: str
) -> None:
    assert words in error_of(*settings)


@pytest.fixture
def examples_file(tmp_path: Path) -> Path:
    file = tmp_path / "a.jsonl"
    records = [
        {"prompt": f"the goose {'flies ' * (n % 9)}", "completion": "home " * (1 + n % 5)}
        for n in range(90)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_a_run_on_examples_alone_reads_no_text_and_says_what_is_cut(
    recipe_file: Path, examples_file: Path
) -> None:
    settings = (
        "stage=[{ kind = 'sft', train = 'all', tokens = 64, window = 8, batch = 2, lr = 1e-3, "
        f"losses = [{{ name = 'ce' }}], examples = ['{examples_file}'] }}]",
        "data.train=['missing.txt']",
    )
    told: list[str] = []
    plan = build_run(load_recipe(recipe_file, settings), tell=told.append)
    assert isinstance(plan.stages[0].loader, ExampleLoader)
    assert any("examples are longer than the window" in text for text in told)
    assert plan.identity["examples of stage.0"]
    examples_file.write_text(examples_file.read_text().replace("home", "lake"))
    again = build_run(load_recipe(recipe_file, settings), tell=told.append)
    assert again.identity != plan.identity
