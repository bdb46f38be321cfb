"""RWKV-7 "Goose", the generalised delta rule."""
