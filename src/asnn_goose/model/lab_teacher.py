"""The lab teacher: SmolLM2-135M at a third of its width, so that an experiment takes a minute."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from asnn_goose.trace import Trace

VOCABULARY = 4096
END_OF_TEXT = "<|endoftext|>"
NEEDS = frozenset({"vocab"})


def lab_config(*, layers: int = 6, heads: int = 3, vocabulary: int = VOCABULARY) -> LlamaConfig:
    """A Llama of 3.15 M parameters: 6.3 MB in fp16.

    Head size 64, three query heads to one key-value head and an MLP of 8/3 the width, all as in
    SmolLM2-135M; tied embeddings. Raises ValueError where heads are no multiple of three.
    """
    if heads < 1 or heads % 3:
        raise ValueError(f"heads = {heads}: must be a multiple of 3, one key-value head to three")
    width = 64 * heads
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int = VOCABULARY
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocabulary` entries; entry 0 ends a document, digits stand alone.

    Raises ValueError where the texts are too short to fill the vocabulary.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    found = core.get_vocab_size()
    if found != vocabulary:
        raise ValueError(f"vocabulary = {vocabulary}: the texts give {found}; give more text")
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT
    )


class LabTeacher(nn.Module):
    """A Llama that can be trained like a student, and is saved in fp16."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.model = LlamaForCausalLM(config)

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, documents_BT: Tensor | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what the head multiplies; gradients flow.

        Raises ValueError for other needs: load it with `load_teacher` to look inside.
        """
        if documents_BT is not None:
            raise ValueError("documents_BT: the lab teacher's training keeps no documents apart")
        if not needs <= NEEDS:
            raise ValueError(f"needs {sorted(needs - NEEDS)}: training it gives only vocab")
        decoder: Any = self.model.model
        final_BTD = decoder(input_ids=tokens_BT, use_cache=False).last_hidden_state
        return Trace(final_BTD=final_BTD, head_VD=self.model.get_output_embeddings().weight)

    def save_pretrained(self, save_directory: Path) -> None:
        """Write the model in fp16, as `load_teacher` reads it."""
        half: PreTrainedModel = copy.deepcopy(self.model).half()
        half.save_pretrained(save_directory)


def optimiser_groups(model: LabTeacher) -> dict[str, str]:
    """Group of every parameter by name: "embedding", "norm" or "matrix"."""
    return {name: _group(name) for name, _ in model.named_parameters()}


def _group(name: str) -> str:
    if "embed_tokens" in name or "lm_head" in name:
        return "embedding"
    return "norm" if "norm" in name else "matrix"
