"""A model is borrowed: used in eval mode with its weights at rest, and handed back exactly as it was lent.

Everything that asks a model questions (masks, windows, Grad-CAM) asks them through this room.
Axes: clips (B,C,T,H,W) floats, logits (B,K), targets (B,).

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).train()
    >>> with borrowed(model):
    ...     model.training, model[1].weight.requires_grad
    (False, False)
    >>> model.training, model[1].weight.requires_grad
    (True, True)
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

CPU_CHUNK = 32  # clips at once on a CPU, spread evenly; measured: more gain nothing
# Without 1x1 convolutions, and with so much to keep that the processor's cache matters, few at once are faster:
# measured on the small C-LSTM, a clip takes 31 ms among 4, 36 among 16 and 40 among 32.
CPU_FEW, LARGE_CLIP = 4, 2**22  # clips; bytes that a backward pass keeps of one
# On one thread PyTorch sends a 1x1x1 convolution of fewer clips than this past oneDNN; measured on the small
# I3D, a clip then takes 55 ms instead of 26 (so 33 clips go as 17 + 16, never as 11 x 3).
ONE_THREAD_CLIPS = 16
_DOUBLED: weakref.WeakSet = weakref.WeakSet()  # borrowed models that answer two clips sooner than one
MEMORY_SHARE = 0.5  # of the free memory, for what a backward pass keeps


@contextmanager
def borrowed(model: nn.Module) -> Iterator[torch.device | None]:
    """Eval mode, weights without gradients; gives the model's device, None when it has no weights.

    On leaving, by an exception or an interrupt too, each module has its own mode back and each weight its own
    requires_grad. Gradients are on inside, also when the caller has switched them off.
    """
    _check_module(model)
    modes = [(module, module.training) for module in model.modules()]
    weights = [(weight, weight.requires_grad) for weight in model.parameters()]
    dropouts = [(module, module.dropout) for module in model.modules() if isinstance(module, nn.RNNBase)]
    first = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
    try:
        model.eval()
        for weight, _ in weights:
            weight.requires_grad_(False)
        if first is not None and first.is_cuda:
            # cuDNN has a recurrent layer's backward in training mode only, and all that this mode changes
            # there is dropout: switched off, the answers are those of eval mode.
            for module, _ in dropouts:
                module.training, module.dropout = True, 0.0
        with torch.inference_mode(False), torch.enable_grad():
            yield None if first is None else first.device
    finally:
        _DOUBLED.discard(model)
        for module, dropout in dropouts:
            module.dropout = dropout
        for weight, needed in weights:
            weight.requires_grad_(needed)
        for module, mode in modes:
            module.training = mode


def checked_clips(model: nn.Module, clips: Tensor) -> Tensor:
    """The clips (B,C,T,H,W), detached, in the float type of the weights; ValueError for anything else."""
    _check_module(model)
    words = f"{clips.dtype} {tuple(clips.shape)}" if torch.is_tensor(clips) else type(clips).__name__
    if not torch.is_tensor(clips) or clips.dim() != 5:
        raise ValueError(f"clips: expected a tensor (B,C,T,H,W), got {words}; one clip is clip[None]")
    if not clips.is_floating_point():
        raise ValueError(f"clips: expected floats in [0,1], got {words}; turn uint8 frames into clips with "
                         "interp.data.to_clip (or clips.float() / 255)")
    if 0 in clips.shape:
        raise ValueError(f"clips: expected at least one clip, frame and pixel, got {words}")
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), clips.dtype)
    clips = clips.detach().to(dtype)
    return clips.clone() if clips.is_inference() else clips


def checked_targets(targets: Tensor | Sequence[int] | int | None, logits: Tensor) -> Tensor:
    """LongTensor (B,) on the logits' device: the targets given (one int for all), or the guesses for None."""
    if targets is None:
        return logits.argmax(dim=1)
    batch, num_classes = logits.shape
    given = torch.as_tensor(targets).to(logits.device)
    if given.dim() == 0:
        given = given.expand(batch)
    if given.shape != (batch,) or given.is_floating_point() or given.dtype == torch.bool:
        raise ValueError(f"targets: expected None, a class index, or {batch} class indices, got {targets!r}")
    if bool(((given < 0) | (given >= num_classes)).any()):
        raise ValueError(f"targets: expected classes 0..{num_classes - 1}, got {given.tolist()}")
    return given.long()


def checked_ids(ids: Sequence[str] | None, batch: int) -> list[str]:
    """The clips' names for messages: the ids given, or 0..B-1."""
    if ids is None:
        return [str(index) for index in range(batch)]
    if len(ids) != batch:
        raise ValueError(f"ids: expected one name for each of the {batch} clips, got {len(ids)}")
    return [str(name) for name in ids]


def logits_of(model: nn.Module, clips: Tensor) -> Tensor:
    """The model's logits (B,K), float32 at least; ValueError when the model gives something else."""
    lone = len(clips) == 1 and model in _DOUBLED
    logits = model(torch.cat([clips, clips.detach()]) if lone else clips)
    if not torch.is_tensor(logits) or logits.dim() != 2 or len(logits) != len(clips) + lone:
        got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
        raise ValueError(f"model: expected logits (B,K) with B = {len(clips) + lone} for clips "
                         f"{tuple(clips.shape)}, got {got}; wrap the model so that it returns logits alone")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits[:1] if lone else logits


def probabilities(model: nn.Module, clips: Tensor, device: torch.device | None, chunk: int,
                  ids: Sequence[str]) -> Tensor:
    """Softmax (B,K) of the clips as they are, on their device; ValueError names a clip without one."""
    with torch.no_grad():
        parts = [logits_of(model, part.to(device or part.device)).softmax(1)
                 for part in clips.split(even(len(clips), chunk))]
    scores = torch.cat(parts).to(clips.device)
    require_finite(scores, ids, "the unperturbed clip")
    return scores


def require_finite(scores: Tensor, ids: Sequence[str], when: str) -> None:
    """ValueError that names the clips whose scores (B,...) are NaN or infinite."""
    bad = ~torch.isfinite(scores).flatten(1).all(1) if scores.dim() > 1 else ~torch.isfinite(scores)
    if bool(bad.any()):
        names = ", ".join(name for name, wrong in zip(ids, bad.tolist(), strict=True) if wrong)
        raise ValueError(f"the model's score is not finite for clip {names} ({when}); look for NaN or "
                         "infinite values in these clips or in the weights, and leave the clips out")


def capacity(model: nn.Module, clips: Tensor, device: torch.device | None, chunk: int | None) -> int:
    """How many clips go through the model at once: `chunk` where given, else what fits the memory at hand.

    What a backward pass keeps is measured on two clips; half of the free memory may be filled with it.
    """
    if chunk is not None:
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise ValueError(f"chunk: expected a number of clips of at least 1, or None, got {chunk!r}")
        return chunk
    two = clips[:1].to(device or clips.device).repeat(2, 1, 1, 1, 1)
    if two.device.type == "cpu" and len(clips) == 1 and _two_are_faster(model, two):
        _DOUBLED.add(model)
    kept = _bytes_kept(model, two)
    fitting = max(1, int(MEMORY_SHARE * _free_bytes(two.device) / kept))
    if two.device.type != "cpu":
        return fitting
    return min(fitting, CPU_FEW if kept > LARGE_CLIP and not _pointwise(model) else CPU_CHUNK)


def even(total: int, most: int) -> int:
    """The size of chunks that cover `total` in as few as possible, all about equal, none above `most`."""
    return math.ceil(total / math.ceil(total / most))


def filled(model: nn.Module, batch: int) -> int:
    """How many clips to send for `batch` of them: more where, on one CPU thread, that is the faster way."""
    worth = torch.get_num_threads() == 1 and 3 * batch > ONE_THREAD_CLIPS > batch
    if not worth or next((weight.is_cuda for weight in model.parameters()), True):
        return batch
    return ONE_THREAD_CLIPS if _pointwise(model) else batch


def _pointwise(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}
               for module in model.modules())


def _check_module(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected an nn.Module from clips (B,C,T,H,W) to logits (B,K), "
                         f"got {type(model).__name__}; wrap a function in a module's forward")


def _two_are_faster(model: nn.Module, two: Tensor) -> bool:
    # PyTorch convolves one clip in 3-D on a CPU by another way, up to five times slower than each of two.
    # Whether a whole network gains by asking twice differs (r3d_18: 176 against 106 ms; I3D: 84 against 122):
    # time it.
    seconds = {}
    with torch.no_grad():
        for clips in (two[:1], two, two[:1], two):
            begun = time.perf_counter()
            model(clips)
            seconds[len(clips)] = time.perf_counter() - begun  # the second time stays, when all is warm
    return seconds[2] < 0.9 * seconds[1]


def _bytes_kept(model: nn.Module, clips: Tensor) -> float:
    own = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits_of(model, clips.clone().requires_grad_())
    clip_bytes = clips[0].numel() * clips.element_size()
    return sum(kept.values()) / len(clips) + 4 * clip_bytes  # the clip, its copy, their gradients


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = 4 * 2**30  # where the system does not say
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = int(fields.get("MemAvailable", f"{free // 1024} kB").split()[0]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():  # a container's own limit
        free = min(free, max(int(limit.read_text()) - int(used.read_text()), 2**28))
    return free
