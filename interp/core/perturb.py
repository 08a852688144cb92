"""A temporal perturbation is a time-mixing matrix: mask (B,T) -> W (B,T,T), and W mixes the clip's frames.

Freeze and reverse are those of Mänttäri et al., ACCV 2020; shuffle and blur are further ways to remove the order of
time. Axes: clips (B,C,T,H,W), masks (B,T) in [0,1] with 1 = perturbed; W[b,t,s] is the share of frame s in frame t.

    >>> @register("dim")
    ... def dim(masks):
    ...     return torch.diag_embed(1 - masks)
    >>> apply("dim", torch.rand(1, 3, 5, 8, 8), torch.tensor([[0., 0., 1., 1., 0.]])).shape
    torch.Size([1, 3, 5, 8, 8])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["apply", "blur", "freeze", "mix", "names", "register", "reverse", "shuffle", "time_mixing"]

RUN_THRESHOLD = 0.1  # a frame belongs to a run when its mask is above this (the paper's value)
SHUFFLE_SEED = 0  # orders the frames of every shuffled run

_REGISTRY: dict[str, Callable[[Tensor], Tensor]] = {}
_BUILT_IN = ("freeze", "reverse", "shuffle", "blur")


def register(name: str) -> Callable:
    """Decorator that makes a function masks (B,T) -> W (B,T,T) known under `name` everywhere in the package.

    The function must be differentiable in the masks; one with a parameter `threshold` gets the recipe's. A name
    registered again is replaced, except the four built-in ones, which are refused with a ValueError.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"register: expected a name such as 'dim', got {name!r}; write @register('dim')")
    if name in _BUILT_IN and name in _REGISTRY:
        raise ValueError(f"register: {name!r} is a built-in perturbation; choose another name")

    def keep(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        _REGISTRY[name] = function
        return function

    return keep


def names() -> tuple[str, ...]:
    """The names that `apply` and `find_masks` know, the built-in ones first."""
    return tuple(_REGISTRY)


def time_mixing(name: str, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """The matrices W (B,T,T) of the perturbation `name` under masks (B,T), differentiable in the masks.

    Args:
        name: one of `names()`.
        masks: floats (B,T) in [0,1].
        threshold: a frame belongs to a run when its mask is above this; used by reverse and shuffle.

    Raises:
        ValueError: an unknown name, other masks, or a registered function that returns another shape.
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown perturbation {name!r}; known: {', '.join(names())}; "
                         f"add one with @perturb.register({name!r})")
    _check_masks(masks)
    function = _REGISTRY[name]
    takes_threshold = "threshold" in inspect.signature(function).parameters
    mixing = function(masks, threshold=threshold) if takes_threshold else function(masks)
    expected = (*masks.shape, masks.shape[1])
    if tuple(mixing.shape) != expected:
        raise ValueError(f"perturbation {name!r}: expected matrices {expected} for masks {tuple(masks.shape)}, "
                         f"got {tuple(mixing.shape)}; the function must turn masks (B,T) into W (B,T,T)")
    return mixing


def apply(name: str, clips: Tensor, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """The clips (B,C,T,H,W) perturbed under masks (B,T), in their type and memory format; errors as `time_mixing`."""
    _check_masks(masks)
    _check_pair(clips, masks)
    return mix(time_mixing(name, masks, threshold), clips)


def mix(mixing: Tensor, clips: Tensor) -> Tensor:
    """Mix the frames of clips (B,C,T,H,W) by W (B,T,T): one batched matrix product, in the clips' memory format."""
    batch, channels, num_frames, height, width = clips.shape
    mixing = mixing.to(clips.dtype)
    if not clips.is_contiguous() and clips.is_contiguous(memory_format=torch.channels_last_3d):
        frames = clips.permute(0, 2, 3, 4, 1).flatten(2)  # (B, T, H*W*C), no copy
        mixed = torch.bmm(mixing, frames).view(batch, num_frames, height, width, channels)
        return mixed.permute(0, 4, 1, 2, 3)
    return torch.matmul(mixing[:, None], clips.flatten(3)).unflatten(3, (height, width))  # (B, C, T, H*W)


def freeze(clips: Tensor, masks: Tensor) -> Tensor:
    """Frames stand still: p[0] = x[0]; p[t] = (1-m[t]) x[t] + m[t] p[t-1] (the paper's freeze). m[0] has no effect."""
    return apply("freeze", clips, masks)


def reverse(clips: Tensor, masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    """Every run of frames with m > threshold is played backwards (the paper's reverse).

    With w the mask at a run's u-th frame, the u-th frame and the u-th last become (1-w) self + w other; the middle
    frame of an odd run stays. Which frames make a run has no gradient, the weights w have.
    """
    return apply("reverse", clips, masks, threshold)


def shuffle(clips: Tensor, masks: Tensor, threshold: float = RUN_THRESHOLD, seed: int = SHUFFLE_SEED) -> Tensor:
    """Every run of frames with m > threshold is played in another order, the same for every clip of T frames.

    Frame t becomes (1-m[t]) self + m[t] other. `seed` draws a key for each of the T frames; a run plays by rising key.
    """
    _check_masks(masks)
    _check_pair(clips, masks)
    return mix(_shuffle_mixing(masks, threshold, seed), clips)


def blur(clips: Tensor, masks: Tensor) -> Tensor:
    """Every frame is averaged with its neighbours in time, wider where the mask is higher.

    Frame t takes frame s with a share proportional to m[t]**((t-s)**2): untouched at 0, the clip's mean at 1.
    """
    return apply("blur", clips, masks)


@register("freeze")
def _freeze_mixing(masks: Tensor) -> Tensor:
    # p = (1-m) x + m (p one frame earlier) is the system (I - M) p = (1-m) x with m below M's diagonal. Substitution
    # is the recursion itself: it divides by nothing and is exact for masks of zeros and ones.
    work = masks if masks.dtype in (torch.float32, torch.float64) else masks.float()
    identity = torch.eye(masks.shape[1], dtype=work.dtype, device=work.device)
    system = identity - torch.diag_embed(work[:, 1:], offset=-1)
    shares = torch.cat([torch.ones_like(work[:, :1]), 1 - work[:, 1:]], dim=1)  # nothing comes before frame 0
    return torch.linalg.solve_triangular(system, torch.diag_embed(shares), upper=False, unitriangular=True)


@register("reverse")
def _reverse_mixing(masks: Tensor, threshold: float = RUN_THRESHOLD) -> Tensor:
    first, last = _runs(masks, threshold)
    time = torch.arange(masks.shape[1], device=masks.device).expand_as(first)
    partner = first + last - time
    return _swap(masks.gather(1, torch.minimum(time, partner)), partner)  # a pair has the mask of its earlier frame


@register("shuffle")
def _shuffle_mixing(masks: Tensor, threshold: float = RUN_THRESHOLD, seed: int = SHUFFLE_SEED) -> Tensor:
    num_frames = masks.shape[1]
    first, _ = _runs(masks, threshold)
    keys = torch.randperm(num_frames, generator=torch.Generator().manual_seed(seed)).to(masks.device)
    # Sorting by (run, key) leaves every run in its place and orders its frames by key.
    return _swap(masks, (first * num_frames + keys).argsort(dim=1))


@register("blur")
def _blur_mixing(masks: Tensor) -> Tensor:
    time = torch.arange(masks.shape[1], device=masks.device)
    squares = (time[:, None] - time).square().to(masks.dtype)  # (T, T)
    shares = masks[:, :, None].pow(squares)  # (B, T, T); 0**0 = 1 keeps the frame itself
    return shares / shares.sum(dim=2, keepdim=True)


def _runs(masks: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The first and last frame (B,T) of each frame's run; a frame outside every run is a run of its own."""
    on = masks.detach() > threshold
    time = torch.arange(masks.shape[1], device=masks.device).expand_as(on)
    joined = on[:, 1:] & on[:, :-1]  # frame t+1 continues the run of frame t
    begins = torch.nn.functional.pad(~joined, (1, 0), value=True)
    ends = torch.nn.functional.pad(~joined, (0, 1), value=True)
    first = torch.where(begins, time, 0).cummax(dim=1).values
    last = torch.where(ends, time, masks.shape[1] - 1).flip(1).cummin(dim=1).values.flip(1)
    return first, last


def _swap(weights: Tensor, partner: Tensor) -> Tensor:
    """W (B,T,T) with rows (1-w) self + w partner."""
    identity = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return identity + weights[:, :, None] * (identity[partner] - identity)


def _check_masks(masks: Tensor) -> None:
    if not torch.is_tensor(masks) or masks.dim() != 2 or not masks.is_floating_point():
        raise ValueError(f"masks: expected floats (B,T) in [0,1], got {_describe(masks)}; "
                         "one mask is mask[None], binary masks are masks.float()")


def _check_pair(clips: Tensor, masks: Tensor) -> None:
    if not torch.is_tensor(clips) or clips.dim() != 5 or not clips.is_floating_point():
        raise ValueError(f"clips: expected floats (B,C,T,H,W), got {_describe(clips)}; "
                         "one clip is clip[None], uint8 frames go through interp.data.to_clip")
    if (clips.shape[0], clips.shape[2]) != tuple(masks.shape):
        raise ValueError(f"clips {tuple(clips.shape)} need masks (B,T) = ({clips.shape[0]}, {clips.shape[2]}), "
                         f"got {tuple(masks.shape)}; give one mask of T values for each clip")


def _describe(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
