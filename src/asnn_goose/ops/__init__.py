"""Pure tensor functions, each with a plain reference beside its fast form."""

from asnn_goose.ops.native_build import native_available, native_status

__all__ = ["native_available", "native_status"]
