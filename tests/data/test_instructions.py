"""Built-in instructions and preferences: whose words they are, and how answers are spoilt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.data import corpora
from asnn_goose.data.corpora import Corpus
from asnn_goose.data.decontaminate import held
from asnn_goose.data.document import DataError, Document, split_of
from asnn_goose.data.example_sets import ExampleSets, check_example_set, fingerprint
from asnn_goose.data.instructions import INSTRUCTIONS, TALK, without_template
from asnn_goose.data.preferences import CIRCLE, spoilt

TEXTS = {
    "wiki_vital": "Goose {}\n\nGoose {} is a bird that eats grass and flies far.\n\nIt has wings.",
    "factbook": "Land {}\n\nClimate: cold in year {}\n\nTerrain: flat: mostly",
    "foldoc": "term {}\n\n<x> A word of number {}.",
    "recipes": "Soup {}\n\nIngredients:\n- {} beans\n\nSteps:\n1. Cook.",
    "chitchat": "B: hm\nA: Hello {}?\nB: Hi: {}\nyes\nA: So?\nB: So.\nA: bye",
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, make_corpus: Callable[..., Corpus]) -> None:
    """Sixty documents of each corpus that instructions are made of."""
    rows = {}
    for name, text in TEXTS.items():
        documents = [
            Document(id=f"{n}", group=f"{name} {n}", text=text.replace("{}", str(n)))
            for n in range(60)
        ]
        rows[name] = make_corpus(name, documents)
    monkeypatch.setattr(corpora, "CORPORA", rows)
    monkeypatch.setattr("asnn_goose.data.instructions.CORPORA", rows)


def first(name: str) -> tuple[str, str]:
    """Question and answer of document 0."""
    for place, record in INSTRUCTIONS[name].records("all"):
        if place == f"{name}, 0":
            return record["prompt"][0]["content"], record["completion"][0]["content"]
    raise AssertionError(name)


def test_answers_are_the_documents_own_words() -> None:
    question, answer = first("ask_wiki")
    assert "Goose 0" in question
    assert answer == "Goose 0 is a bird that eats grass and flies far.\n\nIt has wings."
    question, answer = first("ask_factbook")
    assert "Land 0 (Climate)" in question
    assert answer == "cold in year 0"
    assert len(list(INSTRUCTIONS["ask_factbook"].records("all"))) == 120
    assert first("ask_recipes")[1] == "Ingredients:\n- 0 beans\n\nSteps:\n1. Cook."


def test_a_conversation_begins_with_a_question_and_ends_with_an_answer() -> None:
    _, record = next(INSTRUCTIONS["talk_chitchat"].records("all"))
    said = [(m["role"], m["content"]) for m in record["messages"]]
    assert said == [
        ("user", "Hello 0?"),
        ("assistant", "Hi: 0\nyes"),
        ("user", "So?"),
        ("assistant", "So."),
    ]


def test_long_talk_gives_several_examples(
    monkeypatch: pytest.MonkeyPatch, make_corpus: Callable[..., Corpus]
) -> None:
    text = "\n".join(f"A: {n}?\nB: {n}." for n in range(9))
    corpus = make_corpus("chitchat", [Document(id="0", group="0", text=text)])
    monkeypatch.setitem(corpora.CORPORA, "chitchat", corpus)
    found = [r["messages"] for _, r in INSTRUCTIONS["talk_chitchat"].records("all")]
    assert [len(messages) for messages in found] == [TALK, TALK, 2]
    assert [messages[0]["content"] for messages in found] == ["0?", "4?", "8?"]
    assert all(messages[-1]["role"] == "assistant" for messages in found)


def test_forms_of_a_question_are_all_used_and_the_same_everywhere() -> None:
    asked = [r["prompt"][0]["content"] for _, r in INSTRUCTIONS["ask_wiki"].records("all")]
    assert asked == [r["prompt"][0]["content"] for _, r in INSTRUCTIONS["ask_wiki"].records("all")]
    forms = {question.split("Goose")[0] for question in asked}
    assert len(forms) == len(INSTRUCTIONS["ask_wiki"].questions)


def test_splits_are_those_of_the_corpus(tokenizer: PreTrainedTokenizerFast) -> None:
    sets = ExampleSets(tokenizer)
    found = {
        split: sets.examples(["ask_foldoc"], split) for split in ("train", "validation", "test")
    }
    assert sum(map(len, found.values())) == 60
    places = {one.place for one in found["validation"]}
    wanted = {f"ask_foldoc, {n}" for n in range(60) if split_of(f"foldoc {n}") == "validation"}
    assert places == wanted
    assert sets.examples(["ask_foldoc"], "train") is found["train"], "read twice"


def test_without_a_template_a_question_stands_as_text(tokenizer: PreTrainedTokenizerFast) -> None:
    (example, *_) = ExampleSets(tokenizer).examples(["ask_foldoc"], "train")
    text = str(tokenizer.decode(example.ids_N))
    assert text.endswith("?\n\n<x> A word of number 0.<|endoftext|>") or ".\n\n<x>" in text
    record = {"prompt": "x", "completion": "y"}
    assert without_template(record) is record


def test_what_overlaps_with_an_evaluation_text_is_left_out(
    tokenizer: PreTrainedTokenizerFast, tmp_path: object
) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen"
    file = str(tmp_path) + "/held.txt"
    with open(file, "w") as stream:
        stream.write(text)
    own = str(tmp_path) + "/own.jsonl"
    with open(own, "w") as stream:
        stream.write('{"prompt": "a", "completion": "b"}\n')
        stream.write('{"prompt": "c", "completion": "and ' + text.upper() + '"}\n')
    against = held([(file, "all")])
    assert len(ExampleSets(tokenizer).examples([own], "all")) == 2
    assert len(ExampleSets(tokenizer, against=against).examples([own], "all")) == 1


def test_an_answer_is_spoilt_in_three_ways() -> None:
    words = [f"w{n}" for n in range(30)]
    records = [(f"{n}", asked(f"question {n}", " ".join(words[n % 5 :]))) for n in range(40)]
    found = dict(spoilt(records))
    kinds = set()
    for n, (place, record) in enumerate(records):
        if place not in found:
            continue
        pair = found[place]
        right, wrong = (pair[key][0]["content"].split() for key in ("chosen", "rejected"))
        assert pair["prompt"] == record["prompt"]
        assert right == record["completion"][0]["content"].split()
        before = records[n - 1][1]["completion"][0]["content"].split()
        if wrong == before:
            kinds.add("another's")
        elif sorted(wrong) == sorted(right):
            assert wrong != right
            kinds.add("shuffled")
        else:
            assert wrong[CIRCLE : 2 * CIRCLE] == wrong[:CIRCLE] == right[:CIRCLE]
            assert len(wrong) == len(right)
            kinds.add("circular")
    assert kinds == {"another's", "shuffled", "circular"}
    assert list(spoilt(records)) == list(spoilt(records))


def asked(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def test_a_conversation_cannot_be_spoilt() -> None:
    with pytest.raises(DataError, match="a conversation has no one answer to spoil"):
        list(spoilt(INSTRUCTIONS["talk_chitchat"].records("all")))


def test_pairs_of_a_built_in_set(tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = ExampleSets(tokenizer).pairs(["ask_wiki", "ask_foldoc"], "train")
    assert len(pairs) > 60
    for pair in pairs:
        first = int(pair.chosen.answer_N.argmax())
        assert pair.chosen.ids_N[:first].tolist() == pair.rejected.ids_N[:first].tolist()


def test_a_fingerprint_hears_of_every_token_and_of_what_is_an_answer(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    examples = ExampleSets(tokenizer).examples(["ask_foldoc"], "train")
    before = fingerprint(examples)
    assert before == fingerprint(list(examples))
    assert before != fingerprint(examples[:-1])
    examples[3].answer_N[0] ^= True
    assert before != fingerprint(examples)
    examples[3].answer_N[0] ^= True
    examples[3].ids_N[1] += 1
    assert before != fingerprint(examples)


def test_a_name_that_means_no_examples_is_refused() -> None:
    assert check_example_set("my.jsonl") == "my.jsonl"
    with pytest.raises(DataError, match="no examples 'ask_wikki'; did you mean 'ask_wiki'"):
        check_example_set("ask_wikki")
