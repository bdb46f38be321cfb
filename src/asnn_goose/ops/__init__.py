"""Pure tensor functions, each with a plain reference beside its fast form.

In come tensors and numbers, out go tensors that can be differentiated. Nothing here holds a
parameter or a state, knows a module, or changes what it was given.
"""

from asnn_goose.ops.native_build import native_available, native_status

__all__ = ["native_available", "native_status"]
