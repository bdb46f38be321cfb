"""Many runs compared, and one run scored.

In: a grid of recipe changes, or the name of a model.
Out: scores, tables, plots and maps as objects and files.
Never here: printing, options of the command line, a way of training that is not a recipe's.
"""
