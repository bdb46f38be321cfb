"""The lab teacher: SmolLM2-135M at a third of its width, so that an experiment takes a minute."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.teachers.trainable_teacher import TrainableTeacher

VOCABULARY = 4096
END_OF_TEXT = "<|endoftext|>"


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


def lab_teacher(config: LlamaConfig) -> TrainableTeacher:
    """A new lab teacher, which draws its weights from the global generator; saved in fp16."""
    return TrainableTeacher(LlamaForCausalLM(config), saved_as=torch.float16)
