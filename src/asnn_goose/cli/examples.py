"""Examples at the end of a help page."""


def examples(*lines: str) -> str:
    r"""Epilog with one command per line; `\b` keeps the help formatter from joining them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
