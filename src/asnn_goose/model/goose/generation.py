"""Which of Transformers' ways to generate a recurrence can go."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig, GenerationMixin


class RecurrentGeneration(GenerationMixin):
    """`generate` without contrastive search, which would return to an earlier state.

    Sampling and beams work, assisted decoding is refused by Transformers itself (`_is_stateful`).
    """

    generation_config: GenerationConfig

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def generate(
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        """See Transformers. Raises ValueError for contrastive search."""
        settings = generation_config or self.generation_config
        penalty = options.get("penalty_alpha", getattr(settings, "penalty_alpha", None))
        if penalty:
            raise ValueError(
                f"penalty_alpha = {penalty}: contrastive search tries a token and takes it back,"
                " which a recurrence cannot; use beams (num_beams) or sampling (do_sample)"
            )
        return super().generate(inputs, generation_config, *others, **options)
