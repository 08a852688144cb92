"""What I3D and C-LSTM share: the record of how they were built, and the check of the clips they are given.

Axes: B clip, C channel, T frame, H row, W column; a clip is (B,C,T,H,W) in [0,1]. Source: this project.

    >>> from interp.models import I3D
    >>> I3D(12, width=0.25).config["num_classes"]
    12
"""

from collections.abc import Sequence

from torch import Tensor, nn


class VideoNetwork(nn.Module):
    """Base of both networks, from clips (B,C,T,H,W) in [0,1] to logits (B,K).

    config: constructor arguments as JSON-able values, with "model"; `interp.models.build(config)` makes
    a fresh network. classes: K names, record: how it was trained; both None until weights are read.
    gradcam_layer: name of the module that Grad-CAM looks at by default.
    """

    gradcam_layer: str

    def __init__(self, model: str, **arguments):
        super().__init__()
        for name in ("num_classes", "in_channels", "num_frames"):
            if arguments.get(name, 1) < 1:
                raise ValueError(f"{name} must be at least 1, got {arguments[name]}")
        dropout, pixel_range = arguments["dropout"], arguments["pixel_range"]
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is the probability of dropping, from 0 to below 1, got {dropout}")
        if len(pixel_range) != 2 or not pixel_range[0] < pixel_range[1]:
            raise ValueError(f"pixel_range wants (low, high) with low < high, got {tuple(pixel_range)}")
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in arguments.items()}
        self.config = {"model": model, **plain}
        self.classes: list[str] | None = None
        self.record: dict | None = None

    def prepare(self, clips: Tensor, wanted: Sequence[int | str]) -> Tensor:
        """The clips in `pixel_range`; ValueError unless axes after B are `wanted` (a letter: any size)."""
        axes = tuple(clips.shape[1:])
        right = len(axes) == len(wanted) and 0 not in axes
        right = right and all(isinstance(w, str) or w == n for w, n in zip(wanted, axes, strict=True))
        if not right or not clips.is_floating_point():
            raise ValueError(
                f"{type(self).__name__} wants float clips (B,{','.join(map(str, wanted))}) in [0,1], got "
                f"{tuple(clips.shape)} of {clips.dtype}; interp.data.to_clip makes them from uint8 frames"
            )
        low, high = self.config["pixel_range"]
        return clips if (low, high) == (0.0, 1.0) else clips * (high - low) + low
