"""Students in the forms in which they leave the house."""
