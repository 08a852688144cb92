"""A temporal perturbation is a time-mixing matrix: mask (B,T) -> W (B,T,T), and W mixes the clip's frames.

Freeze and reverse are those of Mänttäri et al., ACCV 2020; shuffle and blur are further ways to remove the order of
time. Axes: clips (B,C,T,H,W), masks (B,T) in [0,1] with 1 = perturbed; W[b,t,s] is the share of frame s in frame t.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

RUN_THRESHOLD = 0.1  # a frame belongs to a run when its mask is above this (the paper's value)
SHUFFLE_SEED = 0  # orders the frames of every shuffled run


def register(name: str) -> Callable:
    """Decorator that makes a function masks (B,T) -> W (B,T,T), differentiable in the masks, known under `name`.

    One with a parameter `threshold` gets the recipe's. ValueError for the name of a built-in one.
    """
    if name in _BUILT_IN:
        raise ValueError(f"register: {name!r} is a built-in perturbation; choose another name")

    def keep(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        _REGISTRY[name] = function
        return function

    return keep


def names() -> tuple[str, ...]:
    """The names that `apply` and `find_masks` know, the built-in ones first."""
    return tuple(_REGISTRY)


def time_mixing(name: str, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """The matrices W (B,T,T) of the perturbation `name` under masks (B,T), differentiable in the masks.

    Args:
        name: one of `names()`. masks: floats (B,T) in [0,1].
        threshold: a frame belongs to a run when its mask is above this; used by reverse and shuffle.

    Raises:
        ValueError: an unknown name, other masks, or a registered function that returns another shape.
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown perturbation {name!r}; known: {', '.join(names())}; add one with @perturb.register")
    if not torch.is_tensor(masks) or masks.dim() != 2 or not masks.is_floating_point():
        raise ValueError(f"masks: expected floats (B,T) in [0,1], got {_describe(masks)}; "
                         "one mask is mask[None], binary masks are masks.float()")
    function = _REGISTRY[name]
    options = {"threshold": threshold} if "threshold" in inspect.signature(function).parameters else {}
    mixing = function(masks, **options)
    if mixing.shape != (*masks.shape, masks.shape[1]):
        raise ValueError(f"perturbation {name!r}: expected matrices (B,T,T) for masks {tuple(masks.shape)}, "
                         f"got {tuple(mixing.shape)}")
    return mixing


def apply(name: str, clips: Tensor, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """The clips (B,C,T,H,W) perturbed under masks (B,T), in their type and memory format; errors as `time_mixing`."""
    mixing = time_mixing(name, masks, threshold)
    if not torch.is_tensor(clips) or clips.dim() != 5 or not clips.is_floating_point():
        raise ValueError(f"clips: expected floats (B,C,T,H,W), got {_describe(clips)}; "
                         "one clip is clip[None], uint8 frames go through interp.data.to_clip")
    if masks.shape != (len(clips), clips.shape[2]):
        raise ValueError(f"masks: expected {(len(clips), clips.shape[2])} for clips {tuple(clips.shape)}, "
                         f"got {tuple(masks.shape)}")
    return mix(mixing, clips)


def mix(mixing: Tensor, clips: Tensor) -> Tensor:
    """Mix the frames of clips (B,C,T,H,W) by W (B,T,T): one batched matrix product, in the clips' memory format."""
    mixing = mixing.to(clips.dtype)
    if not clips.is_contiguous() and clips.is_contiguous(memory_format=torch.channels_last_3d):
        frames = clips.permute(0, 2, 3, 4, 1)  # (B, T, H, W, C), which flattens without a copy
        return torch.bmm(mixing, frames.flatten(2)).view(frames.shape).permute(0, 4, 1, 2, 3)
    return torch.matmul(mixing[:, None], clips.flatten(3)).unflatten(3, clips.shape[3:])  # (B, C, T, H*W)


def freeze(clips: Tensor, masks: Tensor) -> Tensor:
    """Frames stand still: p[0] = x[0]; p[t] = (1-m[t]) x[t] + m[t] p[t-1] (the paper's freeze). m[0] has no effect."""
    return apply("freeze", clips, masks)


def reverse(clips: Tensor, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """Every run of frames with m > threshold is played backwards (the paper's reverse).

    With w the mask at a run's u-th frame, the u-th frame and the u-th last become (1-w) self + w other; the middle
    frame of an odd run stays. Which frames make a run has no gradient, the weights w have.
    """
    return apply("reverse", clips, masks, threshold)


def _freeze(masks: Tensor) -> Tensor:
    """Solves (I - M) p = (1-m) x with m below M's diagonal: the recursion itself, exact for masks of zeros and ones."""
    work = masks if masks.dtype in (torch.float32, torch.float64) else masks.float()
    system = torch.eye(masks.shape[1]).to(work) - torch.diag_embed(work[:, 1:], offset=-1)
    shares = torch.cat([torch.ones_like(work[:, :1]), 1 - work[:, 1:]], dim=1)  # nothing comes before frame 0
    return torch.linalg.solve_triangular(system, torch.diag_embed(shares), upper=False, unitriangular=True)


def _reverse(masks: Tensor, threshold: float) -> Tensor:
    first, last = _runs(masks, threshold)
    time = torch.arange(masks.shape[1], device=masks.device).expand_as(first)
    partner = first + last - time
    return _swap(masks.gather(1, torch.minimum(time, partner)), partner)  # a pair has the mask of its earlier frame


def _shuffle(masks: Tensor, threshold: float) -> Tensor:
    """Every run is played by rising key, one drawn for each of the T frames: in the same order in every clip."""
    first, _ = _runs(masks, threshold)
    keys = torch.randperm(masks.shape[1], generator=torch.Generator().manual_seed(SHUFFLE_SEED)).to(masks.device)
    return _swap(masks, (first * masks.shape[1] + keys).argsort(dim=1))  # by run, then by key


def _blur(masks: Tensor) -> Tensor:
    """Frame t takes frame s with a share proportional to m[t]**((t-s)**2): untouched at 0, the clip's mean at 1."""
    time = torch.arange(masks.shape[1], device=masks.device)
    shares = masks[:, :, None].pow((time[:, None] - time).square().to(masks.dtype))  # (B, T, T); 0**0 = 1
    return shares / shares.sum(dim=2, keepdim=True)


def _runs(masks: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The first and last frame (B,T) of each frame's run; a frame outside every run is a run by itself."""
    on = masks.detach() > threshold
    runs = pad(~(on[:, 1:] & on[:, :-1]), (1, 0)).cumsum(dim=1)  # (B, T) the number of each frame's run
    same = (runs[:, :, None] == runs[:, None]).int()  # (B, T, T)
    first = same.argmax(dim=2)
    return first, first + same.sum(dim=2) - 1


def _swap(weights: Tensor, partner: Tensor) -> Tensor:
    """W (B,T,T) with rows (1-w) self + w partner."""
    identity = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return identity + weights[:, :, None] * (identity[partner] - identity)


def _describe(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__


_REGISTRY: dict[str, Callable] = {"freeze": _freeze, "reverse": _reverse, "shuffle": _shuffle, "blur": _blur}
_BUILT_IN = tuple(_REGISTRY)
