"""The numpy oracle of the engine: the same arithmetic, written plainly.

What comes in: a packed model that was found sound, token by token. What goes out: logits, spikes
that were counted, a state. What never happens here: torch, threads, rounding that the format does
not ask for, or any trick for speed; fp32 stands where the engine has fp32.
"""
