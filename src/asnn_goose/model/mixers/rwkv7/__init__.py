"""RWKV-7 "Goose", the generalised delta rule: its parts, its step, how it starts, what it inherits.

All that is RWKV-7's own in PyTorch is here and in `ops.wkv7`; nothing else imports this folder but
the table of mixers.
"""
