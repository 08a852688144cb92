"""Generated datasets of real video files in which the interval of the action and the boxes of the objects are known.

This package's functions make the Something-Something flavour (see `something`), which the book trains on. The module
`kth` makes the other flavour: drawn people in KTH's layout.

>>> from interp.data.motion import generate, render_clip
>>> frames, truth = render_clip("validation", 0, seed=0, size=64)  # uint8 (n, 64, 64, 3)
>>> generate("data/motion", num_train=1000, num_validation=200, seed=0)  # doctest: +SKIP
"""

from interp.data.motion._files import write_video
from interp.data.motion.something import BACKWARDS, CLASSES, VERSION, clip_script, generate, prepare, render_clip

__all__ = ["BACKWARDS", "CLASSES", "VERSION", "clip_script", "generate", "prepare", "render_clip", "write_video"]
