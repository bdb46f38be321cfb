"""Which parameters belong together: for learning rates, weight decay and freezing."""

from __future__ import annotations

from torch import nn

from asnn_goose.names import hint

TRAINABLE = ("all", "body", "blocks", "mixers", "scales")


def parameter_group(name: str) -> str:
    """Group of a student parameter by its dotted name.

    "embedding"  token embedding, learned positions and head
    "norm"       norms of the residual stream, and those before a ternary matrix
    "matrix"     the large matrices of mixers and MLPs: what weight decay is for
    "quantiser"  what neurons and ternary methods learn: thresholds, amplitudes, scales
    "vector"     everything else in a mixer or MLP: low-rank factors, shifts, biases, decays

    In a mixer what is called `weight` is a matrix, but in modules whose names end with "norm".
    """
    parts = name.split(".")
    # Asked first: a neuron's threshold may well be called `weight`, and decay would pull it to 0.
    if parts[-2].endswith(("neuron", "ternary")):
        return "quantiser"
    if parts[0] in ("embedding", "positions", "lm_head"):
        return "embedding"
    if parts[-2] == "sub_norm" or parts[0] in ("embedding_norm", "final_norm"):
        return "norm"
    # Those of the block; norms within a mixer act on heads and are vectors like its other parts.
    if parts[2:3] in (["mixer_norm"], ["mlp_norm"], ["mixer_after"], ["mlp_after"]):
        return "norm"
    if parts[-1] == "weight" and not parts[-2].endswith("norm"):
        return "matrix"
    return "vector"


def is_decay(name: str) -> bool:
    """Whether a parameter is the vector from which a mixer's decays start."""
    parts = name.split(".")
    where = parts[parts.index("mixer") + 1 :] if "mixer" in parts else []
    return where in (["decay"], ["decay", "bias"])


def trainable(model: nn.Module, what: str) -> set[str]:
    """Names of the parameters that a stage with `train = what` changes.

    "all" is everything; "body" all but embedding and head; "blocks" mixers, MLPs and their norms;
    "mixers" the token mixers alone; "scales" nothing of the student, but what the stage learns of
    its own. Raises ValueError for another word.
    """
    if what == "scales":
        return set()
    names = {name for name, _ in model.named_parameters()}
    if what == "all":
        return names
    if what == "body":
        return {name for name in names if parameter_group(name) != "embedding"}
    if what == "blocks":
        return {name for name in names if name.startswith("blocks.")}
    if what == "mixers":
        # Without the norm before it, which `align` does not even run: the teacher's normed stream
        # goes straight into the mixer. With the spikes that it gives, which `align` does run.
        own = (["mixer"], ["mixer_out_neuron"])
        return {name for name in names if name.split(".")[2:3] in own}
    raise ValueError(f"train = {what!r}: {hint(what, TRAINABLE)}")
