"""The two networks of the comparison: I3D and C-LSTM, from clips (B,C,T,H,W) in [0,1] to logits (B,K).

After Carreira and Zisserman 2017 and Shi et al. 2015; configured as in Mänttäri, Broomé et al., ACCV 2020.

    >>> model = build({"model": "i3d", "num_classes": 12, "width": 0.25})
    >>> same = build(model.config)
"""

from .clstm import CLSTM, ConvLSTM2d
from .i3d import I3D
from .weights import ARCHITECTURES, build, load

__all__ = ["ARCHITECTURES", "CLSTM", "I3D", "ConvLSTM2d", "build", "load"]
