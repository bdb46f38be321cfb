"""Records become the ids that the chat template gives, and labels fall on answers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from asnn_goose.data.document import DataError
from asnn_goose.data.examples import Example, read_examples, read_pairs
from asnn_goose.data.records import read_records

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FORGETFUL = "{% for m in messages %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}"
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you, naïve 雪?"},
    {"role": "assistant", "content": "A goose."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "I am said to be."},
]


def tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and three special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: n for n, token in enumerate([*special, *alphabet])}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    found = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")
    found.chat_template = template
    return found


def answer(example: Example) -> str:
    """The text that is learned."""
    return str(tokenizer().decode(example.ids_N[example.answer_N]))


def one(*records: dict[str, Any], template: str | None = CHATML) -> list[Example]:
    places = ((f"r{n}", record) for n, record in enumerate(records))
    return read_examples(places, tokenizer(template), split="all")


@pytest.mark.parametrize(
    "record",
    [
        {
            "messages": [
                {"role": "user", "content": "a\ud800"},
                {"role": "assistant", "content": "b"},
            ]
        },
        {"prompt": "a\ud800", "completion": "b"},
        {"prompt": "a", "completion": "b\udfff"},
    ],
)
def test_half_a_character_is_told(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"""^r0: '\w+' holds "\\ud[8f].+", half of a character"""):
        one(record)


def test_a_conversation_has_the_ids_of_the_template_and_only_answers_count() -> None:
    (example,) = one({"messages": TALK})
    whole = tokenizer().apply_chat_template(TALK, return_dict=True)["input_ids"]
    assert example.ids_N.tolist() == whole
    assert answer(example) == "A goose.<|im_end|>\nI am said to be.<|im_end|>\n"


def test_a_prompt_of_messages_leaves_earlier_answers_out() -> None:
    (example,) = one({"prompt": TALK[:4], "completion": TALK[4:]})
    whole = tokenizer().apply_chat_template(TALK, return_dict=True)["input_ids"]
    assert example.ids_N.tolist() == whole
    assert answer(example) == "I am said to be.<|im_end|>\n"


def test_a_prompt_of_text_is_taken_as_it_stands_and_the_answer_ends() -> None:
    (example,) = one({"prompt": "Two and two? ", "completion": "Four."}, template=None)
    text = str(tokenizer().decode(example.ids_N))
    assert text == "Two and two? Four.<|endoftext|>"
    assert answer(example) == "Four.<|endoftext|>"


def test_a_pair_shares_its_prompt() -> None:
    record = {"prompt": TALK[:2], "chosen": TALK[2:3], "rejected": [TALK[4]]}
    (pair,) = read_pairs([("r", record)], tokenizer(), split="all")
    assert [answer(e) for e in (pair.chosen, pair.rejected)] == [
        "A goose.<|im_end|>\n",
        "I am said to be.<|im_end|>\n",
    ]
    shared = int(np.argmax(pair.chosen.answer_N))
    assert (pair.chosen.ids_N[:shared] == pair.rejected.ids_N[:shared]).all()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"text": "x"}, "wanted the keys messages or prompt and completion, found text"),
        ({"completion": "x", "promt": "y"}, "no key 'prompt'; did you mean 'promt'"),
        ({"messages": []}, "wanted a list of messages"),
        ({"messages": [{"role": "user"}]}, "with role and content"),
        ({"messages": TALK[:2]}, "no turn of role 'assistant'"),
        ({"prompt": "x", "completion": TALK[2:3]}, "both be text or both lists"),
        ({"prompt": "x", "completion": ""}, "completion is empty"),
    ],
)
def test_a_record_of_another_form_is_refused(record: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"r0: .*{words}"):
        one(record)


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    with pytest.raises(DataError, match="changes earlier turns when later ones come: turn 3"):
        one({"messages": TALK}, template=FORGETFUL)


def test_messages_need_a_template() -> None:
    with pytest.raises(DataError, match="r0: messages need a chat template"):
        one({"messages": TALK}, template=None)


def test_a_prompt_is_in_one_split_alone() -> None:
    records = [(f"r{n}", {"prompt": f"{n % 40}?", "completion": f"{n}."}) for n in range(120)]
    found = {
        split: {e.ids_N[: int(np.argmax(e.answer_N))].tobytes() for e in examples}
        for split in ("train", "validation", "test")
        for examples in [read_examples(records, tokenizer(), split=split)]
    }
    assert sum(map(len, found.values())) == 40
    assert not found["train"] & found["validation"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_records_come_whole_out_of_files(tmp_path: Path, suffix: str) -> None:
    records = [{"messages": TALK[:3]}, {"messages": TALK}]
    file = tmp_path / f"talk{suffix}"
    if suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), file)
    assert [record for _, record in read_records(file)] == records
    assert len(read_examples(read_records(file), tokenizer(), split="all")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1]\n", "line 1: wanted an object"), ('{"a": 1}\n{', "line 2: not JSON")],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_records(file))
