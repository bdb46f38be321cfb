"""The student: configuration, block, causal language model, recurrent state."""
