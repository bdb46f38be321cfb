"""Students and teachers. Importing this package registers the student with the Auto classes.

In come names, folders and settings; out go models that leave a Trace. Nothing here knows a loss, a
corpus, a recipe or how a model is trained.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from asnn_goose.model.convert import DEFAULT_VARIANT, VARIANTS, convert, student_config
from asnn_goose.model.goose.cache import GooseCache
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.presets import PRESETS
from asnn_goose.model.teacher import Teacher, TeacherError, load_teacher

AutoConfig.register(GooseConfig.model_type, GooseConfig, exist_ok=True)
AutoModelForCausalLM.register(GooseConfig, GooseForCausalLM, exist_ok=True)

__all__ = [
    "DEFAULT_VARIANT",
    "PRESETS",
    "VARIANTS",
    "GooseCache",
    "GooseConfig",
    "GooseForCausalLM",
    "Teacher",
    "TeacherError",
    "convert",
    "load_teacher",
    "student_config",
]
