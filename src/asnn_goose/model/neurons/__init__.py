"""Spiking neurons, one file per method: from an activation to spikes, with a gradient."""

from asnn_goose.model.neurons.mean_threshold import MeanThreshold

__all__ = ["MeanThreshold"]
