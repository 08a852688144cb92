"""The two networks of the comparison: I3D and C-LSTM, from clips (B,C,T,H,W) in [0,1] to logits (B,K)."""

from .clstm import CLSTM, ConvLSTM2d
from .i3d import I3D
from .weights import ARCHITECTURES, build, load

__all__ = ["ARCHITECTURES", "CLSTM", "I3D", "ConvLSTM2d", "build", "load"]
