"""The student: configuration, block, causal language model, recurrent state.

In come tokens and how they lie, out go logits, or what a Trace keeps, and the state. Nothing here
knows which mixer, MLP or neuron a student is made of.
"""
