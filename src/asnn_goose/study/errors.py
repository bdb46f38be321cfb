"""What is wrong with a study, said so that its author can put it right."""

from __future__ import annotations


class GridError(ValueError):
    """A grid cannot be carried out; the message gives the cell, the value and what is right."""


class StudyError(RuntimeError):
    """A study's folder is taken, or holds something else than the grid says."""
