"""Amplitudes that move into the scales of the weights they are multiplied with.

y = a (s n) with n a whole number: where the amplitude a of the spikes is one number for all tokens,
(a s) can be one number a row. What is exact is the codes; the product of a and s is rounded once,
so that a row changes by at most a unit in the last place, and not at all where a is a power of two.
"""

from __future__ import annotations

from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.projection import Projection


def why_not(matrix: Projection) -> str:
    """Why the amplitude of a matrix's spikes must stay where it is; empty where it can move."""
    neuron = matrix.neuron
    assert neuron is not None  # asked of spiking matrices alone
    if (reason := _of_neuron(neuron)) or matrix.ternary is not None:
        return reason
    return "its weights are dense, and would be rounded anew"


def _of_neuron(neuron: Neuron) -> str:
    if "amplitude" not in neuron.packed():
        return "every token has an amplitude of its own"
    if neuron.steps > 1:
        return f"{neuron.steps} steps round h / amplitude, and so need it before the product"
    return ""
