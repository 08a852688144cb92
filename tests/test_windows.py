"""Every window against a forward pass each, the regret against the loss written out."""

import dataclasses

import pytest
import torch
from torch import nn

from interp import recipes
from interp.core import masks, perturb, windows

RECIPE = dataclasses.replace(recipes.KTH_MASK, iterations=40)


class Motion(nn.Module):
    def __init__(self, num_frames):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(3 * torch.randn(4, num_frames - 1, generator=generator))
        self.clips_seen = 0

    def forward(self, clips):
        self.clips_seen += len(clips)
        return 40 * clips.diff(dim=2).square().mean((1, 3, 4)) @ self.weight.T


def toy(batch=3, num_frames=6):
    generator = torch.Generator().manual_seed(2)
    return Motion(num_frames), torch.rand(batch, 3, num_frames, 4, 4, generator=generator)


def loss(model, clips, mask, target, perturbation):
    with torch.no_grad():
        score = model(perturb.apply(perturbation, clips, mask)).softmax(1)[:, target]
    return RECIPE.lambda1 * mask.sum(1) + RECIPE.lambda2 * windows.total_variation(mask) + score


def test_windows_are_all_and_in_order():
    assert windows.windows(3).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert windows.windows(16).shape == (136, 16) and windows.windows(16).unique(dim=0).shape == (136, 16)
    assert windows.windows(1).tolist() == [[1]]


@pytest.mark.parametrize("perturbation", ["freeze", "reverse", "shuffle", "blur"])
@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_every_window_is_scored_as_if_alone(perturbation, batch_size):
    model, clips = toy()
    best = windows.best_windows(model, clips, perturbation, 2, RECIPE, batch_size=batch_size)
    for i in range(3):
        for j, window in enumerate(windows.windows(6)):
            expected = loss(model, clips[i:i + 1], window[None], 2, perturbation)
            torch.testing.assert_close(best.all_losses[i, j:j + 1], expected, rtol=0, atol=1e-6)
    assert torch.equal(best.losses, best.all_losses.min(1).values)
    assert torch.equal(best.masks, best.windows[best.all_losses.argmin(1)])
    torch.testing.assert_close(best.originals, model(clips).softmax(1)[:, 2].detach())


def test_windows_that_do_the_same_are_scored_once():
    model, clips = toy(batch=1, num_frames=16)
    windows.best_windows(model, clips, "freeze", batch_size=200)
    # The score itself; then, as freezing frame 0 does nothing, 120 windows and the clip as it is.
    assert model.clips_seen == 1 + 120 + 1


def test_the_best_window_is_a_start():
    model, clips = toy()
    best = windows.best_windows(model, clips, "freeze", 2, RECIPE)
    found = masks.find_masks(model, clips, 2, RECIPE, start="best-window")
    assert torch.equal(found.starts, best.starts) and torch.equal(best.starts, (2 * best.masks - 1) * 5)
    torch.testing.assert_close(best.class_scores.sum(2), torch.ones(3, 21))
    torch.testing.assert_close(best.class_scores[..., 2], best.scores)


def test_windows_as_a_method_of_the_search():
    """The best window where it pays, else no frame."""
    model, clips = Motion(6), torch.rand(3, 1, 6, 2, 2, generator=torch.Generator().manual_seed(4))
    recipe = dataclasses.replace(RECIPE, lambda1=0.05)
    best = windows.best_windows(model, clips, "reverse", 0, recipe)
    found = masks.find_masks(model, clips, 0, recipe, "reverse", method="windows", progress=False)
    for row in range(3):
        pays = best.losses[row] < best.originals[row]
        torch.testing.assert_close(found.masks[row], best.masks[row] if pays else torch.zeros_like(best.masks[row]))
        torch.testing.assert_close(found.losses[row, 0], torch.minimum(best.losses[row], best.originals[row]))
    scores = windows.score_masks(model, clips, found.masks, torch.zeros(3, dtype=torch.long), recipe, "reverse")
    torch.testing.assert_close(found.scores, scores)
    dear = dataclasses.replace(recipe, lambda1=5.0)
    none = masks.find_masks(model, clips, 0, dear, method="windows", progress=False)
    assert not none.masks.any() and torch.equal(none.scores, none.originals)
    with pytest.raises(ValueError, match='method "windows" takes no start'):
        masks.find_masks(model, clips, start="central", method="windows")
