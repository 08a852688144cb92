"""The released loop of the mask search, rebuilt from its description, with the defects that the book lists.

After Mänttäri, Broomé et al., ACCV 2020: the loss, and the freeze. Axes: clips (B,C,T,H,W), masks (T,).
"""

import torch
from torch import Tensor, nn

from interp.recipes import SOMETHING_MASK


def frozen(clips: Tensor, mask: Tensor) -> Tensor:
    """Freeze, frame after frame as it is defined: p[t] = (1-m[t]) x[t] + m[t] p[t-1]."""
    frames = [clips[:, :, 0]]
    for t in range(1, clips.shape[2]):
        frames.append((1 - mask[t]) * clips[:, :, t] + mask[t] * frames[-1])
    return torch.stack(frames, dim=2)


def released(model: nn.Module, clips: Tensor, place: int, target: int, start: Tensor, steps: int) -> list[float]:
    """The losses of one clip's search: all clips forwarded, gradients to all weights, anomaly detection, no stop."""
    recipe, logits = SOMETHING_MASK, start.clone().requires_grad_()
    adam, losses = torch.optim.Adam([logits], lr=recipe.learning_rate), []
    model.requires_grad_(True)
    try:
        for _ in range(steps):
            with torch.autograd.detect_anomaly(check_nan=True):
                mask = logits.sigmoid()
                edges = mask.diff().abs() ** recipe.beta
                score = model(frozen(clips, mask)).softmax(1)[place, target]
                loss = recipe.lambda1 * mask.sum() + recipe.lambda2 * (edges[:-1].sum() + edges[1:].sum()) + score
                adam.zero_grad()
                loss.backward()
            adam.step()
            losses.append(loss.item())
    finally:
        for weight in model.parameters():
            weight.grad = None
            weight.requires_grad_(False)
    return losses
