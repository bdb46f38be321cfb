"""Every command that writes: its words, what it needs, and how it is called again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import inputs

READ_ONLY = ("spiking", "dense")
"""Recipes whose students are inputs of other commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line in a folder of its own, {work}; {inputs} is shared and only read.

    begun     what lies in {work} once there is something to resume; "" where the same words go on
    copied    an input that the command writes into, as {work}/student
    optional  what may be missing where the disk refused it and the command went on
    weight    how often it is drawn, beside the others: less where it starts interpreters
    """

    name: str
    words: tuple[str, ...]
    begun: str = ""
    copied: str = ""
    optional: str = ""
    weight: float = 1.0

    def prepare(self, work: Path, *, given: Path) -> None:
        """An empty folder, but for what is copied."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        if self.copied:
            shutil.copytree(given / self.copied, work / "student")

    def line(self, work: Path, *, given: Path) -> list[str]:
        """The words, with --resume where something has begun."""
        words = [word.format(work=work, inputs=given) for word in self.words]
        return words + ["--resume"] * bool(self.begun and (work / self.begun).exists())


def _distill() -> Iterator[Command]:
    for name in inputs.recipes():
        if name not in READ_ONLY:
            words = ("distill", f"{{inputs}}/{name}.toml", "--out", "{work}/run", "--quiet")
            yield Command(name=name, words=words, begun="run/recipe.toml", optional="cache/teacher")


def _export() -> Iterator[Command]:
    for target, student, end in (
        ("packed", "spiking", ""),
        ("compact", "spiking", ".safetensors"),
        ("hub-folder", "dense", ""),
        ("gguf", "dense", ".gguf"),
        ("nir", "dense", ""),
    ):
        out = f"{{work}}/out{end}"
        words = ("export", f"{{inputs}}/{student}", "--to", target, "--out", out)
        yield Command(name=f"export-{target}", words=words)


def _teacher() -> Iterator[Command]:
    teacher, text = "{inputs}/teacher", "{inputs}/text.txt"
    yield Command(name="teacher-cache", words=("teacher", "cache", "{inputs}/cached.toml"))
    tune = ("--text", text, "--tokens", "96", "--window", "16", "--batch", "2")
    yield Command(
        name="teacher-tune",
        words=("teacher", "tune", teacher, *tune, "--out", "{work}/run"),
        begun="run/recipe.toml",
    )
    write = ("--tokens", "200", "--window", "16", "--batch", "2", "--text", text)
    yield Command(
        name="teacher-write",
        words=("teacher", "write", teacher, *write, "--out", "{work}/own.jsonl"),
        begun="own.settings.json",
    )
    answer = ("--examples", "{inputs}/examples.jsonl", "--count", "6", "--batch", "2")
    yield Command(
        name="teacher-answer",
        words=("teacher", "answer", teacher, *answer, "--tokens", "4", "--out", "{work}/own.jsonl"),
        begun="own.settings.json",
    )


def _others() -> Iterator[Command]:
    fetch = (*inputs.NAMES, "--teacher", "{inputs}/teacher", "--processes", "2")
    yield Command(name="data-fetch", words=("data", "fetch", *fetch), weight=0.25)
    study = ("{inputs}/grid.toml", "--out", "{work}/study", "--workers", "1")
    yield Command(name="ablate", words=("ablate", *study), begun="study/recipes", weight=0.25)
    yield Command(
        name="restore", words=("restore", "{inputs}/small.safetensors", "--out", "{work}/out")
    )
    yield Command(
        name="first-use",
        words=("generate", "{work}/student", "Goose", "--tokens", "4", "--seed", "0"),
        copied="spiking",
    )
    scored = ("--on", "{inputs}/text.txt", "--tokens", "64", "--json", "{work}/eval.json")
    yield Command(name="eval", words=("eval", "{inputs}/dense", *scored))


COMMANDS = {one.name: one for one in (*_distill(), *_export(), *_teacher(), *_others())}
