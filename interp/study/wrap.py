"""Any video model by name or by hand, as the package takes models: from clips (B,C,T,H,W) in [0,1] to logits (B,K).

    >>> model = wrap("torchvision:r2plus1d_18")                              # doctest: +SKIP
    >>> (explanation,) = explain(model, model.read("holiday.mp4")[None])     # doctest: +SKIP

One random clip goes through the model, which shows the order of its axes, what it returns, and the layer for Grad-CAM.
"""

import contextlib
import importlib.util
import itertools
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from interp import recipes
from interp.core.gradcam import are_shares, as_maps
from interp.core.inference import attribute, frozen_eval, model_name
from interp.data import to_clip
from interp.data.sampling import Sampling
from interp.data.video import read_with_notes
from interp.models import load, weights
from interp.models.network import VideoNetwork, clip_shape
from interp.study import import_extra

FORMS = "torchvision:NAME, hf:FOLDER_OR_ID, FILE.py:NAME, i3d, clstm, or a .safetensors file of `interp train`"
# The frames of a clip and frames a second that torchvision's weights were evaluated with, after its documentation.
TORCHVISION = {"r3d_18": (16, 15), "mc3_18": (16, 15), "r2plus1d_18": (16, 15), "s3d": (128, 15),
               "mvit_v1_b": (16, 7.5), "mvit_v2_s": (16, 7.5), "swin3d_t": (32, 15), "swin3d_s": (32, 15),
               "swin3d_b": (32, 15)}
LAYOUTS, OUTPUTS = ("BCTHW", "BTCHW"), ("logits", "probabilities")
LEAST_CELLS = 9  # of a frame, for a map to show a place
_LISTS = nn.Sequential, nn.ModuleList


def wrap(model, *, pretrained=None, layout: str = "auto", mean=None, std=None, output: str = "auto",
         pathways: Callable[[Tensor], list] | None = None, layer: str | None = "auto",
         tokens: str | Callable[[Tensor], Tensor] = "auto", classes=None, sample=None) -> "VideoModel":
    """Make a VideoModel of a module or a name.

    Args:
        model: an nn.Module, or a name. "torchvision:r3d_18"; "hf:FOLDER_OR_ID" of a video classifier of Hugging Face;
            "FILE.py:NAME" of a module or of a function that makes one, for which the file is run; "i3d", "clstm", or
            the weights of `interp train`.
        pretrained: torchvision: "default" (the default) downloads the weights, "none" draws them at random. There and
            for a file or module also a state dict's file, of which tensors alone are read.
        layout: the axes that the model takes, "BCTHW" or "BTCHW".
        mean, std: of the channels, subtracted and divided by; default: the model's own, else 0 and 1.
        output: what the model returns, "logits" or "probabilities". Of several outputs `.logits` or the first counts.
        pathways: from the perturbed clips (B,C,T,H,W) to what the model takes, such as SlowFast's list.
        layer: for Grad-CAM; "auto" is the last block with a map of at least 9 cells a frame and a gradient.
        tokens: how a layer of tokens (B,N,F) becomes a map: "thw", "1+thw", "1+hwt" (a class token first; the axes in
            the order in which they count), or a function to (B,F,T',H',W').
        classes: the K names, or a text file with one in each line.
        sample: the `Sampling`, or a mapping of those of its fields that are to differ.

    Raises:
        ValueError: an unknown name, weights that do not fit, or a model that takes no clip of this size.
    """
    for key, value, choices in (("layout", layout, LAYOUTS), ("output", output, OUTPUTS)):
        if value not in ("auto", *choices):
            raise ValueError(f"{key}: expected auto, {' or '.join(choices)}, got {value!r}")
    if isinstance(classes, str | Path):
        try:
            classes = [name for line in Path(classes).read_text("utf-8").splitlines() if (name := line.strip())]
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"classes: expected a text file, a class in each line, got {classes}: {error}") from None
    found = _named(model, pretrained, classes) if isinstance(model, str) else _own(model, pretrained)
    given = {"mean": mean, "std": std, "classes": classes, "pathways": pathways}
    given |= {"layout": None if layout == "auto" else layout, "output": None if output == "auto" else output}
    found |= {key: value for key, value in given.items() if value is not None}
    found["sample"] = sample if isinstance(sample, Sampling) else replace(found["sample"], **(sample or {}))
    return VideoModel(layer=layer, tokens=tokens, **found)


class VideoModel(nn.Module):
    """A model from clips (B,C,T,H,W) in [0,1] to logits (B,K); `wrap` makes it.

    Attributes: `model`, the module inside; `classes`, K names or None; `sample`, the Sampling; `layer`, the name of the
    layer that Grad-CAM reads; `layout`, `output`; `tokens`, how its tokens are read; `record`, where it comes from.
    """

    def __init__(self, model: nn.Module, sample: Sampling, *, name: str, layout: str | None = None, mean=None, std=None,
                 output: str | None = None, pathways=None, layer="auto", tokens="auto", classes=None, record=None):
        super().__init__()
        self.model, self.sample, self.pathways = model, sample, pathways
        self.layout, self.output = layout, output
        self.classes, self.record = None if classes is None else [*map(str, classes)], dict(record or {})
        for key, value in (("mean", mean), ("std", std)):
            channels = None if value is None else torch.as_tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1, 1)
            self.register_buffer(key, channels, persistent=False)
        if not isinstance(sample.size, tuple):
            raise ValueError(f"sample: expected a size of all clips, got {sample}; give resize or crop (height, width)")
        self.config = {"model": name, "num_frames": sample.num_frames, "size": list(sample.size)}
        # On two cores r2plus1d_18 scores 2.1 clips a second one by one, 1.0 in batches of 32.
        self.preferred_batch_size = max(1, 100_000 // (sample.num_frames * math.prod(sample.size)))
        self._forms, self.tokens, own = {}, None, isinstance(model, VideoNetwork)
        self.gradcam_reshape = tokens if callable(tokens) else None
        for key in ("stem_for", "step", "classify", "preferred_batch_size") if own and mean is std is None else ():
            if hasattr(model, key):  # the short cuts of our own networks
                setattr(self, key, getattr(model, key))
        weight = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(()))
        clip = torch.rand(1, 3, sample.num_frames, *sample.size, generator=torch.Generator().manual_seed(0)).to(weight)
        with frozen_eval(self):
            calls, logits = self._try(clip.requires_grad_())
            if self.output is None:
                self.output = OUTPUTS[are_shares(logits) and logits.shape[1] > 1]
                if self.output == "probabilities":
                    warnings.warn(f"{name}: its outputs sum to 1 and are taken for probabilities; output= says "
                                  "otherwise", stacklevel=3)
            if self.classes is not None and len(self.classes) != logits.shape[1]:
                raise ValueError(f"classes: expected {logits.shape[1]} names, one for each output of {name}, got "
                                 f"{len(self.classes)}")
            if isinstance(tokens, str):
                self._read_tokens(calls, tokens)
            self.maps = self._maps(calls, clip.shape[2:])
            self.layer = self._last_map(calls, logits, clip.shape[2:]) if layer == "auto" else layer
        names = dict(self.named_modules())
        if self.layer is not None and self.layer not in names and f"model.{self.layer}" not in names:
            raise ValueError(f"layer: expected the name of a module of {name}, such as {[*self.maps][-3:]}, got "
                             f"{self.layer!r}")
        self.gradcam_layer = self.layer if self.layer in names or self.layer is None else f"model.{self.layer}"

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B,K) of clips (B,C,T,H,W) in [0,1]; of a model of probabilities their logarithms."""
        if self.mean is not None:
            clips = clips - self.mean.to(clips)
        if self.std is not None:
            clips = clips / self.std.to(clips)
        output = self.model(self.pathways(clips) if self.pathways else
                            clips.transpose(1, 2) if self.layout == "BTCHW" else clips)
        output = output["logits"] if isinstance(output, Mapping) and "logits" in output else tree_leaves(output)[0]
        if self.output == "probabilities":
            output = output.clamp_min(torch.finfo(output.dtype).tiny).log()
        return output

    def read(self, path, start: float | None = None) -> Tensor:
        """The clip (C,T,H,W) of a video file as the model samples it, from second `start` on, else from its middle."""
        frames, notes = read_with_notes(path, self.sample, at=start)
        for note in notes:
            warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
        return to_clip(frames)

    def _try(self, clip: Tensor) -> tuple[dict, Tensor]:
        """What each module returns for a clip (1,C,T,H,W), in the order of their ends, and the logits."""
        errors, layouts = [], (self.layout,) if self.layout else LAYOUTS[: 1 if self.pathways else 2]
        for self.layout in layouts:
            calls = {}
            try:
                with contextlib.ExitStack() as hooks:
                    for name, module in self.model.named_modules(prefix="model"):
                        hooks.enter_context(module.register_forward_hook(partial(_note, calls, name)))
                    logits = self(clip)
                if logits.dim() != 2 or len(logits) != 1:
                    raise ValueError(f"expected logits (1,K), got {tuple(logits.shape)}")
                return calls, logits
            except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError) as error:
                errors.append(f"{self.layout}: {' '.join(str(error).split())[:200]}")
        raise ValueError(f"{self.config['model']}: the model takes no clip {tuple(clip.shape)} ({'; '.join(errors)}); "
                         "give sample= its frames and size, layout= its axes, or pathways=")

    def _read_tokens(self, calls: Mapping[str, list], tokens: str) -> None:
        """Find how tokens lie in time and space: by the maps that convolutions gave, or a size beside the tokens."""
        match = re.fullmatch(r"(?:(\d)\+)?([thw]{3})", "thw" if tokens == "auto" else tokens)
        if not match or len(set(match[2])) < 3:
            raise ValueError(f"tokens: expected auto, a text such as thw or 1+hwt, or a function, got {tokens!r}")
        first = [leaves for outputs in calls.values() for output in outputs if (leaves := tree_leaves(output))]
        grids = {tuple(leaves[1:]) for leaves in first if len(leaves) == 4 and {*map(type, leaves[1:])} == {int}}
        grids |= {(part.shape[0] if part.dim() == 4 else part.shape[2], *part.shape[-2:])
                  for part, *_ in first if torch.is_tensor(part) and part.dim() in (4, 5)}
        grids, order = {grid for grid in grids if grid[1] * grid[2] >= LEAST_CELLS}, match[2]
        if tokens == "auto" and any("timesformer" in type(module).__name__.lower() for module in self.modules()):
            order = "hwt"  # the frames of one patch follow each other
        extras = (0, 1, 2) if tokens == "auto" else (int(match[1] or 0),)
        for part in (part for part, *_ in first if torch.is_tensor(part) and part.dim() == 3):
            for (frames, *sides), extra in itertools.product(grids, extras):
                if (len(part), part.shape[1] - extra) in ((1, frames * math.prod(sides)), (frames, math.prod(sides))):
                    self._forms.setdefault(tuple(part.shape[:2]), ((frames, *sides), extra, order))
                    self.tokens = f"{extra}+{order}" if extra else order
        if self._forms:
            self.gradcam_reshape = self._tokens_to_maps

    def _tokens_to_maps(self, tokens: Tensor) -> Tensor | None:
        """Tokens (B,N,F), or (B*T,N,F) of single frames, as (B,F,T',H',W'); None for anything else."""
        for (rows, number), (grid, extra, order) in self._forms.items():
            if tokens.dim() == 3 and tokens.shape[1] == number and len(tokens) % rows == 0:
                if rows > 1:
                    return tokens[:, extra:].unflatten(1, grid[1:]).unflatten(0, (-1, rows)).permute(0, 4, 1, 2, 3)
                sizes = dict(zip("thw", grid, strict=True))
                cells = tokens[:, extra:].unflatten(1, [sizes[axis] for axis in order])
                return cells.permute(0, 4, *(1 + order.index(axis) for axis in "thw"))
        return None

    def _maps(self, calls: Mapping[str, list], size: Sequence[int]) -> dict[str, tuple]:
        """The (T',H',W') of every block whose output is a map over time, by name, in the order of their ends."""
        modules, shapes, inner = dict(self.named_modules()), {}, {}
        for name, outputs in calls.items():
            tensors = [next(iter(tree_leaves(output)), None) for output in outputs]
            if name == "model" or not all(torch.is_tensor(part) and part.requires_grad for part in tensors):
                continue
            if isinstance(outputs[0], Mapping):  # of a whole network, which repeats its last block's
                continue
            if re.search("attn|attention|softmax", f"{name} {type(modules[name]).__name__}", re.IGNORECASE):
                continue
            try:
                shape = tuple(as_maps(tensors, 1, size, name, self.gradcam_reshape).shape[2:])
            except ValueError:
                continue
            parts = name.split(".")  # what lies inside of a list's element is a part of a block
            inside = any(isinstance(modules[".".join(parts[:i])], _LISTS) for i in range(1, len(parts) - 1))
            if not inside or tensors[0].dim() > 3:
                (inner if inside else shapes)[name] = shape
        whole = [f"{name}." for name in shapes if not isinstance(modules[name], _LISTS)]
        return {name: shape for name, shape in (shapes or inner).items() if not name.startswith(tuple(whole))}

    def _last_map(self, calls: Mapping[str, list], logits: Tensor, size: Sequence[int]) -> str | None:
        """The name of the last of the maps that is large enough and on which the highest logit depends."""
        for name, shape in reversed(self.maps.items()):
            if math.prod(shape[1:]) >= LEAST_CELLS:
                tensors = [tree_leaves(output)[0] for output in calls[name]]
                slopes = torch.autograd.grad(logits.max(), tensors, retain_graph=True, materialize_grads=True)
                if as_maps(slopes, 1, size, name, self.gradcam_reshape).any():
                    return name.removeprefix("model.")
        return None


def load_by_name(name: str, *, crop: str | None = None, sample=None, **options) -> tuple[str, nn.Module]:
    """A short name for files, and the model with its `sample`: ours as it is, which is fastest, others wrapped.

    crop: "center", "none" or "resize" in place of the model's own; options: those of `wrap`.
    """
    if name in recipes.MODELS or name.endswith(".safetensors"):
        if options.get("pretrained") or options.get("classes"):
            raise ValueError(f"pretrained and classes: expected none for {name}, which has its own; leave them out")
        found = _named(name, None, None)
        model, short = found["model"], Path(name).stem
        model.sample = replace(found["sample"], **(sample or {}))
        if options.get("layer", "auto") != "auto":
            model.gradcam_layer = options["layer"]
    else:
        model = wrap(name, sample=sample, **options)
        short = re.sub(r"\W+", "_", model.config["model"])
    model.sample = model.sample.cropped(crop) if crop else model.sample
    return short, model


def _note(calls: dict, name: str, module: nn.Module, inputs: tuple, output) -> None:
    calls[name] = [*calls.pop(name, []), output]  # the last to end comes last


def _named(name: str, pretrained, classes) -> dict:
    """The arguments of VideoModel for a model's name."""
    kind, _, rest = name.partition(":")
    if kind == "torchvision":
        return _torchvision(rest, "default" if pretrained is None else pretrained, classes)
    if kind == "hf":
        return _hugging_face(rest)
    if ".py:" in name:
        path, _, attribute = name.rpartition(":")
        return _own(_from_file(Path(path), attribute), pretrained) | {"name": attribute}
    if name not in recipes.MODELS and not name.endswith(".safetensors"):
        raise ValueError(f"expected a model {FORMS}; got {name!r}")
    return _own(load(name) if name in recipes.MODELS else weights.read(name), None)


def _own(model: nn.Module, pretrained) -> dict:
    """The arguments for a module: what it says of itself, and weights from a file."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected an nn.Module or a name, got {type(model).__name__}")
    if pretrained is not None:
        _load_state(model, weights.read_checkpoint(pretrained), pretrained)
    frames, *size = clip_shape(model)
    classes = attribute(model, "classes", list | tuple)
    return {"model": model, "name": model_name(model), "sample": Sampling(frames, tuple(size)), "classes": classes,
            "record": attribute(model, "record", Mapping) or {"pretrained": str(pretrained)}}


def _torchvision(name: str, pretrained, classes) -> dict:
    """The arguments for one of torchvision's video models, with the preparation that its weights were made with."""
    from torchvision.models import get_model, get_model_weights

    if name not in TORCHVISION:
        raise ValueError(f"expected a video model of torchvision, {', '.join(TORCHVISION)}, got {name!r}")
    best, (frames, fps) = get_model_weights(name).DEFAULT, TORCHVISION[name]
    preset, known = best.transforms(), None
    resize = preset.resize_size[0] if len(preset.resize_size) == 1 else tuple(preset.resize_size)
    if pretrained == "default":
        try:
            model, known = get_model(name, weights=best), best.meta["categories"]
        except OSError as error:  # urllib's are
            raise ValueError(f"the weights of {name} could not be downloaded ({error}); give pretrained a file of "
                             f"{best.url}, or none for random weights") from error
    elif pretrained == "none":
        model = get_model(name, weights=None, **({"num_classes": len(classes)} if classes else {}))
    else:
        state = weights.read_checkpoint(pretrained)
        model = get_model(name, weights=None, num_classes=len(classes or [*state.values()][-1]))  # the last is a bias
        _load_state(model, state, pretrained)
        known = best.meta["categories"] if Path(pretrained).name == Path(best.url).name else None
    sample = Sampling(frames, resize, tuple(preset.crop_size), fps, None, "bilinear", False)
    return {"model": model.eval(), "name": name, "sample": sample, "mean": preset.mean, "std": preset.std,
            "classes": known, "layout": "BCTHW",
            "record": {"source": f"torchvision:{name}", "pretrained": str(pretrained)}}


def _hugging_face(name: str) -> dict:
    """The arguments for a video classifier of Hugging Face, prepared as its image processor does."""
    transformers = import_extra("transformers", "hf")
    try:
        model = transformers.AutoModelForVideoClassification.from_pretrained(name)
        processor = transformers.AutoImageProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"hf:{name}: expected a folder or an id of a video classifier with its image processor "
                         f"({' '.join(str(error).split())[:300]})") from error
    config = model.config
    frames = int(getattr(config, "num_frames", 16))
    ends = [processor([np.full((320, 320, 3), value, np.uint8)] * frames, return_tensors="pt")["pixel_values"][0]
            for value in (0, 255)]  # (T,C,H,W): a pixel's way is a straight line, whatever the processor's options
    low, high = (end[0].flatten(1).mean(1) for end in ends)
    size, short = tuple(ends[0].shape[-2:]), (processor.size or {}).get("shortest_edge")
    sample = Sampling(frames, short or size, size, None, None, {2: "bilinear", 3: "bicubic"}[int(processor.resample)])
    classes = [config.id2label[index] for index in range(config.num_labels)]
    return {"model": model, "name": Path(name).name, "sample": sample, "mean": -low / (high - low), "layout": "BTCHW",
            "std": 1 / (high - low), "classes": classes, "output": "logits", "record": {"source": f"hf:{name}"}}


def _from_file(path: Path, name: str) -> nn.Module:
    """The module that a Python file holds or makes under this name; the file is run."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    found = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(found, nn.Module):
        raise ValueError(f"{path}: expected {name} to be an nn.Module or a function that makes one, got "
                         f"{type(found).__name__}")
    return found.eval()


def _load_state(model: nn.Module, state: Mapping[str, Tensor], path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit the model: {' '.join(str(error).split())[:300]}") from error
