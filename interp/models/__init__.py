"""The two networks of the comparison: I3D and C-LSTM, from clips (B,C,T,H,W) in [0,1] to logits (B,K).

Sources: Carreira and Zisserman 2017; Shi et al. 2015; configured as in Mänttäri, Broomé et al., ACCV 2020.

    >>> model = build({"model": "i3d", "num_classes": 12, "width": 0.25})
    >>> same = build(model.config)
"""

from collections.abc import Mapping

from torch import nn

from .clstm import CLSTM, ConvLSTM2d
from .i3d import I3D

__all__ = ["CLSTM", "I3D", "ConvLSTM2d", "build", "load"]

ARCHITECTURES = {"i3d": I3D, "clstm": CLSTM}


def build(config: Mapping) -> nn.Module:
    """A fresh network from its `config`: {"model": "i3d" | "clstm", and the constructor's arguments}.

    ValueError: the model is unknown, or an argument is.
    """
    arguments = dict(config)
    name = arguments.pop("model", None)
    if name not in ARCHITECTURES:
        raise ValueError(f"config['model'] must be one of {', '.join(ARCHITECTURES)}, got {name!r}")
    try:
        return ARCHITECTURES[name](**arguments)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built from {sorted(arguments)}: {error}") from error


def load(name: str, data: str = "motion", seed: int = 0) -> nn.Module:
    """The trained network that ships with the package, in eval mode: see `interp.models.weights.load`."""
    from .weights import load as read_shipped  # weights.py imports this module

    return read_shipped(name, data, seed)
