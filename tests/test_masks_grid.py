"""A row of the grid is the search that its recipe gives alone."""

from dataclasses import replace

import pytest
import torch

from interp import masks, masks_grid, recipes

BASE = replace(recipes.SOMETHING_MASK, iterations=12)


class Toy(torch.nn.Module):
    """Class 0 where the middle frames differ from each other, so that freezing them takes its score."""

    def forward(self, clips):
        levels = clips.mean(dim=(1, 3, 4))  # (B, T)
        change = levels.diff(dim=1)[:, 2:5].abs().sum(dim=1)
        return torch.stack([8 * change, 1 - 8 * change], dim=1)


@pytest.fixture(scope="module")
def clip():
    return torch.rand(1, 3, 8, 4, 4, generator=torch.Generator().manual_seed(3))


def test_a_row_is_the_search_of_its_recipe(clip):
    varied = [BASE, replace(BASE, lambda1=0.05), replace(BASE, lambda2=0.3), replace(BASE, learning_rate=0.01)]
    rows = masks_grid.search_grid(Toy(), clip, varied)
    for recipe, row in zip(varied, rows, strict=True):
        alone = masks.find_masks(Toy(), clip, recipe=recipe, keep_path=True)
        assert row.recipe == recipe and row.path.shape == (1, 13, 8)
        for name in ("masks", "losses", "scores", "originals", "path", "starts", "final_losses"):
            assert torch.allclose(getattr(row, name), getattr(alone, name), atol=1e-6), name
    moved = [float((row.path[0, -1] - row.path[0, 0]).abs().max()) for row in rows]
    assert moved[0] > 10 * moved[3] > 0  # the smaller rate moves less
    assert not torch.equal(rows[0].masks, rows[1].masks)


def test_start_and_target_are_the_callers(clip):
    start = torch.linspace(-3, 3, 8)
    (row,) = masks_grid.search_grid(Toy(), clip, [BASE], target=1, start=start)
    alone = masks.find_masks(Toy(), clip, 1, BASE, start=start)
    assert torch.allclose(row.masks, alone.masks) and row.targets.tolist() == [1]


def test_what_cannot_be_one_batch_is_refused(clip):
    with pytest.raises(ValueError, match="they differ in iterations"):
        masks_grid.search_grid(Toy(), clip, [BASE, replace(BASE, iterations=3)])
    with pytest.raises(ValueError, match="got 2 clips"):
        masks_grid.search_grid(Toy(), clip.repeat(2, 1, 1, 1, 1), [BASE])
    with pytest.raises(ValueError, match="got none"):
        masks_grid.search_grid(Toy(), clip, [])
    with pytest.raises(ValueError, match="expected \"central\""):
        masks_grid.search_grid(Toy(), clip, [BASE], start="random")
