"""Measuring models: nothing here knows how a model was trained."""
