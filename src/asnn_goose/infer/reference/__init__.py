"""The numpy oracle of the engine: the same arithmetic, written plainly.

What comes in: a packed model that was found sound, token by token. What goes out: logits, spikes
that were counted, a state. What never happens here: torch, threads, rounding to int8 or int16, or
any trick for speed; fp32 stands where the engine has fp32.
"""
