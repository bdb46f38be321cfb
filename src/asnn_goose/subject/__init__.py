"""From a name to something that runs.

In: what a user calls a model: a run, a student's or a packed folder, a built-in teacher, a Hub id.
Out: that model on the compiled engine or in PyTorch, with its tokenizer, ready to draw or to score.
Never here: printing, options of the command line, training.
"""
