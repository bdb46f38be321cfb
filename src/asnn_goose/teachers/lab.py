"""How the lab teacher is trained: from scratch, on the training splits of the built-in corpora."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from asnn_goose.data.corpora import DEFAULT_TRAIN, documents
from asnn_goose.data.decontaminate import identity_of
from asnn_goose.sources import cache_dir, new_folder
from asnn_goose.teachers.lab_teacher import lab_config, lab_teacher, train_tokenizer
from asnn_goose.teachers.text_recipe import TextTraining, text_plan, texts_of
from asnn_goose.train.plan import RunPlan

LAB = TextTraining(tokens=4_000_000, seed=0, window=512, batch=8, lr=2e-3, texts=DEFAULT_TRAIN)
"""What the lab teacher of ablations is trained with; the seed is that of its weights too."""


def lab_plan(
    training: TextTraining = LAB, *, config: LlamaConfig | None = None, tell: Callable[[str], None]
) -> RunPlan:
    """A run of one stage, `pretrain`, that the ordinary loop carries out.

    `config` is another shape than `lab_config()`. Its vocabulary decides the tokenizer's.
    """
    config = config or lab_config()
    accelerator = Accelerator(mixed_precision="no")
    with accelerator.main_process_first():
        tokenizer = lab_tokenizer(training.texts, vocabulary=config.vocab_size, tell=tell)
        shards = texts_of(training.texts, tokenizer, tell=tell)
    # After the texts: the weights hang on the seed alone, whatever was tokenised.
    set_seed(training.seed)
    told = asdict(training) | {"model": _shape(config)}
    return text_plan(
        training,
        model=lab_teacher(config),
        tokenizer=tokenizer,
        shards=shards,
        train={"weight_decay": 0.1, "checkpoint_minutes": 3.0},
        identity={"lab teacher": json.dumps({"lab_teacher": told})},
        record={"lab_teacher": told},
        at=accelerator,
        tell=tell,
    )


def _shape(config: LlamaConfig) -> dict[str, int]:
    return {
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "vocabulary": config.vocab_size,
    }


def lab_tokenizer(
    texts: Sequence[str], *, vocabulary: int, tell: Callable[[str], None]
) -> PreTrainedTokenizerBase:
    """The tokenizer for these texts, trained on first use and kept in the cache."""
    # Texts by their version: others would want another tokenizer under the same name.
    key = json.dumps([vocabulary, *([name, identity_of(name)] for name in texts)])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = cache_dir() / "lab-tokenizer" / digest
    if not folder.is_dir():
        tell(f"training a tokenizer of {vocabulary} entries on {', '.join(texts)}")
        read = (document.text for name in texts for document in documents(name, "train"))
        tokenizer = train_tokenizer(read, vocabulary=vocabulary)
        with new_folder(folder) as fresh:
            tokenizer.save_pretrained(fresh)
    loaded: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded
