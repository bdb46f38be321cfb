"""What spikes say: how often, how much, about what.

In: a student in PyTorch, tokens, its teacher's hidden states. Out: counts of every code of every
channel, and what follows from them. Never here: the densities of a running engine, which it counts
itself (`eval/spike_stats.py`); a test holds both to be equal.
"""
