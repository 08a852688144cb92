"""The curve without lambda against brute force, and need, sufficiency, deletion and insertion by hand."""

import pytest
import torch
from test_exact import all_masks, toy
from torch import nn

from interp.core import perturb
from interp.core.windows import score_masks
from interp.study.curve import curve, deletion_insertion


@pytest.mark.parametrize("perturbation", ["freeze", "reverse"])
def test_the_curve_is_the_least_score_for_each_number_of_frames(perturbation):
    model, clips = toy(7, 1, batch=3)
    result = curve(model, clips, 1, perturbation, budget=50)
    masks = all_masks(7)
    if perturbation == "freeze":
        masks[:, 0] = 0
    is_window = masks.diff(dim=1, prepend=masks[:, :1] * 0).clamp(min=0).sum(1) <= 1
    for row, clip in enumerate(clips):
        mixed = perturb.apply(perturbation, clip.expand(128, -1, -1, -1, -1), masks)
        scores = model(mixed).softmax(1)[:, 1].detach()
        for k in range(8):
            least = scores[masks.sum(1) <= k].min()
            assert result.by_mask[row, k] >= least - 1e-12
            if result.proven[k]:
                torch.testing.assert_close(result.by_mask[row, k], least)
            torch.testing.assert_close(result.by_window[row, k], scores[(masks.sum(1) <= k) & is_window].min())
    assert result.proven[:3].all() and result.by_mask.shape == (3, 8)
    assert (result.by_mask <= result.by_window).all() and (result.by_mask.diff(dim=1) <= 0).all()
    needed = result.frames_needed(0.5, "mask")
    for row in range(3):
        k, half = int(needed[row]), result.by_mask[row, 0] / 2
        assert k == 8 or (result.by_mask[row, k] <= half and (k == 0 or result.by_mask[row, k - 1] > half))


class Moves(nn.Module):
    """The logit of class 0 is a weighted sum of what moves between frames."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, clips):
        moved = (clips.diff(dim=2).abs().mean((1, 3, 4)) > 0).double() @ self.weights
        return torch.stack([moved, torch.zeros_like(moved)], 1)


def test_need_and_sufficiency_by_hand():
    model = Moves([0.0, 8.0, 0.0])  # only the move from frame 1 to frame 2 counts
    clips = torch.arange(4, dtype=torch.float64).view(1, 1, 4, 1, 1) / 4
    high, low = torch.tensor([8.0, 0.0], dtype=torch.float64).sigmoid()
    masks = torch.tensor([[0.0, 0, 1, 0], [1, 1, 0, 1]])
    kept = score_masks(model, clips.expand(2, -1, -1, -1, -1), 1 - masks, torch.tensor([0, 0]))
    torch.testing.assert_close(kept, torch.stack([high, low]))
    deletion, insertion = deletion_insertion(model, clips, torch.tensor([[0.1, 0.2, 0.9, 0.3]]), 0)
    torch.testing.assert_close(insertion[0], torch.stack([low, high, high, high, high]))
    assert deletion.shape == (1, 5) and deletion[0, 0] == high and deletion[0, 4] == low
    # with frame 2 frozen the same move happens one frame later, where this network does not look
    torch.testing.assert_close(deletion[0, 1], low)


def test_errors():
    model, clips = toy(4, 2)
    with pytest.raises(ValueError, match="expected one of freeze"):
        curve(model, clips, perturbation="melt")
