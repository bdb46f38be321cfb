"""Bytes on disk: what a student looks like once it is packed. Numpy only."""
