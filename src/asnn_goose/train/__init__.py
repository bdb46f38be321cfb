"""Training: stages of a run, carried out so that no work is lost."""
