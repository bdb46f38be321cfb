"""Bytes on disk: what a student looks like once it is packed.

What comes in: arrays, settings, a folder. What goes out: files, or arrays that share a file's
memory and were found sound. What never happens here: torch, a copy of the weights, and trust in a
header: every length, type, shape and number is checked before it is used.
"""
