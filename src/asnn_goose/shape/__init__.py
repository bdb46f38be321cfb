"""A student described once: its settings and their limits, its tensors, its state, its cost.

What comes in: a table of settings. What goes out: what they ask for, or which of them cannot be and
why. What never happens here: torch, tensors, files, and a number that depends on trained weights.
"""
