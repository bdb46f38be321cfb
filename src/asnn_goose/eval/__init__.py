"""Measuring models: perplexity, speed, spikes, energy.

In: whatever leaves a Trace, or a packed student on the engine.
Out: numbers in SI units with the protocol that they were taken by.
Never here: `train`, or anything else that knows how a model was made.
"""
