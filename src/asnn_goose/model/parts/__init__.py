"""Parts that mixers, MLPs and the student share."""
