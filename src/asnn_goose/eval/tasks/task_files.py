"""Tasks that are known here: their items in a folder of files, their prompts as in lm-eval.

Files hold an item a line (JSON), as github.com/mosaicml/llm-foundry writes them; BLiMP is a folder
of files, as github.com/alexwarstadt/blimp has it. Any other task is lm-eval's own, from the Hub.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from asnn_goose.names import check_name


class TaskError(ValueError):
    """A task, or the file of its items, is not there; the message says what would be."""


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """One task.

    file    in the folder of items; a folder itself where it ends in /
    fields  what an item must have
    prompt  rows of lm-eval's task configuration: the same text as its own task of this name has
    metric  the one to report; choices are scored by sum ("acc") or by sum per byte ("acc_norm")
    """

    file: str
    fields: tuple[str, ...]
    prompt: Mapping[str, Any]
    metric: str = "acc"
    kind: str = "multiple_choice"
    metrics: tuple[str, ...] = field(default=("acc", "acc_norm"))


_CHOICES = ("query", "choices", "gold")
_PLAIN = MappingProxyType(
    {"doc_to_text": "query", "doc_to_target": "gold", "doc_to_choice": "choices"}
)
_QUESTION = MappingProxyType(_PLAIN | {"doc_to_text": "{{query.rstrip('\\n')}}\nAnswer:"})

TASKS: MappingProxyType[str, TaskFile] = MappingProxyType(
    {
        # Paperno et al. 2016, arXiv 1606.06031: the last word of a passage.
        "lambada_openai": TaskFile(
            file="lambada_openai.jsonl",
            fields=("context", "continuation"),
            kind="loglikelihood",
            prompt={"doc_to_text": "context", "doc_to_target": "{{' ' + continuation}}"},
            metrics=("acc",),
        ),
        # Clark et al. 2018, arXiv 1803.05457.
        "arc_easy": TaskFile(file="arc_easy.jsonl", fields=_CHOICES, prompt=_QUESTION),
        "arc_challenge": TaskFile(
            file="arc_challenge.jsonl", fields=_CHOICES, prompt=_QUESTION, metric="acc_norm"
        ),
        # Bisk et al. 2020, arXiv 1911.11641.
        "piqa": TaskFile(file="piqa.jsonl", fields=_CHOICES, prompt=_QUESTION),
        # Sakaguchi et al. 2020, arXiv 1907.10641: two openings of one end.
        "winogrande": TaskFile(
            file="winogrande.jsonl",
            fields=("context_options", "continuation", "gold"),
            prompt={
                "doc_to_text": "gold",
                "doc_to_target": "continuation",
                "doc_to_choice": "context_options",
            },
            metrics=("acc",),
        ),
        # Mihaylov et al. 2018, arXiv 1809.02789.
        "openbookqa": TaskFile(
            file="openbook_qa.jsonl", fields=_CHOICES, prompt=_PLAIN, metric="acc_norm"
        ),
        # Roemmele et al. 2011; the file has a comma before "because", lm-eval's task has none.
        "copa": TaskFile(file="copa.jsonl", fields=_CHOICES, prompt=_PLAIN, metrics=("acc",)),
        # Warstadt et al. 2020, arXiv 1912.00582: the better of two sentences, 67 phenomena.
        "blimp": TaskFile(
            file="blimp/",
            fields=("sentence_good", "sentence_bad"),
            prompt={
                "doc_to_text": "",
                "doc_to_target": 0,
                "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
            },
            metrics=("acc",),
        ),
    }
)

DEFAULT = "default"
"""All of TASKS."""


def named(words: Sequence[str]) -> list[str]:
    """Names of tasks, each once, with "default" for all of TASKS."""
    found = [name for word in words for name in (TASKS if word == DEFAULT else [word])]
    return list(dict.fromkeys(found))


def load_tasks(names: Sequence[str], *, folder: Path | None) -> dict[str, Any]:
    """Tasks of lm-eval by name: of files where a folder is given, else lm-eval's, from the Hub.

    Raises TaskError for a task or a file that is not there.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it tells much, and little of use here
    if folder is None:
        return _hub_tasks(names)
    for name in names:
        check_name(TASKS, name, setting="tasks")
    return {name: _file_task(name, TASKS[name], folder) for name in names}


def _hub_tasks(names: Sequence[str]) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    try:
        found: dict[str, Any] = TaskManager().load(list(names))["tasks"]
    except (KeyError, ValueError, ConnectionError, OSError) as error:
        raise TaskError(
            f"tasks {', '.join(names)}: lm-eval cannot load them ({error}); without a network give"
            f" a folder of items, --task-data, for {', '.join(TASKS)}"
        ) from error
    return found


def _file_task(name: str, task: TaskFile, folder: Path) -> Any:
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    rows = read_items(folder / task.file, task.fields)
    metrics = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in task.metrics
    ]
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: DatasetDict({"test": Dataset.from_list(rows)}),
            "test_split": "test",
            "output_type": task.kind,
            "metric_list": metrics,
            "num_fewshot": 0,
            **task.prompt,
        }
    )


def read_items(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Items of a file, or of all files of a folder in the order of their names.

    Only `fields` are kept, and of items of a folder also the file's name as "part". Raises
    TaskError for a file that is not there, a line that is no JSON, or an item without a field.
    """
    if path.is_dir():
        files = sorted(path.glob("*.jsonl"))
        return [row | {"part": file.stem} for file in files for row in read_items(file, fields)]
    if not path.is_file():
        raise TaskError(f"{path} is not there: give the folder of the tasks' files, --task-data")
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            item = json.loads(line)
            rows.append({name: item[name] for name in fields})
        except (ValueError, KeyError, TypeError) as error:
            wanted = ", ".join(fields)
            raise TaskError(f"{path} line {number}: must be an object with {wanted}") from error
    if not rows:
        raise TaskError(f"{path} holds no item")
    return rows
