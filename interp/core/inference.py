"""How the package runs a model: in evaluation mode with frozen weights, on checked clips, in batches that fit.

Axes: clips (B,C,T,H,W) floats, logits (B,K), targets (B,).
"""

import contextlib
import math
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

NO_BAR = bool(os.environ.get("TQDM_DISABLE")) or None  # None: a bar on a terminal; tqdm ignores its variable for None
BATCH_SIZE = 32  # clips, where the model names no other: more gain nothing on a CPU
_BATCH_SIZES_THAT_FIT: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32, in which a GPU rounds float32 to 10 bits; by default PyTorch's convolutions use it."""
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = allowed
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


@contextlib.contextmanager
def frozen_eval(model: nn.Module) -> Iterator[torch.device | None]:
    """Run a model in evaluation mode, without gradients of its weights, and restore it; yields its device, if any.

    float32 is float32 within it, on a GPU too.
    """
    device = _device(model)
    weights = [(weight, weight.requires_grad) for weight in model.parameters()]
    modules = [(module, {name: vars(module)[name] for name in ("training", "dropout") if name in vars(module)})
               for module in model.modules()]
    try:
        model.eval().requires_grad_(False)
        for module in model.modules():
            if device and device.type == "cuda" and isinstance(module, nn.RNNBase):
                module.training, module.dropout = True, 0.0  # cuDNN has no gradient of recurrent layers in evaluation
        with torch.inference_mode(False), torch.enable_grad(), tf32(False):
            yield device
    finally:
        for weight, required in weights:
            weight.requires_grad_(required)
        for module, attributes in modules:
            vars(module).update(attributes)


def check_clips(model: nn.Module, clips: Tensor) -> Tensor:
    """The clips (B,C,T,H,W), detached, in the float type of the model's weights; ValueError for anything else."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected an nn.Module from clips (B,C,T,H,W) to logits (B,K), "
                         f"got {type(model).__name__}; wrap a function in a module's forward")
    kind = f"{clips.dtype} {tuple(clips.shape)}" if torch.is_tensor(clips) else type(clips).__name__
    if not torch.is_tensor(clips) or clips.dim() != 5:
        raise ValueError(f"clips: expected a tensor (B,C,T,H,W), got {kind}; one clip is clip[None]")
    if not clips.is_floating_point():
        raise ValueError(f"clips: expected floats in [0,1], got {kind}; turn uint8 frames into clips with "
                         "interp.data.to_clip (or clips.float() / 255)")
    if 0 in clips.shape:
        raise ValueError(f"clips: expected at least one clip, frame and pixel, got {kind}")
    if clips.shape[1] > 4 and clips.shape[2] in (1, 3):
        raise ValueError(f"clips: expected axes (B,C,T,H,W), got {kind}, which looks like (B,T,C,H,W); "
                         "use clips.transpose(1, 2)")
    if clips.max() > 1:
        warnings.warn(f"clips: expected values in [0,1], got up to {clips.max():.4g}; divide by 255?", stacklevel=3)
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), clips.dtype)
    with torch.inference_mode(False):  # gradients need a tensor made outside of the caller's inference mode
        return clips.clone().to(dtype) if clips.is_inference() else clips.detach().to(dtype)


def check_targets(targets: Tensor | Sequence[int] | int | None, logits: Tensor) -> Tensor:
    """Classes (B,) on the logits' device: the targets given (one int for all), or the predicted ones for None."""
    if targets is None:
        return logits.argmax(dim=1)
    batch, num_classes = logits.shape
    classes = torch.as_tensor(targets).to(logits.device)
    classes = classes.expand(batch) if classes.dim() == 0 else classes
    if classes.shape != (batch,) or classes.is_floating_point() or classes.dtype == torch.bool:
        raise ValueError(f"targets: expected None, a class index, or {batch} class indices, got {targets!r}")
    if bool(((classes < 0) | (classes >= num_classes)).any()):
        raise ValueError(f"targets: expected classes 0..{num_classes - 1}, got {classes.tolist()}")
    return classes.long()


def check_ids(ids: Sequence[str] | None, batch: int) -> list[str]:
    """The clips' names for messages: the ids given, or 0..B-1."""
    ids = range(batch) if ids is None else ids
    if len(ids) != batch:
        raise ValueError(f"ids: expected one name for each of the {batch} clips, got {len(ids)}")
    return [*map(str, ids)]


def check_finite(scores: Tensor, ids: Sequence[str], when: str) -> None:
    """ValueError that names the clips whose scores (B,...) are NaN or infinite."""
    bad = ~torch.isfinite(scores.reshape(len(scores), -1)).all(1)
    if bool(bad.any()):
        names = ", ".join(name for name, wrong in zip(ids, bad.tolist(), strict=True) if wrong)
        raise ValueError(f"the model's score is not finite for clip {names} ({when}); look for NaN or "
                         "infinite values in these clips or in the weights, and leave the clips out")


def logits(model: nn.Module, clips: Tensor) -> Tensor:
    """The model's logits (B,K), at least float32; ValueError when the model returns something else."""
    output = model(clips)
    if not torch.is_tensor(output) or output.dim() != 2 or len(output) != len(clips):
        kind = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise ValueError(f"model: expected logits (B,K) with B = {len(clips)} for clips {tuple(clips.shape)}, "
                         f"got {kind}; wrap the model so that it returns logits alone")
    return output if output.dtype == torch.float64 else output.float()


def predict(model: nn.Module, clips: Tensor, batch_size: int | None = None, ids: Sequence[str] | None = None) -> Tensor:
    """Softmax scores (B,K) of clips (B,C,T,H,W), on the clips' device; ValueError names clips without a finite one."""
    with frozen_eval(model), torch.no_grad():
        scores = map_batches(model, lambda part: logits(model, part).softmax(1), clips, batch_size=batch_size)
    check_finite(scores, check_ids(ids, len(clips)), "the unperturbed clip")
    return scores


def predict_targets(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None,
                    batch_size: int | None, ids: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Checked targets (B,) and their scores (B,) for checked clips."""
    scores = predict(model, clips, batch_size, ids)
    targets = check_targets(targets, scores)
    return targets, scores.gather(1, targets[:, None])[:, 0]


def map_batches(model: nn.Module, function: Callable[..., Tensor], *tensors: Tensor,
                batch_size: int | None = None) -> Tensor:
    """Apply `function` to equal slices of the tensors along axis 0, on the model's device, and concatenate the results.

    batch_size: most rows in a slice; None: `model.preferred_batch_size` on a CPU, else 32. The result is on the first
    tensor's device.
    """
    device = _device(model)

    def apply(rows: slice) -> Tensor:
        return function(*(tensor[rows].to(device or tensor.device) for tensor in tensors)).to(tensors[0].device)

    return torch.cat(map_slices(model, apply, len(tensors[0]), batch_size))


def map_slices(model: nn.Module, function: Callable[[slice], object], total: int,
               batch_size: int | None = None) -> list:
    """Results of `function` on equal slices of 0..total; slices are halved, for good, when GPU memory runs out."""
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise ValueError(f"batch_size: expected a number of clips of at least 1, or None, got {batch_size!r}")
    device, results, first = _device(model), [], 0
    if batch_size is None:
        on_cpu = device is None or device.type == "cpu"
        batch_size = on_cpu and attribute(model, "preferred_batch_size", int) or BATCH_SIZE
    while first < total:
        most = min(batch_size, _BATCH_SIZES_THAT_FIT.get(model, batch_size))
        size = math.ceil((total - first) / math.ceil((total - first) / most))
        try:
            results.append(function(slice(first, first + size)))
            first, size = first + size, 0
        except torch.cuda.OutOfMemoryError:
            if size == 1:
                raise
        if size:  # outside the except block, whose traceback keeps the batch in memory
            _BATCH_SIZES_THAT_FIT[model] = size // 2
            torch.cuda.empty_cache()
    return results


def attribute(model: nn.Module, name: str, kind):
    """The model's attribute of this kind, else None: a foreign model's can be anything."""
    value = getattr(model, name, None)
    return value if isinstance(value, kind) else None


def model_name(model: nn.Module) -> str:
    """The model's name: by its config, else its class."""
    return (attribute(model, "config", Mapping) or {}).get("model") or type(model).__name__


def _device(model: nn.Module) -> torch.device | None:
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)
