"""Interpreting video networks: when and where does a decision rest? Masks, maps, I3D, C-LSTM, any video model.

After Mänttäri, Broomé et al., "Interpreting Video Features", ACCV 2020 (arXiv 2002.00367). Axes: a clip batch is
(B,C,T,H,W) in [0,1], a temporal mask (B,T) with 1 = perturbed.

    >>> import interp, torch
    >>> model = interp.load("i3d", "motion")
    >>> result = interp.find_masks(model, torch.rand(1, 3, 16, 64, 64))
"""

from importlib import import_module

__version__ = "0.2.0"

# Public name -> module that defines it. Imported at first use, so that `import interp` does not wait for torch.
_HOMES = {name: module for module, names in {
    "core.exact": "best_masks ExactResult",
    "core.explanation": "explain Explanation",
    "core.gradcam": "grad_cam normalise",
    "core.masks": "find_masks MaskResult Stop",
    "core.windows": "best_windows penalty total_variation",
    "data": "open_dataset read_clip probe to_clip Sample Sampling VideoDataset VideoInfo DataError VideoError",
    "models": "I3D CLSTM build load",
    "recipes": "MaskRecipe TrainRecipe",
    "study.curve": "curve",
    "study.wrap": "wrap VideoModel",
    "training": "train TrainingError",
    "training.evaluate": "evaluate",
}.items() for name in names.split()}
_MODULES = {name: name for name in "cli core data models recipes show study training".split()}
_MODULES |= {"perturb": "core.perturb", "widgets": "show.explorer"}
__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'interp' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
