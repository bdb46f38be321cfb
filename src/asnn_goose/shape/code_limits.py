"""How spikes are coded, and how finely matrices may be cut."""

MAX_STEPS = {"rate": 8, "radix2": 6, "radix3": 4}
"""Codes, and the most ternary steps that each can take (`ops.spike_codes` has them for tensors)."""

GROUP = 64
"""Groups of columns with their own scale, and rotated inputs, come in multiples of this."""
