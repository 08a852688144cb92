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


def test_windows_between_parts_of_a_long_clip():
    assert windows.windows(5, 2).tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert windows.windows(32, 16).shape == (136, 32) and windows.windows(32, 16).sum(1).min() == 2
    assert torch.equal(windows.windows(32, 16), windows.windows(16).repeat_interleave(2, dim=1))
    assert torch.equal(windows.windows(4, 16), windows.windows(4))  # all windows of a shorter clip
    with pytest.raises(ValueError, match="at least 1, got 0"):
        windows.windows(8, 0)


def test_the_best_between_parts_is_the_best_of_these():
    model, clips = toy(batch=4, num_frames=8)
    every = windows.best_windows(model, clips, "freeze", 2, RECIPE)
    for options in ({}, {"only_best": True}):
        few = windows.best_windows(model, clips, "freeze", 2, RECIPE, parts=4, **options)
        own = (every.windows[:, None] == few.windows).all(2).any(1)
        assert few.windows.shape == (10, 8) and own.sum() == 10
        torch.testing.assert_close(few.losses, every.all_losses[:, own].min(1).values, rtol=0, atol=1e-6)
    assert (every.losses < few.losses - 1e-3).any()  # else the windows between would be of no use here


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


@pytest.mark.parametrize("perturbation", ["freeze", "reverse"])
def test_windows_that_cannot_be_the_best_are_left_out(perturbation):
    model, clips = toy(batch=5, num_frames=12)
    every, before = windows.best_windows(model, clips, perturbation, 2, RECIPE, batch_size=1), model.clips_seen
    model.clips_seen = 0
    best = windows.best_windows(model, clips, perturbation, 2, RECIPE, batch_size=1, only_best=True)
    assert torch.equal(best.masks, every.masks) and torch.equal(best.starts, (2 * best.masks - 1) * 5)
    torch.testing.assert_close(best.losses, every.losses, rtol=0, atol=1e-6)
    asked = best.scores.isfinite()
    torch.testing.assert_close(best.scores[asked], every.scores[asked], rtol=0, atol=1e-6)
    assert asked.any(1).all() and not asked.all() and model.clips_seen < before
    floor = windows.penalty(best.windows, RECIPE).expand_as(asked)
    assert (floor[~asked] > every.losses[:, None].expand_as(asked)[~asked]).all()
    with pytest.raises(ValueError, match="or only_best"):
        windows.best_windows(model, clips, perturbation, 2, RECIPE, only_best=True, every_class=True)


def test_regret_soft_and_snapped():
    model, clips = toy()
    best = windows.best_windows(model, clips, "freeze", 2, RECIPE)
    found = masks.find_masks(model, clips, 2, RECIPE, start="best-window")
    assert torch.equal(found.starts > 0, best.masks > 0)
    soft = loss(model, clips, found.masks, 2, "freeze") - best.losses
    torch.testing.assert_close(windows.regret(found, best), soft, rtol=0, atol=1e-6)
    bare = windows.regret(found.masks, best, model=model, clips=clips)
    torch.testing.assert_close(bare, soft, rtol=0, atol=1e-6)
    hard = loss(model, clips, (found.masks > 0.5).float(), 2, "freeze") - best.losses
    snapped = windows.regret(found, best, model=model, clips=clips, binary=True)
    torch.testing.assert_close(snapped, hard, rtol=0, atol=1e-6)
    zero = windows.regret(best.masks, best, model=model, clips=clips)
    torch.testing.assert_close(zero, torch.zeros(3), rtol=0, atol=1e-6)


def test_a_snapped_window_never_beats_the_best():
    model, clips = toy()
    best = windows.best_windows(model, clips, "reverse", 1, RECIPE)
    for window in windows.windows(6):
        regret = windows.regret(window.expand(3, 6), best, model=model, clips=clips, binary=True)
        assert regret.min() > -1e-6


def test_regret_refuses_what_cannot_be_compared():
    model, clips = toy()
    best = windows.best_windows(model, clips, "freeze", 2, RECIPE)
    with pytest.raises(ValueError, match="differ in perturbation"):
        windows.regret(masks.find_masks(model, clips, 2, RECIPE, "reverse"), best)
    with pytest.raises(ValueError, match="differ in targets"):
        windows.regret(masks.find_masks(model, clips, 1, RECIPE), best)
    with pytest.raises(ValueError, match="give model= and clips="):
        windows.regret(best.masks, best)
    with pytest.raises(ValueError, match=r"masks \(3, 6\)"):
        windows.regret(best.masks[:2], best, model=model, clips=clips)
