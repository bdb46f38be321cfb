"""A model as measuring sees it, whatever runs it.

In: a model in PyTorch or a packed one on the engine. Out: likelihoods of continuations, losses of
whole texts, and a batch of sequences read on. Never here: what is measured with them.
"""
