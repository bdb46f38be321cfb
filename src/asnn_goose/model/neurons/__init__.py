"""Spiking neurons, one file per paper: from an activation to spikes, with a gradient.

In come activations, out go what spikes stand for and, of a neuron with state, its membranes: none
remembers anything between two calls. A new one is one file and one row of NEURONS.
"""

from asnn_goose.model.neurons.gif import GIF
from asnn_goose.model.neurons.heaviside import Heaviside
from asnn_goose.model.neurons.homeostatic import Homeostatic
from asnn_goose.model.neurons.learned_threshold import LearnedThreshold
from asnn_goose.model.neurons.lif import LIF
from asnn_goose.model.neurons.lsq_plus import LSQPlusSpikes
from asnn_goose.model.neurons.mean_threshold import MeanThreshold
from asnn_goose.model.neurons.neuron import Neuron
from asnn_goose.model.neurons.real_spike import RealSpike
from asnn_goose.model.neurons.salient_steps import SalientSteps
from asnn_goose.model.neurons.spikelm import SpikeLM
from asnn_goose.model.neurons.spikingbert import SpikingBERT

NEURONS: dict[str, type[Neuron]] = {
    "mean": MeanThreshold,
    "homeostatic": Homeostatic,
    "learned": LearnedThreshold,
    "spikelm": SpikeLM,
    "salient": SalientSteps,
    "gif": GIF,
    "lif": LIF,
    "real_spike": RealSpike,
    "spikingbert": SpikingBERT,
    "heaviside": Heaviside,
    "lsq_plus": LSQPlusSpikes,
}

RENAMED = {"spikellm": "salient"}
"""Names that recipes and students of earlier versions have, and those of NEURONS."""

__all__ = [
    "GIF",
    "LIF",
    "NEURONS",
    "RENAMED",
    "Heaviside",
    "Homeostatic",
    "LSQPlusSpikes",
    "LearnedThreshold",
    "MeanThreshold",
    "Neuron",
    "RealSpike",
    "SalientSteps",
    "SpikeLM",
    "SpikingBERT",
]
