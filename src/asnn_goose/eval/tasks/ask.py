"""Ask a reader the items of some tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asnn_goose.eval.tasks.task_scores import TaskScore, scores_of, spread_items


def ask(lm: Any, tasks: Mapping[str, Any], *, limit: int | None) -> list[TaskScore]:
    """Scores by task, in order; of a task at most `limit` items, evenly spaced over its set.

    lm     what lm-eval calls a model
    tasks  of `load_tasks`; they remember answers, so every model needs tasks of its own
    """
    from lm_eval.evaluator import evaluate

    items = {name: spread_items(len(task.eval_docs), limit) for name, task in tasks.items()}
    # No bootstrap: errors come from the items themselves, and it starts processes.
    found = evaluate(lm, {"tasks": dict(tasks)}, samples=items, bootstrap_iters=0)
    samples = found["samples"] if found else {}
    return scores_of({name: samples[name] for name in tasks})
