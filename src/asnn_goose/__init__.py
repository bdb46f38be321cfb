"""ASNN-Goose: from a pretrained transformer to a spiking, ternary, recurrent language model.

Importing the package costs nothing: no torch, no registration. `import asnn_goose.model`
registers the student with the Transformers Auto classes.
"""

__version__ = "0.2.0"
