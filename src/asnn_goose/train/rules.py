"""Gradient rules that a stage may name. A new one is one file and one row here."""

from __future__ import annotations

from asnn_goose.train.dot import DotSettings
from asnn_goose.train.gradient_projection import ProjectSettings
from asnn_goose.train.gradient_rule import RuleSettings

RULES: dict[str, type[RuleSettings]] = {
    DotSettings.name: DotSettings,
    ProjectSettings.name: ProjectSettings,
}
"""By the key of their table in a stage; without one a stage has `gradient_rule.SumSettings`."""
