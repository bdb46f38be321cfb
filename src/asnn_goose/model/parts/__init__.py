"""Parts that mixers, MLPs and the student share.

In come activations, with precision and states where it matters; out go the same. No part imports a
mixer, an MLP or the student.
"""
