"""Interpreting video networks: train I3D and C-LSTM, find when and where a decision looks, compare.

Source: Mänttäri, Broomé et al., ACCV 2020 (arXiv 2002.00367). Axes: a clip is
(B,C,T,H,W) in [0,1], a mask (B,T) with 1 = perturbed.

    >>> import interp, torch
    >>> model = interp.load("i3d", "motion")
    >>> result = interp.find_masks(model, torch.rand(1, 3, 16, 64, 64))
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# public name: module that holds it; None for the modules themselves. Imported at first use, so that
# `import interp` does not wait for torch.
_HOMES = {
    "models": None,
    "perturb": None,
    "widgets": None,
    "find_masks": "masks",
    "grad_cam": "gradcam",
    "explain": "explain",
    "load": "models.weights",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'interp' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = _HOMES[name]
    if home is None:
        return import_module(f".{name}", __name__)
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """`interp.explain` is the function, although importing the module of that name sets the attribute."""

    def __setattr__(self, name, value):
        if isinstance(value, ModuleType) and _HOMES.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
