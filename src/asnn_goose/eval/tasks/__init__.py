"""Standard tasks, asked through lm-eval.

In: a reader, names of tasks, and a folder of their items or the Hub. Out: a score for every item.
Never here: prompts and metrics of our own where lm-eval has them.
"""
