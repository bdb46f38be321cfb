"""Training: a plan of stages is carried out, step by step, and can be broken off anywhere.

In come objects that `recipe` has made; out go a run folder with checkpoints and a finished student.
No name of a recipe is looked up here, and nothing is evaluated but what ends a stage.
"""
