"""Running a packed student without torch: engine, numpy oracle, sampler, text.

What comes in: a packed folder and text or tokens. What goes out: logits, tokens, text, and states
that the caller holds. What never happens here: torch, training, and a state kept by the engine.
"""
